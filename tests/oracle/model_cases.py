"""The programs that `models.py` records: torchvision, transformers and diffusers models with random weights in
small configurations, layers, and single functions.

A case's `build` gives `(functions, steps, compress)`: `{name: (module, example arguments, dynamic shapes)}`, the
arguments of every step, and a function from the converted program to a compressed one, or None.
"""

import importlib.util
from dataclasses import dataclass
from typing import Any, Callable

CASES = {}


@dataclass
class Case:
    build: Callable[[], Any]


def add(name, build):
    if name in CASES:
        raise ValueError(f"two cases named {name}")
    CASES[name] = Case(build)


def one(model, *steps, dynamic=None, compress=None):
    """A program of one function whose first step is the example that it is exported with."""
    return {"main": (model, steps[0], dynamic)}, list(steps), compress


def cases():
    if not CASES:
        import function_cases

        layers()
        function_cases.add_all(add, one)
        families = {"torchvision": vision, "transformers": language, "diffusers": diffusion, "coreai_opt": compressed}
        for package, family in families.items():
            if importlib.util.find_spec(package):
                family()
    return CASES


def random_norms(model):
    """Batch norms as after training: statistics and scales that differ by channel."""
    import torch

    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            if module.affine:
                module.weight.data.uniform_(0.5, 1.5)
                module.bias.data.normal_(0, 0.1)
    return model


def wrapped(model, pick):
    """The model with outputs that are tensors."""
    import torch

    class Picked(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, *arguments):
            return pick(self.model, *arguments)

    return Picked()


def vision():
    import torch
    import torchvision.models as tv

    def image(make, size, dtype=torch.float32, batch=1, pick=None, frames=None, dynamic=False):
        def build():
            model = random_norms(make()).to(dtype)
            shape = (batch, 3, *([frames] if frames else []), size, size)
            x = torch.randn(shape, dtype=dtype)
            steps, shapes = [(x,)], None
            if dynamic:
                shapes = ({0: torch.export.Dim("batch", min=1, max=8)},)
                steps = [(torch.randn(2, *shape[1:], dtype=dtype),), (x,)]
            if pick:
                return one(wrapped(model, pick), *steps, dynamic=(shapes,) if shapes else None)
            return one(model, *steps, dynamic=shapes)

        return build

    from torchvision.models.convnext import CNBlockConfig
    from torchvision.models.efficientnet import FusedMBConvConfig, MBConvConfig
    from torchvision.models.regnet import BlockParams, RegNet

    f16 = torch.float16
    narrow = {"num_classes": 10}
    small = {
        "resnet-basic": lambda: tv.ResNet(tv.resnet.BasicBlock, [1, 1, 1, 1], width_per_group=64, **narrow),
        "resnext": lambda: tv.ResNet(tv.resnet.Bottleneck, [1, 1, 1, 1], groups=8, width_per_group=4, **narrow),
        "wide-resnet-dilated": lambda: tv.ResNet(
            tv.resnet.Bottleneck, [1, 1, 1, 1], replace_stride_with_dilation=[False, True, True], width_per_group=32, **narrow),
        "densenet": lambda: tv.DenseNet(8, (2, 2, 2), 16, 2, num_classes=10),
        "googlenet": lambda: tv.GoogLeNet(num_classes=10, aux_logits=False, init_weights=False),
        "squeezenet1-1": lambda: tv.squeezenet1_1(**narrow),
        "shufflenet": lambda: tv.ShuffleNetV2([2, 2, 2], [8, 16, 32, 64, 64], **narrow),
        "mnasnet": lambda: tv.MNASNet(0.35, **narrow),
        "mobilenet-v2": lambda: tv.MobileNetV2(width_mult=0.25, **narrow),
        "mobilenet-v3-large": lambda: tv.mobilenet_v3_large(width_mult=0.25, **narrow),
        "efficientnet": lambda: tv.EfficientNet(
            [MBConvConfig(1, 3, 1, 16, 16, 1, 0.5, 1.0), MBConvConfig(4, 5, 2, 16, 24, 2, 0.5, 1.0)], 0.0, last_channel=64, **narrow),
        "efficientnet-v2": lambda: tv.EfficientNet(
            [FusedMBConvConfig(1, 3, 1, 24, 16, 1), FusedMBConvConfig(4, 3, 2, 16, 24, 1), MBConvConfig(4, 3, 2, 24, 32, 1)], 0.0, last_channel=64, **narrow),
        "regnet-y": lambda: RegNet(BlockParams.from_init_params(depth=4, w_0=16, w_a=16.0, w_m=2.0, group_width=8, se_ratio=0.25), num_classes=10),
        "convnext": lambda: tv.ConvNeXt([CNBlockConfig(16, 32, 1), CNBlockConfig(32, None, 1)], **narrow),
        "swin": lambda: tv.SwinTransformer([4, 4], 16, [2, 2], [2, 4], [4, 4], stochastic_depth_prob=0.0, **narrow),
        "swin-v2": lambda: tv.SwinTransformer(
            [4, 4], 16, [2, 2], [2, 4], [4, 4], stochastic_depth_prob=0.0, block=tv.swin_transformer.SwinTransformerBlockV2,
            downsample_layer=tv.swin_transformer.PatchMergingV2, **narrow),
        "maxvit": lambda: tv.MaxVit((32, 32), 16, 4, [16, 32], [1, 1], 8, stochastic_depth_prob=0.0, **narrow),
        "vit": lambda: tv.VisionTransformer(32, 8, 2, 2, 32, 64, **narrow),
        "alexnet-like": lambda: torch.nn.Sequential(
            torch.nn.Conv2d(3, 16, 11, 4, 2), torch.nn.ReLU(), torch.nn.MaxPool2d(3, 2), torch.nn.AdaptiveAvgPool2d((6, 6)),
            torch.nn.Flatten(), torch.nn.Dropout(), torch.nn.Linear(576, 10)),
        "vgg": lambda: torch.nn.Sequential(
            tv.vgg.make_layers([8, "M", 16, 16, "M"], batch_norm=True), torch.nn.AdaptiveAvgPool2d(7), torch.nn.Flatten(), torch.nn.Linear(784, 10)),
    }
    sizes = {"alexnet-like": 63, "resnet-basic": 49, "shufflenet": 64}
    for name, make in small.items():
        size = sizes.get(name, 32)
        add(f"{name}-f32", image(make, size))
        add(f"{name}-f16", image(make, size, f16))
        if name not in ("swin", "swin-v2", "maxvit"):
            add(f"{name}-dynamic-batch-f32", image(make, size, dynamic=True))
    for name in ("resnext", "densenet", "mobilenet-v2", "efficientnet", "convnext", "vit", "swin-v2"):
        add(f"{name}-bf16", image(small[name], 32, torch.bfloat16))

    def backbone(tap):
        model = tv.ResNet(tv.resnet.BasicBlock, [1, 1, 1, 1])
        return tv._utils.IntermediateLayerGetter(model, {tap: "out"})

    def pick(model, x):
        return model(x)["out"]

    from torchvision.models.segmentation import DeepLabV3, FCN
    from torchvision.models.segmentation.deeplabv3 import DeepLabHead
    from torchvision.models.segmentation.fcn import FCNHead

    add("fcn-f32", image(lambda: FCN(backbone("layer3"), FCNHead(256, 5)), 33, pick=pick))
    add("fcn-f16", image(lambda: FCN(backbone("layer3"), FCNHead(256, 5)), 33, f16, pick=pick))
    add("deeplab-f32", image(lambda: DeepLabV3(backbone("layer2"), DeepLabHead(128, 5, (2, 4, 6))), 32, pick=pick))
    add("lraspp-f32", image(lambda: tv.segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=5), 64, pick=pick))

    def detector(kind):
        def build():
            from torchvision.models.detection import fcos, retinanet, ssd

            x = torch.randn(2, 16, 8, 7)
            if kind == "retinanet":
                head = retinanet.RetinaNetHead(16, 3, 4)
            elif kind == "fcos":
                head = fcos.FCOSHead(16, 3, 4, 2)
            else:
                head = ssd.SSDHead([16, 16], [4, 3], 5)
            levels = [x, torch.randn(2, 16, 4, 4)]
            keys = {"retinanet": ["cls_logits", "bbox_regression"], "fcos": ["cls_logits", "bbox_regression", "bbox_ctrness"],
                    "ssd": ["bbox_regression", "cls_logits"]}[kind]
            return one(wrapped(head, lambda m, a, b: tuple(m([a, b])[k] for k in keys)), tuple(levels))

        return build

    for kind in ("retinanet", "fcos", "ssd"):
        add(f"{kind}-head-f32", detector(kind))

    def fpn():
        from collections import OrderedDict

        from torchvision.ops import FeaturePyramidNetwork

        model = FeaturePyramidNetwork([8, 16, 32], 16)
        steps = tuple(torch.randn(1, c, s, s + 1) for c, s in ((8, 16), (16, 8), (32, 4)))
        return one(wrapped(model, lambda m, *xs: tuple(m(OrderedDict(zip("abc", xs))).values())), steps)

    add("fpn-f32", fpn)

    def raft():
        from torchvision.models.optical_flow.raft import FeatureEncoder, ResidualBlock

        model = FeatureEncoder(block=ResidualBlock, layers=(16, 16, 24, 32, 32), norm_layer=torch.nn.InstanceNorm2d)
        return one(model, (torch.randn(1, 3, 32, 40),))

    add("raft-encoder-f32", raft)

    def gru():
        from torchvision.models.optical_flow.raft import RecurrentBlock

        model = RecurrentBlock(input_size=8, hidden_size=8)
        return one(model, (torch.randn(1, 8, 6, 7), torch.randn(1, 8, 6, 7)))

    add("raft-gru-f32", gru)

    video = tv.video.resnet
    for name, convolution, blocks in (
        ("r3d", [video.Conv3DSimple] * 4, "basic"), ("mc3", [video.Conv3DSimple] + [video.Conv3DNoTemporal] * 3, "basic"),
        ("r2plus1d", [video.Conv2Plus1D] * 4, "r2"),
    ):
        stem = video.R2Plus1dStem if blocks == "r2" else video.BasicStem

        def thin(convolution=convolution, stem=stem):
            model = video.VideoResNet(video.BasicBlock, convolution, [1, 1, 1, 1], stem, num_classes=4)
            model.layer3, model.layer4 = torch.nn.Identity(), torch.nn.Identity()
            model.fc = torch.nn.Linear(128, 4)
            return model

        add(f"{name}-f32", image(thin, 16, frames=4))
    add("r3d-f16", image(lambda: _thin_video(video), 16, f16, frames=4))
    add("s3d-stem-f32", image(lambda: tv.video.S3D(num_classes=4).features[:4], 24, frames=4))


def _thin_video(video):
    import torch

    model = video.VideoResNet(video.BasicBlock, [video.Conv3DSimple] * 4, [1, 1, 1, 1], video.BasicStem, num_classes=4)
    model.layer3, model.layer4, model.fc = torch.nn.Identity(), torch.nn.Identity(), torch.nn.Linear(128, 4)
    return model


def language():
    import torch
    import transformers as tf

    vocab = 96
    base = {"vocab_size": vocab, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
            "max_position_embeddings": 64}
    grouped = {**base, "num_key_value_heads": 2, "head_dim": 8}

    def first(model, *xs):
        out = model(*xs, **({"use_cache": False} if getattr(model.config, "use_cache", None) is not None else {}))
        if getattr(out, "logits", None) is not None:
            return out.logits
        return out.last_hidden_state if hasattr(out, "last_hidden_state") else out[0]

    def tokens(make, dtype=torch.float32, dynamic=False, pick=first, attention="sdpa", length=7):
        def build():
            model = make()
            model.set_attn_implementation(attention)
            model = wrapped(model.to(dtype), pick)

            def ids(b, n):
                return (torch.randint(3, vocab, (b, n)),)

            if dynamic:
                shapes = (({0: torch.export.Dim("batch", min=1, max=4), 1: torch.export.Dim("length", min=2, max=32)},),)
                return one(model, ids(2, length), ids(1, 11), ids(3, 5), dynamic=shapes)
            return one(model, ids(2, length))

        return build

    A, C = tf.AutoModel.from_config, tf.AutoModelForCausalLM.from_config

    def config(kind, **more):
        return tf.AutoConfig.for_model(kind, **more)

    encoders = {
        "bert": lambda: A(config("bert", **base)),
        "roberta": lambda: A(config("roberta", **base)),
        "distilbert": lambda: A(config("distilbert", vocab_size=vocab, dim=32, n_layers=2, n_heads=4, hidden_dim=48, max_position_embeddings=64)),
        "albert": lambda: A(config("albert", embedding_size=16, **base)),
        "electra": lambda: A(config("electra", embedding_size=16, **base)),
        "deberta-v2": lambda: A(config("deberta-v2", relative_attention=True, position_buckets=8, norm_rel_ebd="layer_norm",
                                       share_att_key=True, pos_att_type=["p2c", "c2p"], position_biased_input=False, **base)),
        "mpnet": lambda: A(config("mpnet", **base)),
        "modernbert": lambda: A(config("modernbert", **base, pad_token_id=0, eos_token_id=1, bos_token_id=2, cls_token_id=2, sep_token_id=1)),
        "xlm-roberta": lambda: A(config("xlm-roberta", **base)),
        "convbert": lambda: A(config("convbert", embedding_size=32, **base)),
    }
    decoders = {
        "gpt2": lambda: C(config("gpt2", vocab_size=vocab, n_embd=32, n_layer=2, n_head=4, n_positions=64)),
        "gpt-neo": lambda: C(config("gpt_neo", vocab_size=vocab, hidden_size=32, num_layers=2, num_heads=4, max_position_embeddings=64,
                                    attention_types=[[["global", "local"], 1]], window_size=4)),
        "gpt-neox": lambda: C(config("gpt_neox", **base)),
        "gptj": lambda: C(config("gptj", vocab_size=vocab, n_embd=32, n_layer=2, n_head=4, n_positions=64, rotary_dim=4)),
        "opt": lambda: C(config("opt", ffn_dim=48, word_embed_proj_dim=32, **{k: v for k, v in base.items() if k != "intermediate_size"})),
        "bloom": lambda: C(config("bloom", vocab_size=vocab, hidden_size=32, n_layer=2, n_head=4)),
        "falcon": lambda: C(config("falcon", vocab_size=vocab, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, new_decoder_architecture=True, num_kv_heads=2)),
        "phi": lambda: C(config("phi", **base)),
        "phi3": lambda: C(config("phi3", pad_token_id=0, num_key_value_heads=2, **base)),
        "gemma": lambda: C(config("gemma", **grouped)),
        "gemma2": lambda: C(config("gemma2", sliding_window=4, query_pre_attn_scalar=8, **grouped)),
        "gemma3": lambda: C(config("gemma3_text", sliding_window=4, query_pre_attn_scalar=8, **grouped)),
        "llama": lambda: C(config("llama", **grouped)),
        "llama3-rope": lambda: C(config("llama", rope_parameters={"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0,
                                        "high_freq_factor": 4.0, "original_max_position_embeddings": 16}, **grouped)),
        "mistral": lambda: C(config("mistral", sliding_window=4, **grouped)),
        "qwen2": lambda: C(config("qwen2", **{k: v for k, v in grouped.items() if k != "head_dim"})),
        "qwen3": lambda: C(config("qwen3", **grouped)),
        "qwen3-moe": lambda: C(config("qwen3_moe", num_experts=4, num_experts_per_tok=2, moe_intermediate_size=24, **grouped)),
        "mixtral": lambda: C(config("mixtral", num_local_experts=4, num_experts_per_tok=2, **grouped)),
        "olmo": lambda: C(config("olmo", **base)),
        "olmo2": lambda: C(config("olmo2", **base)),
        "stablelm": lambda: C(config("stablelm", num_key_value_heads=2, **base)),
        "granite": lambda: C(config("granite", embedding_multiplier=2.0, **{k: v for k, v in grouped.items() if k != "head_dim"})),
        "cohere": lambda: C(config("cohere", num_key_value_heads=2, **base)),
        "smollm3": lambda: C(config("smollm3", pad_token_id=0, num_key_value_heads=2, **base)),
        "starcoder2": lambda: C(config("starcoder2", num_key_value_heads=2, **base)),
        "mamba": lambda: C(config("mamba", vocab_size=vocab, hidden_size=32, num_hidden_layers=2, state_size=8)),
        "mamba2": lambda: C(config("mamba2", vocab_size=vocab, hidden_size=32, num_hidden_layers=2, state_size=8, num_heads=8, head_dim=8, n_groups=2, chunk_size=4)),
        "rwkv": lambda: C(config("rwkv", vocab_size=vocab, hidden_size=32, attention_hidden_size=32, num_hidden_layers=2, context_length=64)),
        "xglm": lambda: C(config("xglm", vocab_size=vocab, d_model=32, ffn_dim=48, num_layers=2, attention_heads=4, max_position_embeddings=64)),
        "codegen": lambda: C(config("codegen", vocab_size=vocab, n_embd=32, n_layer=2, n_head=4, n_positions=64, rotary_dim=4)),
        "mpt": lambda: C(config("mpt", vocab_size=vocab, d_model=32, n_layers=2, n_heads=4, max_seq_len=64)),
        "nemotron": lambda: C(config("nemotron", num_key_value_heads=2, **base)),
        "glm": lambda: C(config("glm", pad_token_id=0, **grouped)),
        "lfm2": lambda: C(config("lfm2", **{k: v for k, v in grouped.items() if k != "head_dim"}, layer_types=["conv", "full_attention"])),
    }
    for name, make in {**encoders, **decoders}.items():
        add(f"{name}-f32", tokens(make))
        add(f"{name}-f16", tokens(make, torch.float16))
        if name not in ("mamba", "mamba2", "rwkv"):
            add(f"{name}-dynamic-f32", tokens(make, dynamic=True))
            add(f"{name}-eager-f32", tokens(make, attention="eager", length=9))
    for name in ("bert", "llama", "qwen3", "gemma2", "gpt-neox", "phi3", "olmo2", "bloom"):
        add(f"{name}-bf16", tokens({**encoders, **decoders}[name], torch.bfloat16))
    add("gemma3-dynamic-f16", tokens(decoders["gemma3"], torch.float16, dynamic=True))
    add("llama-dynamic-bf16", tokens(decoders["llama"], torch.bfloat16, dynamic=True))

    def pairs(make, pick):
        def build():
            model = wrapped(make(), pick)
            return one(model, (torch.randint(3, vocab, (2, 9)), torch.randint(3, vocab, (2, 5))))

        return build

    def both(model, a, b):
        return model(input_ids=a, decoder_input_ids=b, use_cache=False).logits

    S = tf.AutoModelForSeq2SeqLM.from_config
    t5 = {"vocab_size": vocab, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0}
    add("t5-f32", pairs(lambda: S(config("t5", **t5)), both))
    add("t5-gated-f32", pairs(lambda: S(config("t5", feed_forward_proj="gated-gelu", **t5)), both))
    bart = {"vocab_size": vocab, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
            "decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "max_position_embeddings": 64}
    for kind in ("bart", "mbart", "pegasus", "marian", "m2m_100"):
        more = {"pad_token_id": 1} if kind == "marian" else {}
        add(f"{kind}-f32", pairs(lambda kind=kind, more=more: S(config(kind, **bart, **more)), both))

    def general(name, make, inputs, pick, dtypes=(torch.float32, torch.float16)):
        for dtype in dtypes:
            def build(dtype=dtype):
                model = make().to(dtype)
                given = tuple(x.to(dtype) if x.is_floating_point() else x for x in inputs())
                return one(wrapped(model, pick), given)

            add(f"{name}-{'f32' if dtype == torch.float32 else 'f16'}", build)

    audio = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48, "conv_dim": (16, 16),
             "conv_stride": (5, 2), "conv_kernel": (10, 3), "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 4,
             "vocab_size": 32}
    sight = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48, "image_size": 32, "patch_size": 8}

    def last(model, *xs):
        return model(*xs).last_hidden_state

    wave = lambda: (torch.randn(2, 400),)  # noqa: E731
    picture = lambda: (torch.randn(1, 3, 32, 32),)  # noqa: E731
    for kind in ("wav2vec2", "hubert", "unispeech", "wavlm", "data2vec-audio"):
        general(kind, lambda kind=kind: A(config(kind, **audio)), wave, last)
    general("wav2vec2-layer-norm", lambda: A(config("wav2vec2", feat_extract_norm="layer", do_stable_layer_norm=True, **audio)), wave, last)
    for kind in ("vit", "deit", "dinov2", "beit", "vit_mae", "ijepa", "dinov2_with_registers"):
        general(f"hf-{kind}", lambda kind=kind: A(config(kind, **sight)), picture, last)
    general("siglip-vision", lambda: tf.SiglipVisionModel(config("siglip_vision_model", **sight)), picture, lambda m, x: m(x).pooler_output)
    general("clip-vision", lambda: tf.CLIPVisionModel(config("clip_vision_model", **sight)), picture, lambda m, x: m(x).pooler_output)
    text = {**{k: v for k, v in base.items()}, "eos_token_id": 2}
    general("clip", lambda: tf.CLIPModel(tf.CLIPConfig(text_config=text, vision_config=sight, projection_dim=16)),
            lambda: (torch.randint(3, vocab, (2, 6)), torch.randn(1, 3, 32, 32)), lambda m, a, b: tuple(m(input_ids=a, pixel_values=b)[:2]))
    general("siglip", lambda: tf.SiglipModel(tf.SiglipConfig(text_config={**base}, vision_config=sight)),
            lambda: (torch.randint(3, vocab, (2, 6)), torch.randn(1, 3, 32, 32)), lambda m, a, b: tuple(m(input_ids=a, pixel_values=b)[:2]))
    general("segformer", lambda: tf.SegformerForSemanticSegmentation(config(
        "segformer", num_encoder_blocks=2, depths=[1, 1], sr_ratios=[4, 2], hidden_sizes=[16, 32], num_attention_heads=[1, 2], patch_sizes=[7, 3],
        strides=[4, 2], mlp_ratios=[2, 2], decoder_hidden_size=16, num_labels=3)), picture, lambda m, x: m(x).logits)
    general("hf-convnext-v2", lambda: A(config("convnextv2", hidden_sizes=[8, 16], depths=[1, 1], num_stages=2)), picture, last)
    general("hf-swin", lambda: A(config("swin", image_size=32, patch_size=4, embed_dim=16, depths=[2, 2], num_heads=[2, 4], window_size=4)), picture, last)
    general("hf-swin-v2", lambda: A(config("swinv2", image_size=32, patch_size=4, embed_dim=16, depths=[2, 2], num_heads=[2, 4], window_size=4)), picture, last)
    general("mobilevit", lambda: A(config("mobilevit", image_size=32, hidden_sizes=[24, 32, 40], neck_hidden_sizes=[8, 8, 16, 16, 24, 32, 64])), picture, last)
    general("poolformer", lambda: A(config("poolformer", hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1])), lambda: (torch.randn(1, 3, 64, 64),), last)
    general("pvt-v2", lambda: A(config("pvt_v2", hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], num_attention_heads=[1, 1, 2, 2])), lambda: (torch.randn(1, 3, 64, 64),), last)
    general("levit", lambda: A(config("levit", image_size=64, hidden_sizes=[16, 24, 32], num_attention_heads=[1, 2, 2], depths=[1, 1, 1], key_dim=[8, 8, 8])), lambda: (torch.randn(1, 3, 64, 64),), last)
    general("cvt", lambda: A(config("cvt", embed_dim=[8, 16, 24], num_heads=[1, 2, 3], depth=[1, 1, 1])), lambda: (torch.randn(1, 3, 64, 64),), last)
    general("focalnet", lambda: A(config("focalnet", image_size=32, embed_dim=8, hidden_sizes=[8, 16], depths=[1, 1], focal_levels=[2, 2], focal_windows=[3, 3])), picture, last)
    general("depth-anything", lambda: tf.DepthAnythingForDepthEstimation(tf.DepthAnythingConfig(
        backbone_config=tf.Dinov2Config(**{**sight, "num_hidden_layers": 4}, out_features=["stage1", "stage2", "stage3", "stage4"], reshape_hidden_states=False),
        neck_hidden_sizes=[8, 8, 16, 16], fusion_hidden_size=8, head_hidden_size=8, reassemble_hidden_size=32, patch_size=8)), picture, lambda m, x: m(x).predicted_depth)
    general("detr", lambda: tf.DetrModel(tf.DetrConfig(
        use_timm_backbone=False, use_pretrained_backbone=False, backbone_config=tf.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", out_features=["stage2"]),
        backbone=None, d_model=32, encoder_layers=1, decoder_layers=1, encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=48,
        decoder_ffn_dim=48, num_queries=5)), picture, last, (torch.float32,))
    general("sam-vision", lambda: tf.SamVisionModel(tf.SamVisionConfig(
        hidden_size=32, output_channels=16, num_hidden_layers=2, num_attention_heads=4, image_size=64, patch_size=8, window_size=4,
        global_attn_indexes=[1], mlp_dim=48)), lambda: (torch.randn(1, 3, 64, 64),), lambda m, x: m(x)[0])
    general("whisper", lambda: tf.WhisperModel(tf.WhisperConfig(**bart, num_mel_bins=16, max_source_positions=20, max_target_positions=20)),
            lambda: (torch.randn(1, 16, 40), torch.randint(3, vocab, (1, 6))), lambda m, a, b: m(input_features=a, decoder_input_ids=b, use_cache=False).last_hidden_state)
    general("vits-text", lambda: tf.VitsModel(tf.VitsConfig(
        vocab_size=38, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, ffn_dim=48, flow_size=32, window_size=2)).text_encoder,
        lambda: (torch.randint(1, 38, (1, 9)),), lambda m, x: m(input_ids=x, padding_mask=torch.ones(*x.shape, 1)).last_hidden_state, (torch.float32,))
    general("hifigan", lambda: tf.SpeechT5HifiGan(tf.SpeechT5HifiGanConfig(
        model_in_dim=8, upsample_initial_channel=16, upsample_rates=[4, 2], upsample_kernel_sizes=[8, 4], resblock_kernel_sizes=[3, 5],
        resblock_dilation_sizes=[[1, 3], [1, 2]])), lambda: (torch.randn(1, 12, 8),), lambda m, x: m(x))
    general("encodec-encoder", lambda: tf.EncodecModel(tf.EncodecConfig(num_filters=4, upsampling_ratios=[4, 2], hidden_size=16, codebook_dim=16, num_lstm_layers=1)).encoder,
            lambda: (torch.randn(1, 1, 160),), lambda m, x: m(x), (torch.float32,))
    general("autoformer-like-patchtst", lambda: tf.PatchTSTModel(tf.PatchTSTConfig(
        num_input_channels=2, context_length=32, patch_length=8, patch_stride=4, d_model=16, num_attention_heads=2, num_hidden_layers=2, ffn_dim=24)),
        lambda: (torch.randn(2, 32, 2),), lambda m, x: m(past_values=x).last_hidden_state, (torch.float32,))
    general("perceiver-like-vilt", lambda: A(config("vilt", **{**base, **sight})), lambda: (torch.randint(3, vocab, (1, 5)), torch.randn(1, 3, 32, 32)),
            lambda m, a, b: m(input_ids=a, pixel_values=b, pixel_mask=torch.ones(1, 32, 32, dtype=torch.int64)).last_hidden_state, (torch.float32,))


def diffusion():
    import diffusers
    import torch

    def of(name, make, inputs, pick, dtypes=("f32", "f16")):
        for short in dtypes:
            def build(dtype={"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}[short]):
                given = tuple(x.to(dtype) if x.is_floating_point() else x for x in inputs())
                return one(wrapped(make().to(dtype), pick), given)

            add(f"{name}-{short}", build)

    width = {"block_out_channels": (16, 32), "norm_num_groups": 8, "layers_per_block": 1}
    of("unet-2d", lambda: diffusers.UNet2DModel(
        sample_size=16, in_channels=3, out_channels=3, down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"), **width),
        lambda: (torch.randn(1, 3, 16, 16), torch.tensor([7])), lambda m, x, t: m(x, t).sample)
    of("unet-condition", lambda: diffusers.UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), cross_attention_dim=16, attention_head_dim=4, **width),
        lambda: (torch.randn(1, 4, 8, 8), torch.tensor([7]), torch.randn(1, 5, 16)), lambda m, x, t, c: m(x, t, c).sample, ("f32", "f16", "bf16"))
    of("vae", lambda: diffusers.AutoencoderKL(
        in_channels=3, out_channels=3, down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4, **width),
        lambda: (torch.randn(1, 3, 16, 16),), lambda m, x: m.decode(m.encode(x).latent_dist.mean).sample)
    of("vae-tiny", lambda: diffusers.AutoencoderTiny(
        encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8), num_encoder_blocks=(1, 1), num_decoder_blocks=(1, 1)),
        lambda: (torch.rand(1, 3, 16, 16),), lambda m, x: m(x).sample)
    of("dit", lambda: diffusers.DiTTransformer2DModel(
        num_attention_heads=2, attention_head_dim=8, in_channels=4, out_channels=8, num_layers=2, sample_size=8, patch_size=2, norm_num_groups=4,
        num_embeds_ada_norm=10), lambda: (torch.randn(1, 4, 8, 8), torch.tensor([5]), torch.tensor([3])), lambda m, x, t, c: m(x, t, c).sample)
    of("pixart", lambda: diffusers.PixArtTransformer2DModel(
        num_attention_heads=2, attention_head_dim=8, in_channels=4, out_channels=8, num_layers=2, sample_size=8, patch_size=2, norm_num_groups=4,
        cross_attention_dim=16, caption_channels=12, use_additional_conditions=False),
        lambda: (torch.randn(1, 4, 8, 8), torch.randn(1, 5, 12), torch.tensor([5])),
        lambda m, x, c, t: m(x, c, t, added_cond_kwargs={"resolution": None, "aspect_ratio": None}).sample, ("f32",))
    of("sd3", lambda: diffusers.SD3Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=4, num_layers=2, attention_head_dim=8, num_attention_heads=2, joint_attention_dim=16,
        caption_projection_dim=16, pooled_projection_dim=12, out_channels=4, pos_embed_max_size=8),
        lambda: (torch.randn(1, 4, 8, 8), torch.randn(1, 5, 16), torch.randn(1, 12), torch.tensor([5])), lambda m, x, c, p, t: m(x, c, p, t).sample)
    of("flux", lambda: diffusers.FluxTransformer2DModel(
        patch_size=1, in_channels=4, num_layers=1, num_single_layers=1, attention_head_dim=8, num_attention_heads=2, joint_attention_dim=16,
        pooled_projection_dim=12, axes_dims_rope=(2, 2, 4)),
        lambda: (torch.randn(1, 6, 4), torch.randn(1, 5, 16), torch.randn(1, 12), torch.rand(1)),
        lambda m, x, c, p, t: m(x, c, p, t, img_ids=torch.zeros(6, 3), txt_ids=torch.zeros(5, 3)).sample, ("f32",))
    of("controlnet", lambda: diffusers.ControlNetModel(
        in_channels=4, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), cross_attention_dim=16, attention_head_dim=4,
        conditioning_embedding_out_channels=(4, 8), **width),
        lambda: (torch.randn(1, 4, 8, 8), torch.tensor([7]), torch.randn(1, 5, 16), torch.randn(1, 3, 16, 16)),
        lambda m, x, t, c, i: m(x, t, c, i).mid_block_res_sample, ("f32",))


def layers():
    """Recurrent and attention layers, and programs with states or several functions."""
    import torch

    nn = torch.nn
    recurrent = {
        "rnn": lambda: nn.RNN(6, 8, 1, batch_first=True), "rnn-relu": lambda: nn.RNN(6, 8, 2, nonlinearity="relu"),
        "lstm-bidirectional": lambda: nn.LSTM(6, 8, 2, bidirectional=True, batch_first=True), "lstm-projected": lambda: nn.LSTM(6, 8, proj_size=5),
        "gru": lambda: nn.GRU(6, 8, 2), "gru-bidirectional": lambda: nn.GRU(6, 8, 1, bidirectional=True, bias=False),
    }
    for name, make in recurrent.items():
        for short, dtype in (("f32", torch.float32), ("f16", torch.float16)):
            add(f"layer-{name}-{short}", lambda make=make, dtype=dtype: one(make().to(dtype), (torch.randn(3, 5, 6, dtype=dtype),)))
    for name, make in {"lstm-cell": lambda: nn.LSTMCell(6, 8), "gru-cell": lambda: nn.GRUCell(6, 8)}.items():
        add(f"layer-{name}-f32", lambda make=make: one(make(), (torch.randn(3, 6),)))
    transformers = {
        "encoder-layer": lambda: nn.TransformerEncoderLayer(16, 4, 24, batch_first=True, norm_first=True, activation="gelu"),
        "encoder": lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 24), 2, enable_nested_tensor=False),
    }
    for name, make in transformers.items():
        for short, dtype in (("f32", torch.float32), ("f16", torch.float16), ("bf16", torch.bfloat16)):
            add(f"layer-{name}-{short}", lambda make=make, dtype=dtype: one(make().to(dtype), (torch.randn(3, 5, 16, dtype=dtype),)))
    add("layer-decoder-f32", lambda: one(nn.TransformerDecoderLayer(16, 4, 24, batch_first=True), (torch.randn(2, 5, 16), torch.randn(2, 7, 16))))

    class Running(nn.Module):
        def __init__(self, dtype):
            super().__init__()
            self.register_buffer("total", torch.zeros(3, 4, dtype=dtype))
            self.register_buffer("count", torch.zeros(1, dtype=torch.int32))

        def forward(self, x):
            self.total.mul_(0.5)
            self.total.add_(x)
            self.count.add_(1)
            return self.total.softmax(-1), self.count * 2

    class Ring(nn.Module):
        """Writes a row at a position; attends to what is there."""

        def __init__(self, dtype):
            super().__init__()
            self.register_buffer("kept", torch.zeros(1, 8, 6, dtype=dtype))

        def forward(self, row, at):
            self.kept.index_copy_(1, at, row)
            return (self.kept @ row.transpose(1, 2)).softmax(1)

    class Shift(nn.Module):
        def __init__(self, dtype):
            super().__init__()
            self.register_buffer("window", torch.zeros(2, 3, 7, dtype=dtype))
            self.conv = nn.Conv1d(3, 4, 3)

        def forward(self, x):
            self.window.copy_(torch.cat([self.window[:, :, 2:], x], 2))
            return self.conv(self.window)

    for short, dtype in (("f32", torch.float32), ("f16", torch.float16)):
        add(f"state-running-{short}", lambda d=dtype: one(Running(d), *[(torch.randn(3, 4, dtype=d),) for _ in range(3)]))
        add(f"state-ring-{short}", lambda d=dtype: one(Ring(d), *[(torch.randn(1, 1, 6, dtype=d), torch.tensor([i])) for i in (0, 3, 7, 3)]))
        add(f"state-shift-{short}", lambda d=dtype: one(Shift(d).to(d), *[(torch.randn(2, 3, 2, dtype=d),) for _ in range(3)]))

    def two():
        linear = nn.Linear(6, 4)
        x = torch.randn(3, 6)
        forward = wrapped(linear, lambda m, x: m(x).relu())
        scaled = wrapped(linear, lambda m, x: (m(x) * 2, x.sum(-1)))
        return {"main": (forward, (x,), None), "scaled": (scaled, (x,), None)}, [(x,), (torch.randn(3, 6),)], None

    add("functions-two-f32", two)


def compressed():
    """Models whose weights are compressed after conversion."""
    import torch

    from coreai_opt import coreai_utils as opt

    # No float4: the compressor stores a value to a byte, and the runtime reads two from it.
    D, G = opt.DType, opt.CompressionGranularity
    ways = {
        "int8": lambda p: opt.quantize_weights(p, dtype=D.INT8, weight_num_threshold=0),
        "int4-block": lambda p: opt.quantize_weights(p, dtype=D.INT4, granularity=G.PER_BLOCK, block_size=16, weight_num_threshold=0),
        "uint8-channel": lambda p: opt.quantize_weights(p, dtype=D.UINT8, granularity=G.PER_CHANNEL, weight_num_threshold=0),
        "fp8": lambda p: opt.quantize_weights(p, dtype=D.FP8_E4M3FN, granularity=G.PER_CHANNEL, weight_num_threshold=0),
        "palette2": lambda p: opt.palettize_weights(p, lut_dtype=None, num_kmeans_workers=1, n_bits=2, weight_num_threshold=0),
        "palette4-group": lambda p: opt.palettize_weights(p, lut_dtype=None, num_kmeans_workers=1, n_bits=4, granularity=G.PER_GROUPED_CHANNEL, group_size=8, weight_num_threshold=0),
        "palette6": lambda p: opt.palettize_weights(p, lut_dtype=None, num_kmeans_workers=1, n_bits=6, weight_num_threshold=0),
        "sparse": lambda p: opt.sparsify_weights(p, target_sparsity=0.6, weight_num_threshold=0),
        "sparse-palette4": lambda p: opt.sparsify_weights(p, target_sparsity=0.5, palettize_nbits=4, weight_num_threshold=0),
        "sparse-int8": lambda p: opt.sparsify_weights(p, target_sparsity=0.5, quantize_dtype=D.INT8, weight_num_threshold=0),
    }
    nn = torch.nn
    shapes = {
        "mlp": (lambda: nn.Sequential(nn.Linear(64, 96), nn.GELU(), nn.Linear(96, 32)), (5, 64)),
        "conv": (lambda: nn.Sequential(nn.Conv2d(8, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, groups=4), nn.Conv2d(32, 16, 1)), (1, 8, 9, 9)),
        "transposed": (lambda: nn.ConvTranspose2d(16, 32, 3, 2, 1), (1, 16, 7, 6)),
        "conv1d": (lambda: nn.Conv1d(16, 32, 5, dilation=2), (2, 16, 20)),
        "attention": (lambda: nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), (2, 6, 32)),
        "gru": (lambda: wrapped(nn.GRU(32, 32), lambda m, x: m(x)[0]), (4, 2, 32)),
    }
    for way, compress in ways.items():
        for shape, (make, size) in shapes.items():
            for short, dtype in (("f32", torch.float32), ("f16", torch.float16)):
                def build(make=make, size=size, dtype=dtype, compress=compress):
                    return one(make().to(dtype), (torch.randn(size, dtype=dtype),), compress=lambda p: compress(p) or p)

                add(f"{shape}-{way}-{short}", build)

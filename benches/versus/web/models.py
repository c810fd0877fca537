#!/usr/bin/env python3
"""Exports the models of run.mjs with seeded random weights as ONNX and as `.aimodel`.

    python models.py OUT_DIR [NAME …] [--coreai-build FILE]

Writes OUT_DIR/NAME.onnx and OUT_DIR/NAME.aimodel for every name:
matmul1024, resnet50: those of ../export_models.py; resnet50 is for one image of 224 x 224
resnet50_112: ResNet-50 for one image of 112 x 112, a quarter of the work in the same blocks
encoder: a block of a transformer encoder, 128 tokens of 768, 12 heads. Besides, encoder.fused.onnx holds the
    same with the operators that onnxruntime has of its own for attention, residual normalization and GELU
int4_2048, int4_4096: one row times a square matrix of int4, symmetric, 32 weights to a float32 scale.
    coreai-build compresses the asset, and the ONNX file (MatMulNBits) holds the codes and scales of that asset
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch
import torchvision
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(HERE.parent))
from export_models import MODELS, export  # noqa: E402

TOKENS, WIDTH, HEADS, HIDDEN = 128, 768, 12, 3072
BLOCK = 32
EPSILON = 1e-5
CONTRIB = "com.microsoft"


class Encoder(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.before_attention = torch.nn.LayerNorm(WIDTH, eps=EPSILON)
        self.before_mlp = torch.nn.LayerNorm(WIDTH, eps=EPSILON)
        self.qkv = torch.nn.Linear(WIDTH, 3 * WIDTH)
        self.out = torch.nn.Linear(WIDTH, WIDTH)
        self.up = torch.nn.Linear(WIDTH, HIDDEN)
        self.down = torch.nn.Linear(HIDDEN, WIDTH)

    def attention(self, x):
        heads = self.qkv(x).view(1, TOKENS, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        mixed = torch.nn.functional.scaled_dot_product_attention(heads[0], heads[1], heads[2])
        return self.out(mixed.transpose(1, 2).reshape(1, TOKENS, WIDTH))

    def forward(self, x):
        x = x + self.attention(self.before_attention(x))
        return x + self.down(torch.nn.functional.gelu(self.up(self.before_mlp(x))))


def tokens():
    return (torch.rand(1, TOKENS, WIDTH) * 2 - 1,)


def small_image():
    return (torch.rand(1, 3, 112, 112) * 2 - 1,)


def projection(size):
    return lambda: torch.nn.Linear(size, size, bias=False), lambda: (torch.rand(1, size) * 2 - 1,)


INT4 = {"int4_2048": 2048, "int4_4096": 4096}
NAMES = ["matmul1024", "resnet50_112", "resnet50", "encoder", *INT4]
MODELS |= {"encoder": (Encoder, tokens), "resnet50_112": (torchvision.models.resnet50, small_image)}
MODELS |= {name: projection(size) for name, size in INT4.items()}


def save(path, nodes, inputs, outputs, weights):
    """An ONNX file of float32 ports; `inputs` and `outputs` are shapes by name, `weights` arrays by name."""

    def ports(shapes):
        return [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]

    tensors = [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "main", ports(inputs), ports(outputs), tensors)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid(CONTRIB, 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)


def save_fused_encoder(path, model):
    """The encoder block with operators of onnxruntime's own domain."""
    weights, nodes = {}, []

    def linear(module, x, y):
        weights[f"{y}.w"] = module.weight.T.numpy()
        weights[f"{y}.b"] = module.bias.numpy()
        nodes.append(helper.make_node("MatMul", [x, f"{y}.w"], [f"{y}.product"]))
        nodes.append(helper.make_node("Add", [f"{y}.product", f"{y}.b"], [y]))

    def norm(module, name):
        weights[f"{name}.w"] = module.weight.numpy()
        weights[f"{name}.b"] = module.bias.numpy()
        return [f"{name}.w", f"{name}.b"]

    normal = {"epsilon": EPSILON}
    nodes.append(helper.make_node("LayerNormalization", ["x0", *norm(model.before_attention, "n0")], ["normal0"], axis=-1, **normal))
    weights["qkv.w"], weights["qkv.b"] = model.qkv.weight.T.numpy(), model.qkv.bias.numpy()
    nodes.append(helper.make_node("Attention", ["normal0", "qkv.w", "qkv.b"], ["mixed"], domain=CONTRIB, num_heads=HEADS))
    linear(model.out, "mixed", "attended")
    skip = ["attended", "x0", *norm(model.before_mlp, "n1")]
    nodes.append(helper.make_node("SkipLayerNormalization", skip, ["normal1", "", "", "sum"], domain=CONTRIB, **normal))
    linear(model.up, "normal1", "wide")
    nodes.append(helper.make_node("Gelu", ["wide"], ["bent"], domain=CONTRIB))
    linear(model.down, "bent", "narrow")
    nodes.append(helper.make_node("Add", ["sum", "narrow"], ["y"]))
    shape = [1, TOKENS, WIDTH]
    save(path, nodes, {"x0": shape}, {"y": shape}, weights)


def codes_and_scales(asset):
    """Of the one compressed weight of an asset: int8 codes (out, in), and float32 scales (out, in / BLOCK)."""
    from coreai.authoring import AIModelAsset

    text = str(AIModelAsset.load(asset).program)
    blobs = dict(re.findall(r'(resource_\d+): "0x([0-9A-F]+)"', text))
    constants = dict(re.findall(r"(%\w+) = coreai\.constant (dense.*)", text))
    ((codes, scales),) = re.findall(r"coreai\.blockwise_shift_scale (%\w+), (%\w+)", text)

    def read(name, kind):
        form = rf"dense_resource<(\w+)> : tensor<(\d+)x(\d+)x{kind}>"
        found = re.fullmatch(form, constants[name])
        if not found:
            sys.exit(f"{asset}: a constant of {kind} is needed for {name}, found {constants[name][:80]}")
        blob, *shape = found.groups()
        # The first four bytes are the alignment of the rest.
        return bytes.fromhex(blobs[blob])[4:], [int(extent) for extent in shape]

    data, shape = read(codes, "si4")
    packed = np.frombuffer(data, np.uint8)
    nibbles = np.stack([packed & 15, packed >> 4], -1).astype(np.int8).reshape(shape)
    data, shape = read(scales, "f32")
    return np.where(nibbles > 7, nibbles - 16, nibbles).astype(np.int8), np.frombuffer(data, np.float32).reshape(shape)


def compress(build, asset):
    """Replaces an asset by one with its weight in int4, BLOCK to a scale."""
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / asset.name
        subprocess.run([build, "compress", asset, "-o", small, "--preset", "w4"], check=True, stdout=subprocess.DEVNULL)
        shutil.rmtree(asset)
        shutil.copytree(small, asset)


def save_int4(path, codes, scales):
    """A row times the transpose of codes x scales, as MatMulNBits has it: codes from 0 with 8 for zero."""
    rows, columns = codes.shape
    unsigned = (codes + 8).astype(np.uint8).reshape(rows, columns // BLOCK, BLOCK)
    weights = {"codes": unsigned[..., 0::2] | unsigned[..., 1::2] << 4, "scales": scales.reshape(-1)}
    # Level 1: activations stay float32. Level 4 would round them to int8.
    options = {"K": columns, "N": rows, "bits": 4, "block_size": BLOCK, "accuracy_level": 1}
    node = helper.make_node("MatMulNBits", ["x0", "codes", "scales"], ["y"], domain=CONTRIB, **options)
    save(path, [node], {"x0": [1, columns]}, {"y": [1, rows]}, weights)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--coreai-build", type=Path, default=ROOT / "target" / "release" / "coreai-build")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in NAMES]
    if unknown:
        sys.exit(f"no model {', '.join(unknown)}; there are {', '.join(NAMES)}")
    names, out = arguments.names or NAMES, arguments.out
    if INT4.keys() & set(names) and not arguments.coreai_build.exists():
        sys.exit(f"no {arguments.coreai_build}: build it (cargo build --release -p coreai-cli) or name it (--coreai-build)")
    out.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        for name in names:
            model = export(name, out)
            if name == "encoder":
                save_fused_encoder(out / "encoder.fused.onnx", model)
            if name in INT4:
                compress(arguments.coreai_build, out / f"{name}.aimodel")
                save_int4(out / f"{name}.onnx", *codes_and_scales(out / f"{name}.aimodel"))


if __name__ == "__main__":
    main()

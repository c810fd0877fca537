#!/usr/bin/env python3
"""Records logits of small random checkpoints with `transformers`, one folder for each architecture variant.

    python architectures.py OUT_DIR [VARIANT ...]

A checkpoint is not stored: it is a function of `case.json`. Every tensor is drawn from a stream of its own,
SplitMix64 with the FNV-1a hash (64 bits) of the text "<seed>/<tensor name>" as its first state. The tensors
are listed by the names of published checkpoints, the ones `save_pretrained` writes; each entry says how the
stream becomes elements, in row-major order:

    u = next() >> 40                                   24 bits
    center, spread:  ((u - 2^23) / 2^23) * spread + center    in float32, each step rounded once
    low, count:      low + (u * count >> 24)                  a byte, for packed weights

Centers and spreads are multiples of 1/1024. The tensors are written as a safetensors folder, loaded with
`from_pretrained`, which must find every name and no other, and run in float32 with eager attention: the
prompt at once, then each of `steps` alone with the cache. A checkpoint whose experts are chosen by a margin
below MARGIN takes the next seed. `config.json` is what `save_pretrained` writes, `config.legacy.json` the
same in the keys of checkpoints that were published before transformers 5, with defaults left out; both give
the same logits here.
"""

import copy
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.numpy import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from architecture_cases import IGNORED, OMITTED, VARIANTS

PROMPT, STEPS = 11, 8
MARGIN = 5e-3  # between the logits of the last chosen expert and the first that is not
VISIBLE = 50.0  # dB; a mistake must leave less than this
MASK = (1 << 64) - 1


def fnv(data, state=0xCBF29CE484222325):
    """FNV-1a of 64 bits."""
    for byte in data:
        state = ((state ^ byte) * 0x100000001B3) & MASK
    return state


def stream(text, count):
    """`count` values of 24 bits of the stream that a text names."""
    state = fnv(text.encode())
    with np.errstate(over="ignore"):
        z = np.uint64(state) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.int64)


def draw(seed, entry):
    u = stream(f"{seed}/{entry['name']}", int(np.prod(entry["shape"])))
    if "count" in entry:
        values = (entry["low"] + (u * entry["count"] >> 24)).astype(np.uint8)
    else:
        unit = (u - (1 << 23)).astype(np.float32) / np.float32(1 << 23)
        values = unit * np.float32(entry["spread"]) + np.float32(entry["center"])
    return values.reshape(entry["shape"])


def fingerprint(seed, entries):
    """FNV-1a of the elements of all tensors in order, little-endian."""
    state = fnv(b"")
    for tensor in entries:
        state = fnv(draw(seed, tensor).tobytes(), state)
    return f"{state:016x}"


def grid(value):
    return round(value * 1024) / 1024


def entry(name, shape, kind, tied):
    """How a tensor is drawn: weights so that activations keep a scale near one, everything else near its rest."""
    part, shape = name.removesuffix(".weight"), list(shape)
    fan_in = shape[1] if len(shape) == 3 else shape[-1]  # experts of gpt-oss are [expert, in, out]
    unit = (3 / fan_in) ** 0.5  # spread of weights whose products have the scale of what they multiply
    if part.endswith("norm"):
        how = (0 if kind == "gemma3_text" else 1, 0.25)
    elif part.endswith("bias"):
        how = (0, 0.25)
    elif part.endswith("sinks"):
        how = (0.5, 2)
    elif part.endswith("embed_tokens"):
        how = (0, 0.25 if kind == "gemma3_text" else 0.875 if tied else 1.75)
    elif part.endswith(("q_proj", "k_proj", "qkv_proj", "mlp.gate", "block_sparse_moe.gate", "router")):
        how = (0, 1.5 * unit)
    elif part.endswith("lm_head"):
        how = (0, 3 * unit)
    elif part.endswith("experts.gate_up_proj"):
        how = (0, 4 * unit)  # reaches the clamp of gpt-oss
    elif part.endswith("experts.down_proj"):
        how = (0, 0.25 * unit)
    else:
        how = (0, unit)
    return {"name": name, "shape": shape, "center": grid(how[0]), "spread": grid(how[1])}


def packed(entries):
    """The same list with the experts of gpt-oss as published: MXFP4 blocks of 32 values along the input."""
    out = []
    for tensor in entries:
        if not tensor["name"].endswith(("experts.gate_up_proj", "experts.down_proj")):
            out.append(tensor)
            continue
        experts, columns, rows = tensor["shape"]
        low = 124 if "gate_up" in tensor["name"] else 120  # powers of two from 2^-3 and 2^-7
        out += [
            {"name": tensor["name"] + "_blocks", "shape": [experts, rows, columns // 32, 16], "low": 0, "count": 256},
            {"name": tensor["name"] + "_scales", "shape": [experts, rows, columns // 32], "low": low, "count": 3},
        ]
    return sorted(out, key=lambda tensor: tensor["name"])


def legacy(saved):
    """A configuration of transformers 5 in the keys that earlier versions wrote."""
    config = copy.deepcopy(saved)
    kind, rope = config["model_type"], config.pop("rope_parameters")
    config["torch_dtype"] = config.pop("dtype", "float32")
    config.pop("_sliding_window_pattern", None)
    if kind == "gemma3_text":
        kinds = config.pop("layer_types")
        config["sliding_window_pattern"] = kinds.index("full_attention") + 1
        config["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        rope = rope["full_attention"]
    elif kind in ("qwen2", "qwen3"):
        config.pop("layer_types")
    elif kind == "qwen3_moe" and "num_local_experts" in config:
        config["num_experts"] = config.pop("num_local_experts")
    config["rope_theta"] = rope.pop("rope_theta")
    if "partial_rotary_factor" in rope:
        config["partial_rotary_factor"] = rope.pop("partial_rotary_factor")
    if kind == "phi3":
        rope.pop("original_max_position_embeddings", None)
    if rope["rope_type"] == "default":
        config["rope_scaling"] = None
    else:
        if kind not in ("gpt_oss", "gemma3_text") and rope["rope_type"] != "llama3":
            rope["type"] = rope.pop("rope_type")
        config["rope_scaling"] = rope
    left_out = OMITTED.get(kind, {})
    return {key: config[key] for key in sorted(config) if key not in left_out or config[key] != left_out[key]}


def load(folder, config):
    extra = {}
    if getattr(config, "quantization_config", None):
        extra["quantization_config"] = transformers.Mxfp4Config(dequantize=True)
    model, report = AutoModelForCausalLM.from_pretrained(
        folder, config=config, dtype=torch.float32, attn_implementation="eager", output_loading_info=True, **extra
    )
    wrong = {key: value for key, value in report.items() if value}
    if wrong:
        raise RuntimeError(f"{folder}: {wrong}")
    assert all(p.dtype == torch.float32 for p in model.parameters())
    return model.eval()


@torch.no_grad()
def run(model, prompt, steps):
    """Logits of all positions, and the smallest margin by which an expert was chosen."""
    margins, hooks = [], []

    def watch(router, _, output):
        top = output[0].float().sort(dim=-1, descending=True).values
        if router.top_k < top.shape[-1]:
            margins.append((top[:, router.top_k - 1] - top[:, router.top_k]).min().item())

    for module in model.modules():
        if type(module).__name__.endswith("TopKRouter"):
            hooks.append(module.register_forward_hook(watch))
    first = model(input_ids=torch.tensor([prompt]), use_cache=True)
    rows, cache = [first.logits[0]], first.past_key_values
    for token in steps:
        result = model(input_ids=torch.tensor([[token]]), past_key_values=cache, use_cache=True)
        rows.append(result.logits[0])
        cache = result.past_key_values
    for hook in hooks:
        hook.remove()
    return torch.cat(rows).numpy().astype(np.float32), min(margins, default=None)


def psnr(reference, other):
    error = np.mean((reference.astype(np.float64) - other) ** 2)
    return float("inf") if error == 0 else 10 * np.log10(np.abs(reference).max() ** 2 / error)


def names_and_shapes(kind, settings):
    """What `save_pretrained` writes for a model of this configuration."""
    settings = {key: value for key, value in settings.items() if key != "quantization_config"}
    config = AutoConfig.for_model(kind, **copy.deepcopy(settings))
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager")
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        saved = json.loads((Path(folder) / "config.json").read_text())
        return {name: array.shape for name, array in load_file(Path(folder) / "model.safetensors").items()}, saved


def record(variant, out):
    kind, settings, mistakes = VARIANTS[variant]
    shapes, saved = names_and_shapes(kind, settings)
    if "quantization_config" in settings:
        saved["quantization_config"] = settings["quantization_config"]
    entries = [entry(name, shapes[name], kind, settings.get("tie_word_embeddings")) for name in sorted(shapes)]
    if "quantization_config" in settings:
        entries = packed(entries)
    seed = 0
    while True:
        seed += 1
        ids = (stream(f"{seed}/input_ids", PROMPT + STEPS) * settings["vocab_size"] >> 24).tolist()
        prompt, steps = ids[:PROMPT], ids[PROMPT:]
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            (folder / "config.json").write_text(json.dumps(saved, indent=2) + "\n")
            save_file({e["name"]: draw(seed, e) for e in entries}, folder / "model.safetensors", {"format": "pt"})
            logits, margin = run(load(folder, AutoConfig.from_pretrained(folder)), prompt, steps)
            if margin is not None and margin < MARGIN:
                continue
            old = folder / "legacy"
            old.mkdir()
            (old / "config.json").write_text(json.dumps(legacy(saved), indent=2) + "\n")
            again, _ = run(load(folder, AutoConfig.from_pretrained(old)), prompt, steps)
            if not np.array_equal(logits, again):
                raise RuntimeError(f"{variant}: the legacy configuration gives other logits")
            family = type(AutoConfig.from_pretrained(folder))

            def left(changes):
                config = family.from_dict(copy.deepcopy(saved | changes))
                return psnr(logits, run(load(folder, config), prompt, steps)[0])

            seen = {name: left(changes) for name, changes in mistakes.items()}
            for name, decibels in seen.items():
                if decibels > VISIBLE:
                    raise RuntimeError(f"{variant}: {name} leaves {decibels:.1f} dB")
            if variant in IGNORED and left(IGNORED[variant]) != float("inf"):
                raise RuntimeError(f"{variant}: {IGNORED[variant]} is not ignored")
        break
    folder = out / variant
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(saved, indent=2) + "\n")
    (folder / "config.legacy.json").write_text(json.dumps(legacy(saved), indent=2) + "\n")
    save_file({"logits": logits}, folder / "logits.safetensors")
    case = {
        "id": variant,
        "architecture": kind,
        "made_with": f"transformers {transformers.__version__}",
        "seed": seed,
        "prompt": prompt,
        "steps": steps,
        "fingerprint": fingerprint(seed, entries),
        "expert_margin": margin,
        "mistakes_db": {name: round(value, 1) for name, value in seen.items()},
    }
    head = ",\n".join(f" {json.dumps(key)}: {json.dumps(value)}" for key, value in case.items())
    lines = ",\n".join("  " + json.dumps(e) for e in entries)
    (folder / "case.json").write_text(f'{{\n{head},\n "tensors": [\n{lines}\n ]\n}}\n')
    print(f"{variant}: seed {seed}, logits ±{np.abs(logits).max():.1f}, std {logits.std():.2f}, "
          f"margin {margin}, mistakes leave at most {max(seen.values()):.1f} dB", flush=True)


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    for variant in sys.argv[2:] or VARIANTS:
        record(variant, Path(sys.argv[1]))


if __name__ == "__main__":
    main()

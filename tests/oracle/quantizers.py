#!/usr/bin/env python3
"""Records what coreai-opt makes of a few weights: codes, scales and squared errors.

    python quantizers.py OUT.safetensors SMOLLM2_Q4_1.gguf

For every tensor `T` and every scheme `S` of `SCHEMES` the file holds

    T                  the weight, float16, bfloat16 or float32 [rows, columns]
    T.S.codes          int8 [rows, columns]
    T.S.scales         in the weight's dtype [rows, 1] or [rows, columns / 32]

and its metadata `T.S.mse`, the mean of (weight - code * scale)^2 in float64. `w8` and `w4_per_block` are
coreai-opt's presets of these names; `4bit` is the preset of Apple's exporter for language models, and
`8bit` the same with int8 per channel. Real weights are rows of the GGUF file, dequantized.
Needs torch, coreai-torch and coreai-opt; random weights come from a fixed seed.
"""

import importlib.metadata
import struct
import sys

import numpy as np
import torch
from coreai_opt.quantization import Quantizer, QuantizerConfig
from coreai_opt.quantization.config import ExecutionMode, ModuleQuantizerConfig
from coreai_opt.quantization.spec import PerBlockGranularity, PerChannelGranularity, QuantizationSpec
from safetensors.torch import save_file

SEED = 4
EAGER = ExecutionMode.EAGER


def clipping(dtype, granularity):
    spec = QuantizationSpec(dtype=dtype, qscheme="symmetric_with_clipping", granularity=granularity)
    module = ModuleQuantizerConfig(op_input_spec=None, op_output_spec=None, op_state_spec={"weight": spec})
    return QuantizerConfig(global_config=module, execution_mode=EAGER)


SCHEMES = {
    "w8": lambda: QuantizerConfig.presets.w8(axis=0, execution_mode=EAGER),
    "w4_per_block": lambda: QuantizerConfig.presets.w4_per_block(block_size=32, axis=1, execution_mode=EAGER),
    "8bit": lambda: clipping(torch.int8, PerChannelGranularity(axis=0)),
    "4bit": lambda: clipping(torch.int4, PerBlockGranularity(axis=1, block_size=32)),
}


def compress(weight, config):
    """Codes and scales of a linear layer of this weight, as coreai-opt hands them to the exporter."""
    rows, columns = weight.shape
    model = torch.nn.Sequential(torch.nn.Linear(columns, rows, bias=False, dtype=weight.dtype))
    model[0].weight = torch.nn.Parameter(weight.clone(), requires_grad=False)
    quantizer = Quantizer(model, config)
    prepared = quantizer.prepare((torch.zeros(1, columns, dtype=weight.dtype),))
    (packed,) = [m for m in quantizer.finalize(prepared).modules() if hasattr(m, "quantized_data")]
    assert packed.scale.dtype == weight.dtype and not packed.zero_point.any()
    return packed.quantized_data, packed.scale.reshape(rows, -1)


def mean_squared_error(weight, codes, scale):
    blocks = codes.double().reshape(*scale.shape, -1) * scale.double()[..., None]
    return float((weight.double() - blocks.reshape(weight.shape)).square().mean())


def synthetic():
    rng = np.random.default_rng(SEED)
    normal = rng.standard_normal((12, 256)) * 0.02
    columns = rng.standard_normal((8, 256)) * 0.02
    columns[:, rng.choice(256, 6, replace=False)] *= 25
    constant = np.repeat(np.array([[0.03], [-0.7], [1e-3], [5.5]]), 64, axis=1)
    zeros = rng.standard_normal((4, 128)) * 0.1
    zeros[1] = 0
    zeros[2, 32:96] = 0
    half = np.arange(-64, 64).reshape(2, 64) / 2 * np.array([[1], [0.5]])  # many quotients between two codes
    tiny = rng.standard_normal((4, 64)) * 1e-5  # scales are subnormal in float16
    one_sided = np.abs(rng.standard_normal((6, 128))) * np.array([[1], [-1], [1], [-1], [1], [-1]]) * 0.05
    f16, bf16, f32 = torch.float16, torch.bfloat16, torch.float32
    for name, values, dtype in [
        ("normal", normal, f16), ("normal_bf16", normal[:6], bf16), ("normal_f32", normal[:4], f32),
        ("heavy_tailed", rng.standard_t(3, (12, 256)) * 0.02, f16), ("outlier_columns", columns, f16),
        ("constant_rows", constant, f16), ("zeros", zeros, f16), ("ties", half, f16), ("tiny", tiny, f16),
        ("one_sided", one_sided, f16),
    ]:
        yield name, torch.tensor(values).to(dtype)


def gguf_rows(path, wanted):
    """`{name: float32 rows}` of two-dimensional Q4_1 and Q8_0 tensors, the first rows of each."""
    data = np.memmap(path, np.uint8, "r")
    at = 0

    def take(form):
        nonlocal at
        (value,) = struct.unpack_from("<" + form, data, at)
        at += struct.calcsize("<" + form)
        return value

    def text():
        nonlocal at
        size = take("Q")
        at += size
        return bytes(data[at - size:at]).decode()

    def skip(kind):
        nonlocal at
        if kind == 8:
            text()
        elif kind == 9:
            inner, count = take("I"), take("Q")
            for _ in range(count):
                skip(inner)
        else:
            at += {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}[kind]

    assert take("I") == 0x46554747 and take("I") == 3
    tensors, pairs = take("Q"), take("Q")
    for _ in range(pairs):
        text()
        skip(take("I"))
    table = {}
    for _ in range(tensors):
        name = text()
        extents = [take("Q") for _ in range(take("I"))]
        table[name] = (extents, take("I"), take("Q"))
    start = -(-at // 32) * 32
    rows = {}
    for name, (first, count) in wanted.items():
        (columns, _), kind, offset = table[name]
        size = {3: 20, 8: 34}[kind]
        begin = start + offset + first * (columns // 32) * size
        blocks = np.array(data[begin:begin + count * (columns // 32) * size]).reshape(-1, size)
        scale = blocks[:, :2].copy().view(np.float16).astype(np.float32)
        if kind == 8:
            values = scale * blocks[:, 2:].view(np.int8)
        else:
            low, high = blocks[:, 4:] & 15, blocks[:, 4:] >> 4
            values = scale * np.hstack([low, high]) + blocks[:, 2:4].copy().view(np.float16).astype(np.float32)
        rows[name] = values.reshape(count, columns)
    return rows


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    out, gguf = sys.argv[1:]
    wanted = {"token_embd.weight": (5000, 6), "blk.0.attn_q.weight": (100, 6), "blk.15.ffn_down.weight": (40, 2),
              "blk.29.ffn_gate.weight": (700, 6)}
    weights = dict(synthetic())
    weights |= {name: torch.tensor(rows).half() for name, rows in gguf_rows(gguf, wanted).items()}
    tensors, metadata = {}, {"coreai-opt": importlib.metadata.version("coreai-opt")}
    for name, weight in weights.items():
        tensors[name] = weight
        for scheme, config in SCHEMES.items():
            codes, scale = compress(weight, config())
            mse = mean_squared_error(weight, codes, scale)
            tensors |= {f"{name}.{scheme}.codes": codes, f"{name}.{scheme}.scales": scale.contiguous()}
            metadata[f"{name}.{scheme}.mse"] = repr(mse)
            print(f"{name} {scheme}: codes {codes.min()} to {codes.max()}, mean squared error {mse:.6g}")
    save_file(tensors, out, metadata)


if __name__ == "__main__":
    main()

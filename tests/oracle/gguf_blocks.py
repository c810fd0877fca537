#!/usr/bin/env python3
"""Writes a small GGUF file with blocks of every format and their float32 values.

    python gguf_blocks.py OUT.gguf

The Python package `gguf` writes the file and computes the values. For each format there is a tensor of
its name, with random blocks and blocks of extreme scales, and a float32 tensor `NAME.values`. The metadata
has a key of each type. The file is always the same.
"""

import sys

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

# Where the float16 numbers of a block are: its scale, then its minimum.
HALVES = {
    Type.Q4_0: [0], Type.Q4_1: [0, 2], Type.Q5_0: [0], Type.Q5_1: [0, 2], Type.Q8_0: [0],
    Type.Q2_K: [80, 82], Type.Q3_K: [108], Type.Q4_K: [0, 2], Type.Q5_K: [0, 2], Type.Q6_K: [208],
    Type.IQ4_NL: [0], Type.IQ4_XS: [0], Type.MXFP4: [],
}
# Zeros, the least and the largest subnormal, the largest numbers, infinities and what is not a number.
EXTREMES = [0x0000, 0x8000, 0x0001, 0x83FF, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E00]
EXPONENTS = [0, 1, 2, 3, 126, 127, 128, 252, 253, 254]
COLUMNS = 1024


def blocks(kind, random):
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    count = 16 if elements == 256 else 64
    data = random.integers(0, 256, (count, size), np.uint8)
    data[0] = 0
    data[1] = 255
    for at in HALVES[kind]:
        usual = random.normal(0, 0.01, count).astype(np.float16)
        data[2:, at:at + 2] = usual[2:].view(np.uint8).reshape(-1, 2)
    # the minimums are the extremes from the last to the first
    for at, extremes in zip(HALVES[kind], [EXTREMES, EXTREMES[::-1]]):
        data[2:2 + len(extremes), at:at + 2] = np.array(extremes, np.uint16).view(np.uint8).reshape(-1, 2)
    if kind == Type.MXFP4:
        data[:, 0] = random.integers(110, 130, count)
        data[:len(EXPONENTS), 0] = EXPONENTS
        data[-1, 0] = 255  # not a scale; in the last row only
    return data.reshape(count * elements // COLUMNS, COLUMNS // elements * size)


def metadata(writer):
    writer.add_uint8("u8", 200)
    writer.add_int8("i8", -100)
    writer.add_uint16("u16", 60_000)
    writer.add_int16("i16", -30_000)
    writer.add_uint32("u32", 4_000_000_000)
    writer.add_int32("i32", -2_000_000_000)
    writer.add_uint64("u64", 2**64 - 1)
    writer.add_int64("i64", -(2**63))
    writer.add_float32("f32", 0.1)
    writer.add_float64("f64", 0.1)
    writer.add_bool("bool", True)
    writer.add_string("text", "Größe")
    writer.add_array("texts", ["a", "", "▁the", "<0x0A>"])
    writer.add_array("integers", [1, -2, 2_000_000_000])
    writer.add_array("floats", [0.5, -1.25])
    writer.add_array("bools", [True, False])


def plain(random):
    numbers = random.normal(0, 3, (3, 40)).astype(np.float32)
    numbers[0, :6] = [0.0, -0.0, np.inf, -np.inf, 1e-40, 3e38]
    with np.errstate(over="ignore"):
        yield Type.F16, numbers.astype(np.float16), numbers.astype(np.float16).astype(np.float32)
    bits = numbers.view(np.uint32) >> 16
    yield Type.BF16, bits.astype(np.uint16).view(np.uint8), (bits << 16).view(np.float32)
    wide = numbers.astype(np.float64) / 3
    yield Type.F64, wide, wide.astype(np.float32)
    for kind, integer in [(Type.I8, np.int8), (Type.I16, np.int16), (Type.I32, np.int32)]:
        limits = np.iinfo(integer)
        whole = random.integers(limits.min, limits.max, (3, 40), integer, endpoint=True)
        yield kind, whole, whole.astype(np.float32)


def main():
    random = np.random.default_rng(4)
    writer = gguf.GGUFWriter(sys.argv[1], "blocks")
    writer.add_custom_alignment(64)
    metadata(writer)
    tensors = list(plain(random))
    for kind in HALVES:
        with np.errstate(all="ignore"):
            data = blocks(kind, random)
            tensors.append((kind, data, gguf.quants.dequantize(data, kind)))
    for kind, data, values in tensors:
        writer.add_tensor(kind.name, data, raw_dtype=kind)
        writer.add_tensor(f"{kind.name}.values", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()

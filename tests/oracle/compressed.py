#!/usr/bin/env python3
"""Runs compressed assets on Apple's CPU runtime and compares with the exact arithmetic of their codes.

    python compressed.py COREAI_BUILD OUT_DIR [CASE …]

Authors small float assets whose output *is* the weight (a product with the identity, a lookup of every row, a
convolution of single pixels), compresses them with `coreai-build compress`, and runs the results. The output has
to equal `code * scale`, rounded once to the scale's type, bit for bit; codes and scales are those that Apple's
reader finds in the file. Then the folders of CASE (of the conformance corpus) are compressed with both presets
and run on their inputs; the ratio to the recorded outputs of the original is printed, in dB.

Every run is also a case folder in OUT_DIR, so that `coreai-run verify OUT_DIR` compares our runtime with it.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

import recording

PRESETS = ("w8", "w4")
DTYPES = {"f16": np.float16, "f32": np.float32}
random = np.random.default_rng(4)


def dense(array):
    return "dense<" + re.sub(r"\s", "", json.dumps(array.tolist())) + ">"


def module(arguments, result, lines):
    text = "\n    ".join([*lines, f"coreai.output %y : {result}"])
    named = ", ".join(f'%{name}: {kind} {{coreai.name = "{name}"}}' for name, kind in arguments)
    return f'module {{\n  coreai.graph @main({named}) -> ({result} {{coreai.name = "y"}}) {{\n    {text}\n  }}\n}}\n'


def tensor(shape, kind):
    return f"tensor<{''.join(f'{d}x' for d in shape)}{kind}>"


def weight(shape, kind):
    return (random.standard_normal(shape) * 0.05).astype(DTYPES[kind])


def linear(kind):
    """`[out, in]` and a transposition: the order of converted models."""
    w, x, y = tensor((48, 64), kind), tensor((64, 64), kind), tensor((64, 48), kind)
    lines = [
        f"%w = coreai.constant {dense(weight((48, 64), kind))} : {w}",
        "%p = coreai.constant dense<[1, 0]> : tensor<2xui32>",
        f"%t = coreai.transpose %w, %p : ({w}, tensor<2xui32>) -> {y}",
        f"%y = coreai.decomposable.broadcasting_batch_matmul %x, %t : ({x}, {y}) -> {y}",
    ]
    return module([("x", x)], y, lines), {"x": np.eye(64, dtype=DTYPES[kind])}, lambda w: w.T


def inner(kind):
    """`[in, out]`: the order of GPT-2."""
    w, x = tensor((64, 96), kind), tensor((64, 64), kind)
    lines = [
        f"%w = coreai.constant {dense(weight((64, 96), kind))} : {w}",
        f"%y = coreai.decomposable.broadcasting_batch_matmul %x, %w : ({x}, {w}) -> {w}",
    ]
    return module([("x", x)], w, lines), {"x": np.eye(64, dtype=DTYPES[kind])}, lambda w: w.T


def embedding(kind):
    w, i = tensor((80, 64), kind), tensor((80, 1), "si32")
    lines = [
        f"%w = coreai.constant {dense(weight((80, 64), kind))} : {w}",
        f"%y = coreai.gather_nd %w at %i : ({w}, {i}) to {w}",
    ]
    return module([("i", i)], w, lines), {"i": np.arange(80, dtype=np.int32)[:, None]}, lambda w: w


def convolution(kind):
    """A kernel of one pixel on 64 images, each with one channel set."""
    w, x, y = tensor((24, 64, 1, 1), kind), tensor((64, 64, 1, 1), kind), tensor((64, 24, 1, 1), kind)
    lines = [
        f"%w = coreai.constant {dense(weight((24, 64, 1, 1), kind))} : {w}",
        "%s = coreai.constant dense<1> : tensor<2xui32>",
        "%g = coreai.constant dense<1> : tensor<ui32>",
        f"%y = coreai.conv2d %x, %w, %s, %s, %g : ({x}, {w}, tensor<2xui32>, tensor<2xui32>, tensor<ui32>) -> {y}",
    ]
    x = np.eye(64, dtype=DTYPES[kind])[:, :, None, None]
    return module([("x", tensor((64, 64, 1, 1), kind))], y, lines), {"x": x}, lambda w: w.transpose(1, 0, 2, 3)


def kernel(kind):
    """A kernel of 3 by 3 on images with one pixel of one channel set."""
    w, x, y = tensor((8, 16, 3, 3), kind), tensor((144, 16, 3, 3), kind), tensor((144, 8, 1, 1), kind)
    lines = [
        f"%w = coreai.constant {dense(weight((8, 16, 3, 3), kind))} : {w}",
        "%s = coreai.constant dense<1> : tensor<2xui32>",
        "%g = coreai.constant dense<1> : tensor<ui32>",
        f"%y = coreai.conv2d %x, %w, %s, %s, %g : ({x}, {w}, tensor<2xui32>, tensor<2xui32>, tensor<ui32>) -> {y}",
    ]
    x = np.eye(144, dtype=DTYPES[kind]).reshape(144, 16, 3, 3)
    return module([("x", tensor((144, 16, 3, 3), kind))], y, lines), {"x": x}, lambda w: w.reshape(8, 144).T[..., None, None]


def decoded(asset):
    """`code * scale` of the one compressed weight, from codes and scales as Apple's reader has them."""
    return recording.in_child(_decoded, str(asset))


def _decoded(asset):
    from coreai.authoring.asset import AIProgram

    text = str(AIProgram._load_bytecode(Path(asset) / "main.mlirb")._module)
    blobs = dict(re.findall(r'(resource_\d+): "0x([0-9A-F]+)"', text))
    constants = dict(re.findall(r"(%\w+) = coreai\.constant (dense.*)", text))
    (made,) = re.findall(r"coreai\.blockwise_shift_scale (%\w+), (%\w+)", text)

    def read(name):
        blob, shape, kind = re.fullmatch(r"dense_resource<(\w+)> : tensor<([\dx]*)x(\w+)>", constants[name]).groups()
        data = bytes.fromhex(blobs[blob])[4:]  # after the alignment
        shape = tuple(int(d) for d in shape.split("x"))
        if kind == "si4":
            data = np.frombuffer(data, np.uint8)
            nibbles = np.stack([data & 15, data >> 4], -1).reshape(-1).astype(np.int8)
            return np.where(nibbles > 7, nibbles - 16, nibbles).astype(np.int8).reshape(shape)
        return np.frombuffer(data, {"si8": np.int8, **DTYPES}[kind]).reshape(shape)

    codes, scales = (read(name) for name in made)
    for axis, (extent, blocks) in enumerate(zip(codes.shape, scales.shape, strict=True)):
        scales = np.repeat(scales, extent // blocks, axis)
    # the product of float64 is exact, so it is rounded once
    return (codes.astype(np.float64) * scales.astype(np.float64)).astype(scales.dtype), str(codes.dtype)


def compressed(build, asset, out, preset):
    command = [build, "compress", asset, "-o", out, "--preset", preset, "--conv", preset, "--json", "--force"]
    answer = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if answer.returncode:
        sys.exit(f"{asset}: {answer.stderr.strip()}")
    return json.loads(answer.stdout)


def exact(build, out, scratch):
    failures = 0
    for make in (linear, inner, embedding, convolution, kernel):
        for kind in DTYPES:
            text, inputs, expected = make(kind)
            asset = scratch / f"{make.__name__}-{kind}.aimodel"
            recording.author(text, asset)
            for preset in PRESETS:
                name = f"{make.__name__}-{kind}-{preset}"
                small = scratch / f"{name}.aimodel"
                (row,) = compressed(build, asset, small, preset)["weights"]
                weights, codes = decoded(small)
                case = recording.record(small, "main", [inputs], {}, out / name, id=name)
                if not case["executed"]:
                    print(f"{name}: {case['error']}")
                    failures += 1
                    continue
                result = load_file(out / name / "outputs.safetensors")["0/y"]
                wanted = expected(weights)
                wanted = wanted.reshape(result.shape) if wanted.size == result.size else wanted
                same = np.array_equal(result, wanted)
                failures += not same
                psnr = row["outcome"]["compressed"]["difference"]["psnr_db"]
                print(f"{name}: {codes}, {psnr:.1f} dB, {'exact' if same else f'apart by {np.abs(result - wanted).max()}'}")
    return failures


def replayed(build, cases, out, scratch):
    """The compressed models of conformance cases, with the inputs of those."""
    failures = 0
    for folder in cases:
        case = json.loads((folder / "case.json").read_text())
        inputs, outputs = load_file(folder / "inputs.safetensors"), load_file(folder / "outputs.safetensors")
        states = load_file(folder / "states.safetensors") if case["signature"]["states"] else {}
        steps = [{k: inputs[e["key"]] for k, e in row["inputs"].items()} for row in case["steps"]]
        before = {k: states[e["key"]] for k, e in case["steps"][0].get("state_before", {}).items()}
        for preset in PRESETS:
            name = f"{folder.name}-{preset}"
            small = scratch / f"{name}.aimodel"
            totals = compressed(build, folder / "model.aimodel", small, preset)["totals"]
            new = recording.record(small, case["function"], steps, before, out / name, id=name)
            if not new["executed"]:
                print(f"{name}: {new['error']}")
                failures += 1
                continue
            results = load_file(out / name / "outputs.safetensors")
            ratios = [psnr(outputs[e["key"]], results[e["key"]]) for row in new["steps"] for e in row["outputs"].values()]
            text = ", ".join(f"{ratio:.1f}" for ratio in ratios)
            print(f"{name}: {totals['compressed']} weights, {totals['bits_per_weight']:.2f} bits, outputs {text} dB")
    return failures


def psnr(was, now):
    was, now = np.asarray(was, np.float64), np.asarray(now, np.float64)
    finite = np.isfinite(was) & np.isfinite(now)
    error = np.square(was - now)[finite].mean()
    return np.inf if error == 0 else 10 * np.log10(np.abs(was[finite]).max() ** 2 / error)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path, metavar="COREAI_BUILD")
    parser.add_argument("out", type=Path)
    parser.add_argument("cases", type=Path, nargs="*", metavar="CASE")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        failures = exact(arguments.build, arguments.out, Path(scratch))
        failures += replayed(arguments.build, arguments.cases, arguments.out, Path(scratch))
    sys.exit(f"{failures} failed" if failures else 0)


if __name__ == "__main__":
    main()

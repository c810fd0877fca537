#!/usr/bin/env python3
"""Runs imported bundles of the small random checkpoints on Apple's CPU runtime against the reference's logits.

    cargo test --release --workspace --test architectures      # leaves the bundles in target/tmp/architectures
    python imported.py ../../target/tmp/architectures [NAME…]

Prints for each the signal-to-noise ratio in dB of the logits of the prompt and of the steps after it.
Ends with 1 if one is below 60 dB or does not run.

    python imported.py --asset BUNDLE/NAME.aimodel 1,9690,198,2683 LOGITS.npy

Feeds the tokens to one asset and compares with the logits that `coreai-run run … --output` wrote; prints the ratio
and the most likely tokens of both. Float16 models end up at some 40 dB: Apple's runtime rounds every operation.
"""

import json
import sys
from pathlib import Path

import ml_dtypes  # noqa: F401  (registers bfloat16 with NumPy)
import numpy as np
from safetensors.numpy import load_file

import recording

RECORDED = Path(__file__).resolve().parent.parent / "assets" / "architectures"
DECIBELS = 60


def psnr(found, expected):
    error = np.mean((found.astype(np.float64) - expected) ** 2)
    return float("inf") if error == 0 else 10 * np.log10(np.max(np.abs(expected)) ** 2 / error)


def logits(asset, prompt, steps):
    (signature,) = recording.describe(asset).values()
    capacity = len(prompt) + len(steps)
    states = {
        entry["name"]: np.zeros([size or capacity for size in entry["shape"]], np.dtype(entry["dtype"]))
        for entry in signature["states"]
    }
    calls, seen = [], 0
    for tokens in [prompt, *([step] for step in steps)]:
        seen += len(tokens)
        ids = np.array([tokens], np.int32)
        calls.append({"input_ids": ids, "position_ids": np.arange(seen, dtype=np.int32)[None]})
    results = recording.execute(asset, "main", calls, states)
    return np.concatenate([outputs["logits"][0] for outputs, _ in results])


def compare_asset(asset, tokens, ours):
    recording.SECONDS = 3600  # a model of 135 M weights takes about 10 s a token
    theirs = logits(asset, [int(token) for token in tokens.split(",")], [])
    ours = np.load(ours)[0].astype(np.float32)
    print(f"{psnr(ours, theirs):.1f} dB, most likely {theirs.argmax(-1).tolist()}, ours {ours.argmax(-1).tolist()}")


def main():
    if len(sys.argv) == 5 and sys.argv[1] == "--asset":
        return compare_asset(*sys.argv[2:])
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    names = sys.argv[2:] or sorted(path.parent.name for path in Path(sys.argv[1]).glob("*/bundle"))
    failed = False
    for name in names:
        bundle = Path(sys.argv[1]) / name / "bundle"
        variant = name.removesuffix("-legacy").removesuffix("-gguf")
        case = json.loads((RECORDED / variant / "case.json").read_text())
        expected = load_file(RECORDED / variant / "logits.safetensors")["logits"]
        try:
            ratio = psnr(logits(bundle / "bundle.aimodel", case["prompt"], case["steps"]), expected)
            good, said = ratio >= DECIBELS, f"{ratio:.1f} dB"
        except RuntimeError as error:
            good, said = False, str(error)[:600]
        print(name, said, "" if good else "FAILED", flush=True)
        failed |= not good
    sys.exit(failed)


if __name__ == "__main__":
    main()

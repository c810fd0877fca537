#!/usr/bin/env python3
"""Runs weights of every GGUF block format, kept packed in assets, on Apple's CPU runtime against ours.

    cargo test --release --workspace --test packed        # leaves the assets in target/tmp/packed
    python packed.py ../../target/tmp/packed

Prints for each the largest difference of looked-up rows, relative to their largest value, and that of products.
Rows with values that are not finite are left out. Ends with 1 where the lookup differs by more than a rounding.
"""

import sys
from pathlib import Path

import numpy as np

import recording

BATCH = 3


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    failed = False
    for asset in sorted(Path(sys.argv[1]).glob("*.aimodel")):
        (signature,) = recording.describe(asset).values()
        entry = {e["name"]: e for e in signature["inputs"]}["x"]
        columns, dtype = entry["shape"][1], np.dtype(entry["dtype"])
        ours = np.fromfile(asset.with_suffix(".rows.f32"), np.float32).reshape(-1, columns)
        rows = len(ours)
        batch, column = np.indices((BATCH, columns))
        x = (((batch * 7 + column * 3) % 11) / 8 - 0.625).astype(dtype)
        ids = np.arange(rows, dtype=np.int32)[:, None]
        try:
            ((outputs, _),) = recording.execute(asset, "main", [{"ids": ids, "x": x}], {})
        except RuntimeError as error:
            print(asset.stem, str(error)[:300], "FAILED", flush=True)
            failed = True
            continue
        theirs = outputs["rows"].astype(np.float32)
        clean = np.isfinite(ours).all(1) & np.isfinite(theirs).all(1)
        peak = np.abs(ours[clean]).max(1, keepdims=True) + 1e-30
        rounding = 2e-3 if dtype == np.float16 else 1e-6
        worst = (np.abs(ours[clean] - theirs[clean]) / peak).max()
        y = np.fromfile(asset.with_suffix(".y.f32"), np.float32).reshape(BATCH, rows)[:, clean]
        scale = np.abs(y).max() + 1e-30
        product = (np.abs(y - outputs["y"].astype(np.float32)[:, clean]) / scale).max()
        good = worst <= rounding and clean.sum() >= 2
        print(f"{asset.stem} {clean.sum()} rows, lookup {worst:.1e}, product {product:.1e}", "" if good else "FAILED", flush=True)
        failed |= not good
    sys.exit(failed)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Runs any `.aimodel` with random inputs on Apple's CPU runtime and writes a case folder.

    python run_asset.py ASSET OUT_DIR [--function main] [--size input_ids=1,5 ...] [--seed 0]
                        [--range input_ids=0,320 ...]

Every dynamic dimension needs a size: `--size NAME=1,5` gives the whole shape of an input or state.
Integers are drawn from 0 to 1 unless --range gives other bounds; states start at zero.
An asset that loads but does not run still gives a case, for loading only, with its error.
"""

import argparse
import sys
from pathlib import Path

import ml_dtypes
import numpy as np

import recording

# The runtime's names that NumPy does not know.
NAMES = {
    "bool": np.bool_,
    "bfloat16": ml_dtypes.bfloat16,
    "float4e2m1fn": ml_dtypes.float4_e2m1fn,
    "float8e4m3fn": ml_dtypes.float8_e4m3fn,
    "float8e5m2": ml_dtypes.float8_e5m2,
    "float8e8m0fn": ml_dtypes.float8_e8m0fnu,
    "int2": ml_dtypes.int2,
    "uint2": ml_dtypes.uint2,
    "int4": ml_dtypes.int4,
    "uint4": ml_dtypes.uint4,
}


def pairs(texts):
    """`NAME=1,2` arguments as `{NAME: (1, 2)}`."""
    result = {}
    for text in texts:
        name, _, numbers = text.rpartition("=")
        try:
            result[name] = tuple(int(n) for n in numbers.split(","))
        except ValueError:
            name = ""
        if not name:
            sys.exit(f"{text}: expected NAME=1,2,…")
    return result


def shape(entry, sizes):
    declared, given = entry["shape"], sizes.get(entry["name"])
    if given is None:
        if None in declared:
            sys.exit(f"{entry['name']} has shape {declared}; give it with --size {entry['name']}=…")
        return tuple(declared)
    if len(given) != len(declared) or any(d not in (None, g) for d, g in zip(declared, given)):
        sys.exit(f"{entry['name']} has shape {declared}; {list(given)} does not fit")
    return given


def values(entry, sizes, ranges, random):
    dtype, dims = np.dtype(NAMES.get(entry["dtype"], entry["dtype"])), shape(entry, sizes)
    if entry["name"] in ranges or dtype.kind in "iub" or entry["dtype"].startswith(("int", "uint")):
        low, high = ranges.get(entry["name"], (0, 2))
        return random.integers(low, high, dims).astype(dtype)
    return random.standard_normal(dims).astype(np.float32).astype(dtype)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("asset", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--function")
    parser.add_argument("--size", action="append", default=[], metavar="NAME=N,…")
    parser.add_argument("--range", action="append", default=[], metavar="NAME=LOW,HIGH", help="HIGH is not drawn")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if not (arguments.asset / "main.mlirb").is_file():
        sys.exit(f"{arguments.asset} is no .aimodel folder")

    try:
        signatures = recording.describe(arguments.asset)
    except RuntimeError as error:
        sys.exit(f"{arguments.asset} cannot be loaded: {error}")
    function = arguments.function or ("main" if "main" in signatures else next(iter(signatures)))
    if function not in signatures:
        sys.exit(f"no function {function}; there are {', '.join(signatures)}")
    signature, sizes, ranges = signatures[function], pairs(arguments.size), pairs(arguments.range)
    random = np.random.default_rng(arguments.seed)
    inputs = {e["name"]: values(e, sizes, ranges, random) for e in signature["inputs"]}
    states = {
        e["name"]: np.zeros(shape(e, sizes), NAMES.get(e["dtype"], e["dtype"])) for e in signature["states"]
    }
    case = recording.record(
        arguments.asset, function, [inputs], states, arguments.out,
        id=arguments.out.name, source={"suite": "tests/oracle", "model": arguments.asset.stem},
    )
    if not case["executed"]:
        sys.exit(case["error"])


if __name__ == "__main__":
    main()

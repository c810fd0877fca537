#!/usr/bin/env python3
"""Runs assets and what `rewrite` makes of them in Apple's CPU runtime; the outputs must be equal.

    cargo build -p coreai-asset --example rewrite
    python rewritten.py CASES --rewrite ../../target/debug/examples/rewrite
                        [--strip] [--every 20] [--match state …] [--largest 2000000]

CASES is a folder of case folders (case.json, inputs.safetensors, model.aimodel …). Both assets are
read by Apple's own reader too: the printed programs must be the same. Cases whose original does not
run must fail in the same way; one whose results change from run to run does not count as run.
Everything is compared bit by bit.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import ml_dtypes
import numpy as np
from safetensors.numpy import load_file

import recording

BATCH = 16  # cases for one child; the runtime may die on one
SMALL = {name: np.dtype(getattr(ml_dtypes, name)) for name in ("int2", "uint2", "int4", "uint4")}


def array(entry, store):
    """A recorded tensor as the runtime wants it."""
    value = store[entry["key"]]
    if entry["dtype"] in SMALL:  # kept as one value to a byte
        return value.astype(SMALL[entry["dtype"]])
    if entry["dtype"] == "float4_e2m1fn":
        return value.view(ml_dtypes.float4_e2m1fn)
    return value


def prepared(case):
    """Function, steps and first states of a case."""
    about = json.loads((case / "case.json").read_text())
    path = case / "inputs.safetensors"
    inputs = load_file(path) if path.exists() else {}
    path = case / "states.safetensors"
    kept = load_file(path) if path.exists() else {}
    steps = [{k: array(e, inputs) for k, e in step["inputs"].items()} for step in about["steps"]]
    before = about["steps"][0].get("state_before", {}) if about["steps"] else {}
    return about["function"], steps, {k: array(e, kept) for k, e in before.items()}


def printed(asset):
    """The program as Apple's printer shows it. Names of resources have no meaning,
    and their alignment, the first four bytes, is that of the writer."""
    from coreai.authoring.asset import AIProgram

    text = str(AIProgram._load_bytecode(Path(asset) / "main.mlirb")._module)
    body, _, resources = text.partition("{-#")
    names = {}
    number = lambda match: f"dense_resource<{names.setdefault(match[1], len(names))}>"  # noqa: E731
    body = re.sub(r"dense_resource<([^>]*)>", number, body)
    values = dict(re.findall(r'(\w+): "0x[0-9A-Fa-f]{8}([0-9A-Fa-f]*)"', resources))
    return body, [values.get(name) for name in names]


def outcome(asset, function, steps, states):
    try:
        return recording._execute(str(asset), function, steps, states), None
    except Exception as error:  # noqa: BLE001
        # addresses and temporary folders differ from run to run
        return None, re.sub(r"0x[0-9a-f]+|/tmp/\S+", "…", str(error))


def difference(case, rewritten):
    """What differs, or None; and whether the original ran."""
    original = case / "model.aimodel"
    if printed(original) != printed(rewritten):
        return "the printed programs", False
    function, steps, states = prepared(case)
    ours, our_error = outcome(rewritten, function, steps, states)
    theirs, their_error = outcome(original, function, steps, states)
    if their_error or our_error:
        same = their_error == our_error
        return None if same else f"{their_error!r}, then {our_error!r}", False
    what = unequal(theirs, ours)
    if what and unequal(theirs, outcome(original, function, steps, states)[0] or []):
        return None, False  # the original does not even agree with itself
    return what, True


def unequal(theirs, ours):
    """Where the results of two runs differ."""
    if len(theirs) != len(ours):
        return f"{len(theirs)} steps, then {len(ours)}"
    for step, (a, b) in enumerate(zip(theirs, ours)):
        for one, two in zip(a, b, strict=True):  # outputs, then states
            if one.keys() != two.keys():
                return f"step {step}: {sorted(one)}, then {sorted(two)}"
            for name in one:
                x, y = one[name], two[name]
                if (x.dtype, x.shape, x.tobytes()) != (y.dtype, y.shape, y.tobytes()):
                    return f"step {step}: {name}"
    return None


def compare(pairs):
    return [difference(Path(case), Path(rewritten)) for case, rewritten in pairs]


def results(pairs):
    """One result for each pair; a batch whose child died is repeated one by one."""
    for start in range(0, len(pairs), BATCH):
        batch = pairs[start : start + BATCH]
        try:
            yield from zip(batch, recording.in_child(compare, batch), strict=True)
        except RuntimeError:
            for pair in batch:
                try:
                    yield pair, recording.in_child(compare, [pair])[0]
                except RuntimeError as error:
                    yield pair, (died_alike(pair, str(error)), False)


def died_alike(pair, error):
    """The runtime dies on some originals; then it must on the other as well."""
    case, rewritten = map(Path, pair)
    function, steps, states = prepared(case)
    ends = []
    for asset in (case / "model.aimodel", rewritten):
        try:
            recording.execute(asset, function, steps, states)
            ends.append("ran")
        except RuntimeError as failure:
            ends.append(str(failure))
    return None if ends[0] == ends[1] != "ran" else f"{error}: {ends}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=Path)
    parser.add_argument("--rewrite", type=Path, required=True, help="the built example")
    parser.add_argument("--strip", action="store_true", help="without debug locations")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only each Nth case")
    parser.add_argument("--match", action="append", default=[], help="only cases whose names have this")
    parser.add_argument("--largest", type=int, default=1 << 62, metavar="BYTES", help="skip larger assets")
    arguments = parser.parse_args()
    cases = sorted(path.parent for path in arguments.cases.glob("*/case.json"))
    cases = [case for case in cases if not arguments.match or any(m in case.name for m in arguments.match)]
    cases = [
        case
        for case in cases[:: arguments.every]
        if (case / "model.aimodel/main.mlirb").stat().st_size <= arguments.largest
    ]
    ran, failures = 0, []
    with tempfile.TemporaryDirectory() as folder:
        pairs = [(str(case), f"{folder}/{case.name}.aimodel") for case in cases]
        for case, rewritten in pairs:
            strip = ["--strip"] if arguments.strip else []
            subprocess.run([arguments.rewrite, *strip, f"{case}/model.aimodel", rewritten], check=True)
        for (case, _), (what, executed) in results(pairs):
            ran += executed
            if what:
                failures.append(case)
                print(f"{Path(case).name}: {what}", flush=True)
    print(f"{len(cases)} assets, {ran} ran, {len(failures)} differ")
    sys.exit(1 if failures or not cases else 0)


if __name__ == "__main__":
    main()

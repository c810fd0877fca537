#!/usr/bin/env python3
"""Times the CPU unit in turns with other runtimes on the same processor, in one run.

    python cpu.py [--models DIR] [--cases DIR] [--threads N] [--rounds N] [-n N] [--json FILE]

--models: what export_models.py wrote; each is run by onnxruntime (NAME.onnx) and by time-function
(NAME.aimodel) on the same inputs, and the outputs are compared.
--cases: a corpus of recorded cases with index.jsonl; its whole models of float32 are run by Apple's Linux
runtime (coreai-core) and by time-function. Those that take Apple's runtime less than --least ms are left out.

Figures are medians and least times over all rounds; a ratio is their time ÷ ours.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

PROGRAM = Path(__file__).resolve().parents[2] / "target" / "release" / "time-function"
SEED = 20


def ours(arguments, asset, inputs, folder, extra=()):
    """Times in ms of `n` runs, and the outputs."""
    command = [arguments.program, asset, "--json", "-n", str(arguments.n), "--threads", str(arguments.threads)]
    for name, array in inputs.items():
        path = folder / f"{name}.bin"
        path.write_bytes(np.ascontiguousarray(array).tobytes())
        command += ["--input", f"{name}={path}", "--size", f"{name}={','.join(map(str, array.shape))}"]
    command += ["--outputs", folder / "outputs", *extra]
    answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    outputs = [np.fromfile(folder / "outputs" / name, np.float32) for name in answer["outputs"]]
    return answer["times_ms"], outputs


def timed(call, n):
    times = []
    for _ in range(n):
        start = time.perf_counter()
        result = call()
        times.append((time.perf_counter() - start) * 1e3)
    return times, result


def onnxruntime_turn(pipe, path, threads, n, inputs):
    """In a process of its own, so that no thread of it waits by spinning while ours is measured."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    timed(lambda: session.run(None, inputs), 2)
    pipe.send(timed(lambda: session.run(None, inputs), n))


def apple_turn(pipe, path, function, n, inputs):
    """In a process of its own: the runtime may end it."""
    # It reports what it loads.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    from coreai.authoring.asset import AIModelAsset
    from coreai.runtime import NDArray

    async def run():
        async with AIModelAsset.load(path).executable() as model:
            call = model.load_function(function)
            arrays = {name: NDArray(array) for name, array in inputs.items()}
            times = []
            for i in range(n + 2):
                start = time.perf_counter()
                outputs = await call(arrays, {})
                times.append((time.perf_counter() - start) * 1e3)
            return times[2:], [np.array(array.numpy()) for array in outputs.values()]

    pipe.send(asyncio.run(run()))


def in_child(function, *arguments):
    context = multiprocessing.get_context("spawn")
    near, far = context.Pipe(duplex=False)
    child = context.Process(target=function, args=(far, *arguments))
    child.start()
    far.close()
    try:
        return near.recv()
    except EOFError:
        return None
    finally:
        child.join()


def row(name, theirs, own, error):
    figures = {
        "name": name,
        "theirs_median_ms": statistics.median(theirs),
        "theirs_least_ms": min(theirs),
        "ours_median_ms": statistics.median(own),
        "ours_least_ms": min(own),
        "ratio_of_medians": statistics.median(theirs) / statistics.median(own),
        "ratio_of_least": min(theirs) / min(own),
        "largest_difference": error,
    }
    print(
        f"| {name} | {figures['theirs_median_ms']:.2f} | {figures['ours_median_ms']:.2f}"
        f" | {figures['ratio_of_medians']:.2f} | {figures['theirs_least_ms']:.2f}"
        f" | {figures['ours_least_ms']:.2f} | {figures['ratio_of_least']:.2f} |",
        flush=True,
    )
    return figures


def heading(other):
    print(f"\n| | {other}, median ms | ours | ratio | {other}, least ms | ours | ratio |")
    print("| --- | --- | --- | --- | --- | --- | --- |")


def difference(theirs, own):
    """Relative to the largest magnitude."""
    pairs = [(a.astype(np.float64).ravel(), b.astype(np.float64)) for a, b in zip(theirs, own, strict=True)]
    return max(float(np.abs(a - b).max() / max(np.abs(a).max(), 1e-30)) for a, b in pairs)


def exported(arguments, folder):
    import onnx

    rows = []
    heading("onnxruntime")
    for path in sorted(arguments.models.glob("*.onnx")):
        random = np.random.default_rng(SEED)
        graph = onnx.load(path, load_external_data=False).graph
        ports = [(i.name, [d.dim_value for d in i.type.tensor_type.shape.dim]) for i in graph.input]
        inputs = {name: random.uniform(-1, 1, shape).astype(np.float32) for name, shape in ports}
        asset = path.with_suffix(".aimodel")
        names = json.loads(
            subprocess.run(
                [arguments.program, asset, "--describe"], check=True, capture_output=True, text=True
            ).stdout
        )["inputs"]
        own_inputs = dict(zip(names, inputs.values(), strict=True))
        theirs, own, error = [], [], None
        for _ in range(arguments.rounds):
            answer = in_child(onnxruntime_turn, str(path), arguments.threads, arguments.n, inputs)
            if answer is None:
                sys.exit(f"onnxruntime died on {path}")
            theirs += answer[0]
            times, outputs = ours(arguments, asset, own_inputs, folder)
            own += times
            error = difference(answer[1], outputs)
        if error > 1e-3:
            sys.exit(f"{path.stem}: the outputs differ by {error} of the largest")
        rows.append(row(path.stem, theirs, own, error))
    return rows


def recorded(arguments, folder):
    from safetensors.numpy import load_file

    rows = []
    heading("Apple's Linux runtime")
    for line in (arguments.cases / "index.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if entry["suite"] != "generated" or "-f32-" not in entry["id"] or not entry["has_outputs"]:
            continue
        case = arguments.cases / "cases" / entry["id"]
        about = json.loads((case / "case.json").read_text())
        if about["signature"]["states"]:
            continue
        tensors = load_file(case / "inputs.safetensors")
        inputs = {name: tensors[t["key"]] for name, t in about["steps"][-1]["inputs"].items()}
        asset, function = case / "model.aimodel", about["function"]
        theirs, own, error = [], [], None
        for _ in range(arguments.rounds):
            answer = in_child(apple_turn, str(asset), function, arguments.n, inputs)
            if answer is None or statistics.median(theirs + answer[0]) < arguments.least:
                break
            theirs += answer[0]
            times, outputs = ours(arguments, asset, inputs, folder, ["--function", function])
            own += times
            error = difference(answer[1], outputs) if len(outputs) == 1 else None
        if own:
            rows.append(row(entry["id"].rsplit("-", 1)[0], theirs, own, error))
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--cases", type=Path)
    parser.add_argument("--program", type=Path, default=PROGRAM)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--least", type=float, default=20.0)
    parser.add_argument("-n", type=int, default=10)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if not arguments.program.is_file():
        sys.exit(f"{arguments.program} is missing: cargo build --release --workspace")
    load = os.getloadavg()[0]
    if load > 0.5:
        print(f"load average {load:.1f}: other processes are running, which slows both sides")
    figures = {"threads": arguments.threads, "load_before": load}
    with tempfile.TemporaryDirectory() as folder:
        if arguments.models:
            figures["onnxruntime"] = exported(arguments, Path(folder))
        if arguments.cases:
            figures["apple"] = recorded(arguments, Path(folder))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()

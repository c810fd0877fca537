"""Authors assets from IR text, runs them on Apple's CPU runtime, and writes cases.

Everything that touches `coreai-core` happens in a child process: the runtime may end it on a graph
that it cannot run. A case has the layout of the conformance corpus: case.json, inputs.safetensors,
outputs.safetensors, states.safetensors, model.aimodel/.
"""

import asyncio
import collections
import hashlib
import importlib.metadata
import json
import multiprocessing
import re
import shutil
from pathlib import Path

import ml_dtypes  # noqa: F401  (registers bfloat16 and float8 with NumPy)
import numpy as np
from safetensors.numpy import save_file

SECONDS = 600  # a child that runs longer is ended


def in_child(function, *arguments):
    """The function's result; RuntimeError where it raises, dies or takes too long."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(theirs, function, arguments))
    child.start()
    theirs.close()
    try:
        if not ours.poll(SECONDS):
            raise RuntimeError(f"no answer within {SECONDS} s")
        good, value = ours.recv()
    except EOFError:
        child.join()
        raise RuntimeError(f"the runtime died with exit code {child.exitcode}") from None
    finally:
        if child.is_alive():
            child.join(5)
        if child.is_alive():
            child.kill()
    if not good:
        raise RuntimeError(value)
    return value


def _child(pipe, function, arguments):
    try:
        pipe.send((True, function(*arguments)))
    except Exception as error:  # noqa: BLE001
        pipe.send((False, f"{type(error).__name__}: {error}"))


def author(text, path):
    """Writes the `.aimodel` folder of a module in IR text."""
    in_child(_author, text, str(path))


def _author(text, path):
    from coreai._compiler._mlir_libs._coreaiIR._bindings.compiler import run_pre_compilation_rewrite
    from coreai._compiler.ir import Module
    from coreai.authoring.asset import AIProgram
    from coreai.authoring.context import Context

    with Context() as context:
        module = Module.parse(text, context._mlir_context)
        run_pre_compilation_rewrite(module=module)
        AIProgram._from_mlir_module(module).save_asset(Path(path))


def describe(path):
    """`{function: {inputs, outputs, states}}` as the runtime reports it."""
    return in_child(_describe, str(path))


def _describe(path):
    from coreai.authoring.asset import AIModelAsset

    async def read():
        async with AIModelAsset.load(path).executable() as model:
            return {name: _signature(model.load_function(name).desc) for name in model.function_names}

    return asyncio.run(read())


def _signature(desc):
    def entries(names, descriptor):
        rows = []
        for name in names:
            d = descriptor(name)
            shape = [None if size is None or size < 0 else size for size in d.shape]
            rows.append({"name": name, "dtype": d.dtype, "shape": shape})
        return rows

    return {
        "inputs": entries(desc.input_names, desc.input_descriptor),
        "outputs": entries(desc.output_names, desc.output_descriptor),
        "states": entries(desc.state_names, desc.state_descriptor),
    }


def operations(path):
    """How often each operation occurs in the asset's IR."""
    return in_child(_operations, str(path))


def _operations(path):
    from coreai.authoring.asset import AIProgram

    text = str(AIProgram._load_bytecode(Path(path) / "main.mlirb")._module)
    text = text.split("{-#")[0]
    names = re.findall(r"^\s*(?:%[^=]*= )?(coreai[a-z_]*\.[a-z_0-9.]+)", text, re.M)
    return dict(sorted(collections.Counter(names).items()))


def execute(path, function, steps, states):
    """Outputs and states of every step; the states go from step to step."""
    return in_child(_execute, str(path), function, steps, states)


def _execute(path, function, steps, states):
    from coreai.authoring.asset import AIModelAsset
    from coreai.runtime import NDArray

    async def run():
        async with AIModelAsset.load(path).executable() as model:
            call = model.load_function(function)
            held = {name: NDArray(array.copy()) for name, array in states.items()}
            results = []
            for inputs in steps:
                outputs = await call({name: NDArray(array) for name, array in inputs.items()}, held)
                results.append(tuple({k: np.array(v.numpy()) for k, v in d.items()} for d in (outputs, held)))
            return results

    return asyncio.run(run())


def deviation(results, references):
    """How far the outputs are from float references: one dict of arrays for each step."""
    pairs = [
        (np.asarray(outputs[name], np.float64), np.asarray(reference, np.float64))
        for (outputs, _), step in zip(results, references, strict=True)
        for name, reference in step.items()
    ]
    largest = max(np.abs(b).max() for _, b in pairs)
    return {
        "max_abs": max(float(np.abs(a - b).max()) for a, b in pairs),
        "ref_max": float(largest),
    }


def _entry(store, key, array):
    entry = {"key": key, "dtype": str(array.dtype), "shape": list(array.shape)}
    if entry["dtype"] in ("int2", "int4"):  # safetensors has no such types: one value to a byte
        array = array.astype(np.int8)
    elif entry["dtype"] in ("uint2", "uint4"):
        array = array.astype(np.uint8)
    elif entry["dtype"] == "float4_e2m1fn":
        array = array.view(np.uint8)
    store[key] = np.ascontiguousarray(array).reshape(array.shape)  # the function makes a scalar a vector
    return entry


def record(asset, function, steps, states, out, references=None, **about):
    """Runs the steps and writes the case folder; a failed run leaves a case with `error`."""
    signatures = describe(asset)
    error, results = None, []
    try:
        results = execute(asset, function, steps, states)
    except RuntimeError as failure:
        error = str(failure)

    inputs, outputs, kept, rows = {}, {}, {}, []
    for i, step in enumerate(steps):
        row = {"inputs": {k: _entry(inputs, f"{i}/{k}", v) for k, v in step.items()}}
        if states and i == 0:
            row["state_before"] = {k: _entry(kept, f"0/before/{k}", v) for k, v in states.items()}
        elif states:
            row["state_before"] = {
                k: {"same_as_previous_after": True, "dtype": str(v.dtype), "shape": list(v.shape)}
                for k, v in states.items()
            }
        if results:
            row["outputs"] = {k: _entry(outputs, f"{i}/{k}", v) for k, v in results[i][0].items()}
            if states:
                row["state_after"] = {k: _entry(kept, f"{i}/after/{k}", v) for k, v in results[i][1].items()}
        rows.append(row)

    bytecode = (Path(asset) / "main.mlirb").read_bytes()
    case = {
        "format": 1,
        **{key: about[key] for key in ("id", "source") if key in about},
        "asset": "model.aimodel",
        "function": function,
        "functions": list(signatures),
        "signature": signatures[function],
        "executed": error is None,
        "error": error,
        "steps": rows,
        "tolerance": None,
        "reference_deviation": deviation(results, references) if references and results else None,
        "ops": operations(asset),
        "asset_bytes": len(bytecode),
        "graph_sha256": hashlib.sha256(bytecode).hexdigest(),
        "toolchain": {"coreai-core": importlib.metadata.version("coreai-core")},
        "tags": about.get("tags", []),
    }

    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    kept_asset = out / "model.aimodel"
    shutil.rmtree(kept_asset, ignore_errors=True)
    shutil.copytree(asset, kept_asset)
    for name, store in (("inputs", inputs), ("outputs", outputs), ("states", kept)):
        target = out / f"{name}.safetensors"
        target.unlink(missing_ok=True)
        if store:
            save_file(store, target)
            target.chmod(0o644)
    (out / "case.json").write_text(json.dumps(case, indent=1) + "\n")
    return case

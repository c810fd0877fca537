#!/usr/bin/env python3
"""Converts small PyTorch models and single functions, and records what Apple's CPU runtime computes for them.

    python models.py OUT [--only PART_OF_A_NAME ...] [--list]

Weights and inputs come from fixed seeds. One worker process converts and runs case after case; where the
runtime ends it, that case is counted and another worker goes on with the next. A case that the converter or
the runtime refuses is printed, counted and left out. The exit status is 1 if nothing could be recorded.

The case's `reference_deviation` is the distance from PyTorch. Needs torch, torchvision, transformers,
diffusers, coreai-torch and coreai-opt beside requirements.txt; a family whose package is missing is left out.
"""

import argparse
import contextlib
import io
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
import warnings
import zlib
from pathlib import Path

SECONDS = 240  # a case that takes longer is left out


class Refused(Exception):
    """The converter or the runtime does not take the case; the message names the stage."""


def array(tensor):
    """The array that the runtime takes for a tensor: 64-bit types narrowed, bfloat16 as ml_dtypes has it."""
    import ml_dtypes
    import torch

    tensor = tensor.detach().cpu().contiguous()
    narrow = {torch.int64: torch.int32, torch.float64: torch.float32}
    tensor = tensor.to(narrow.get(tensor.dtype, tensor.dtype))
    if tensor.dtype == torch.bfloat16:
        return tensor.float().numpy().astype(ml_dtypes.bfloat16)
    return tensor.numpy()


@contextlib.contextmanager
def stage(name):
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    except Exception as error:  # noqa: BLE001
        raise Refused(f"{name}: {type(error).__name__}: {' '.join(str(error).split())[:200]}") from None


def save(functions, path, compress=None):
    """Converts `{name: (model, arguments, dynamic shapes)}` to one asset; the exported programs by name."""
    import torch
    from coreai_torch import TorchConverter, get_decomp_table

    converter, programs = TorchConverter(mode=TorchConverter.Mode.RELEASE), {}
    for name, (model, arguments, dynamic) in functions.items():
        with stage("export"):
            program = torch.export.export(model.eval(), args=arguments, dynamic_shapes=dynamic, strict=False)
            programs[name] = program.run_decompositions(get_decomp_table())
        with stage("convert"):
            converter.add_exported_program(programs[name], entrypoint_name=name)
    with stage("convert"):
        asset = converter.to_coreai()
    if compress:
        with stage("compress"):
            asset = compress(asset)
    with stage("save"):
        asset.save_asset(path)
    return programs


def states(program, described):
    """What the function's states hold before the first step: the mutated buffers by the runtime's names."""
    buffers = dict(program.named_buffers())
    mutated = set(program.graph_signature.buffers_to_mutate.values())
    places = program.graph_signature.inputs_to_buffers
    held = {place: array(buffers[name]) for place, name in places.items() if name in mutated}
    wanted = [entry["name"] for entry in described["states"]]
    if set(wanted) != set(held):
        raise Refused(f"states: {wanted} are not the mutated buffers {sorted(held)}")
    return held


def write(name, case, out):
    """Converts, runs and records one case; Refused where that cannot be."""
    import numpy as np
    import recording
    import torch

    torch.manual_seed(0)
    np.random.seed(0)
    with stage("build"):
        built = case.build()
    functions, steps, compress = built
    for model, _, _ in functions.values():
        for parameter in model.parameters():
            if not parameter.detach().float().any():  # a head that starts at zero says nothing
                parameter.data.normal_(0, 0.1)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        asset = Path(folder) / "model.aimodel"
        programs = save(functions, asset, compress)
        with stage("describe"):
            described = recording.describe(asset)
        for function, (model, _, _) in functions.items():
            program = programs[function]
            held = states(program, described[function])
            outputs = program.graph_signature.user_outputs
            inputs, references = [], []
            for arguments in steps:
                flat = torch.utils._pytree.tree_leaves(arguments)
                names = program.graph_signature.user_inputs
                known = {entry["name"] for entry in described[function]["inputs"]}
                inputs.append({n: array(v) for n, v in zip(names, flat) if n in known})
                if not held and not compress:
                    results = torch.utils._pytree.tree_leaves(model(*arguments))
                    references.append({
                        n: array(v) for n, v in zip(outputs, results)
                        if n and isinstance(v, torch.Tensor) and v.numel() and not v.is_complex() and v.isfinite().all()
                    })
            target = out / (name if len(functions) == 1 else f"{name}-{function}")
            with stage("record"):
                row = recording.record(
                    asset, function, inputs, held, target,
                    references=references if references and all(references) else None,
                    id=target.name, source={"suite": "tests/oracle", "model": name},
                )
            if not row["executed"]:
                shutil.rmtree(target)
                raise Refused(f"run: {' '.join(row['error'].split())[:200]}")
            yield target.name, row["reference_deviation"]


def work(pipe, out):
    """The worker: answers names with the cases written or why there are none."""
    os.environ.setdefault("USE_LOCAL_COREAI", "1")
    os.environ["TQDM_DISABLE"] = "1"
    warnings.simplefilter("ignore")
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)  # the runtime logs there
    os.dup2(quiet, 2)
    import recording
    import torch
    from model_cases import cases

    torch.set_num_threads(1)
    recording.in_child = lambda function, *arguments: function(*arguments)  # this process is the child
    known = cases()
    while name := pipe.recv():
        try:
            pipe.send((True, list(write(name, known[name], out))))
        except Exception as error:  # noqa: BLE001
            pipe.send((False, f"{type(error).__name__}: {error}" if not isinstance(error, Refused) else str(error)))


class Worker:
    def __init__(self, out):
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=work, args=(theirs, out))
        self.process.start()
        theirs.close()

    def ask(self, name):
        """(good, answer, alive)"""
        try:
            self.pipe.send(name)
            if self.pipe.poll(SECONDS):
                return *self.pipe.recv(), True
            reason = f"no answer within {SECONDS} s"
        except (EOFError, BrokenPipeError, ConnectionResetError):
            self.process.join(5)
            reason = f"the process died with exit code {self.process.exitcode}"
        self.process.kill()
        return False, reason, False


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", action="append", default=[], help="part of a name; may be given several times")
    parser.add_argument("--without", action="append", default=[], help="part of a name to leave out")
    parser.add_argument("--again", action="store_true", help="also the cases that OUT already holds")
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    arguments = parser.parse_args()
    from model_cases import cases

    names = [n for n in cases() if not arguments.only or any(part in n for part in arguments.only)]
    names = [n for n in names if not any(part in n for part in arguments.without)]
    names.sort(key=lambda name: zlib.crc32(name.encode()))  # what is there first is a sample of all
    if arguments.list:
        print("\n".join(names))
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    if not arguments.again:
        names = [n for n in names if not (arguments.out / n).exists()]
    worker, recorded, refused = None, 0, 0
    for name in names:
        worker = worker or Worker(arguments.out)
        started = time.monotonic()
        good, answer, alive = worker.ask(name)
        if not alive:
            worker = None
        if good:
            recorded += len(answer)
            for case, far in answer:
                print(f"recorded {case} {far or ''} {time.monotonic() - started:.1f} s", flush=True)
        else:
            refused += 1
            print(f"refused {name}: {answer}", flush=True)
    if worker:
        worker.pipe.send("")
    print(f"{recorded} cases recorded, {refused} of {len(names)} programs refused")
    sys.exit(0 if recorded else 1)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Records what Apple's CPU runtime computes for single ops on small tensors of every dtype.

    python host_products.py FIXTURE.jsonl

Products, windows, reductions, orders and compression. A line is
`{"op", "attrs", "in": [tensor…], "out": [tensor…]}`; a tensor is `[element type, shape, hex]` with the bytes
of a host tensor (little-endian, sub-byte types one per byte). Ops that the runtime refuses are printed and
left out. Sparse values have no host form: their ops are recorded as a chain that ends dense, and the line
holds the one op in the middle.
"""

import asyncio
import json
import multiprocessing
import sys
import tempfile
from pathlib import Path

import ml_dtypes
import numpy as np

import recording

# Name in the program, name in the runtime, NumPy dtype.
TYPES = {
    "f64": ("float64", np.float64),
    "f32": ("float32", np.float32),
    "f16": ("float16", np.float16),
    "bf16": ("bfloat16", ml_dtypes.bfloat16),
    "f8E5M2": ("float8E5M2", ml_dtypes.float8_e5m2),
    "f8E4M3FN": ("float8E4M3FN", ml_dtypes.float8_e4m3fn),
    "f8E8M0FNU": ("float8E8M0FN", ml_dtypes.float8_e8m0fnu),
    "f4E2M1FN": ("float4E2M1FN", ml_dtypes.float4_e2m1fn),
    "complex<f32>": ("complex_float32", np.complex64),
    "i1": ("bool", np.bool_),
    **{f"{s}i{b}": (f"{s}int{b}", f"{'u' if s == 'u' else ''}int{b}") for s in "su" for b in (8, 16, 32, 64)},
    "si4": ("sint4", np.int8),
    "si2": ("sint2", np.int8),
    **{f"ui{b}": (f"uint{b}", np.uint8) for b in (1, 2, 3, 4, 6)},
}
FLOATS = ["f64", "f32", "f16", "bf16", "f8E5M2", "f8E4M3FN"]
WIDE = FLOATS[:4]
INTS = [f"{s}i{b}" for s in "su" for b in (64, 32, 16, 8)]
SPECIAL = [np.nan, np.inf, -np.inf, -0.0, 0.0]
random = np.random.default_rng(9)


class Tensor:
    """Values in one type; constants are part of the program, others are its inputs."""

    def __init__(self, type_, values, constant=True):
        self.type, self.constant = type_, constant
        values = np.asarray(values)
        if values.dtype.kind in "iu" and TYPES[type_][1] is not np.bool_ and "i" in type_[:2]:
            values = values.astype(np.int64) if values.dtype.kind == "i" else values
        self.array = np.asarray(values).astype(TYPES[type_][1])

    @property
    def text(self):
        return mlir(self.type, self.array.shape)

    def literal(self):
        def element(v):
            if self.type == "i1":
                return "true" if v else "false"
            if self.type.startswith("complex"):
                return f"({float(v.real)!r}, {float(v.imag)!r})"
            if "i" in self.type[:2]:
                return str(int(v))
            if not np.isfinite(v):
                raw = np.asarray(v, self.array.dtype).tobytes()[::-1].hex()
                return f"0x{raw.upper()}"
            return f"{float(v):.17e}"

        def nested(a):
            return element(a[()]) if a.ndim == 0 else "[" + ", ".join(nested(x) for x in a) + "]"

        return f"dense<{nested(self.array) if self.array.size else ''}>"

    def row(self):
        return packed(self.type, self.array)


def mlir(type_, shape):
    return f"tensor<{''.join(f'{d}x' for d in shape)}{type_}>"


def packed(type_, array):
    return [TYPES[type_][0], list(array.shape), np.ascontiguousarray(array).tobytes().hex()]


def draw(type_, *shape, special=False, scale=2.0):
    """Random data of a type: floats near 1, integers of the whole range, the edges on request."""
    if type_ == "i1":
        return Tensor(type_, random.integers(0, 2, shape), False)
    if type_.startswith("complex"):
        return Tensor(type_, random.standard_normal(shape) + 1j * random.standard_normal(shape), False)
    if "i" in type_[:2]:
        bits = int(type_.lstrip("usi"))
        low, high = (0, 1 << bits) if type_[0] == "u" else (-(1 << bits - 1), 1 << bits - 1)
        values = random.integers(low, high, shape, dtype=np.uint64 if type_ == "ui64" else np.int64)
        if special and values.size > 1:
            values.reshape(-1)[:2] = [high - 1, low]
        return Tensor(type_, values, bits < 8)
    values = random.standard_normal(shape) * scale
    if special:
        flat = values.reshape(-1)
        for k in range(0, flat.size, 4):
            flat[k] = SPECIAL[k // 4 % len(SPECIAL)]
    return Tensor(type_, values, False)


def few(type_, *shape):
    """Small integers, whose sums and products stay in range: the runtime ends itself on an overflow."""
    if "i" not in type_[:2] or type_ == "i1":
        return draw(type_, *shape)
    return Tensor(type_, random.integers(0 if type_[0] == "u" else -2, 3, shape), False)


def ints(*values, of="si32"):
    return Tensor(of, np.array(values))


def scalar(value, of="si32"):
    return Tensor(of, np.array(value))


CASES = []


def case(op, operands, results, attrs=None, form=None, line=None):
    """`op` on operands; results are `(type, shape)`. `form` replaces the operation's text; `line` the operands
    of the recorded line where they are not the program's."""
    CASES.append((op, operands, results, attrs or {}, form, line))


def program(op, operands, results, form):
    stem = op.removeprefix("primitive.").rsplit("_v", 1)[0]
    stem = f"decomposable.{stem}" if stem.startswith("broadcasting") else stem
    lines, names, arguments = [], [], []
    for i, t in enumerate(operands):
        if t.constant:
            lines.append(f"%c{i} = coreai.constant {t.literal()} : {t.text}")
            names.append(f"%c{i}")
        else:
            names.append(f"%arg{len(arguments)}")
            arguments.append(f'%arg{len(arguments)}: {t.text} {{coreai.name = "x{i}"}}')
    types = [mlir(*r) for r in results]
    outs = [f"%r{i}" for i in range(len(results))]
    body = form or "{r} = coreai.{stem} {a} : ({t}) -> {o}"
    both = ", ".join(types) if len(types) == 1 else f"({', '.join(types)})"
    body = body.replace("{r}", ", ".join(outs)).replace("{stem}", stem).replace("{a}", ", ".join(names))
    body = body.replace("{t}", ", ".join(t.text for t in operands)).replace("{o}", both)
    for i, name in enumerate(names):
        body = body.replace(f"{{{i}}}", name).replace(f"{{t{i}}}", operands[i].text)
    named = ", ".join(f'{t} {{coreai.name = "y{i}"}}' for i, t in enumerate(types))
    text = "\n    ".join(lines + [body, f"coreai.output {', '.join(outs)} : {', '.join(types)}"])
    return f"module {{\n  coreai.graph @main({', '.join(arguments)}) -> ({named}) {{\n    {text}\n  }}\n}}\n"


def evaluate(pipe, tasks):
    """Child: one answer per task, in order."""
    from coreai.authoring.asset import AIModelAsset
    from coreai.runtime import NDArray

    async def run(path, inputs):
        async with AIModelAsset.load(path).executable() as model:
            outputs = await model.load_function("main")({k: NDArray(v) for k, v in inputs.items()}, {})
            return {k: np.array(v.numpy()) for k, v in outputs.items()}

    for text, inputs in tasks:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "m.aimodel"
            try:
                recording._author(text, str(path))
                answer = asyncio.run(run(path, inputs))
                pipe.send((True, [(v.dtype.name, v.shape, v.tobytes()) for _, v in sorted(answer.items())]))
            except Exception as error:  # noqa: BLE001
                pipe.send((False, f"{type(error).__name__}: {error}"))


def answers(tasks):
    """Answers of all tasks; the child is started anew after a task that ends it."""
    context, done = multiprocessing.get_context("spawn"), []
    while len(done) < len(tasks):
        ours, theirs = context.Pipe(duplex=False)
        child = context.Process(target=evaluate, args=(theirs, tasks[len(done):]))
        child.start()
        theirs.close()
        try:
            while len(done) < len(tasks):
                if not ours.poll(60):
                    raise EOFError
                done.append(ours.recv())
        except EOFError:
            child.kill()
            child.join()
            done.append((False, f"the runtime died ({child.exitcode})"))
        child.join(5)
    return done


def products():
    for t in FLOATS + INTS + ["complex<f32>"]:
        case("primitive.batch_matmul_v1", [few(t, 2, 2, 5), few(t, 2, 5, 3)], [(t, (2, 2, 3))])
    for t in ["f64", "f32", "si64", "ui64", "si8", "complex<f32>"]:
        case("broadcasting_batch_matmul_v1", [few(t, 3, 1, 2, 4), few(t, 2, 4, 2)], [(t, (3, 2, 2, 2))])
    case("broadcasting_batch_matmul_v1", [draw("f64", 2, 7, special=True), draw("f64", 7, 2)], [("f64", (2, 2))])
    u2, u3 = (lambda *v: ints(*v, of="ui32")), scalar
    for t in FLOATS + ["complex<f32>"]:
        case("primitive.conv2d_v1",
             [draw(t, 2, 4, 6, 5), draw(t, 6, 2, 3, 2), u2(2, 1), u2(1, 2), u3(2, "ui32")], [(t, (2, 6, 2, 3))])
        case("primitive.conv_transpose2d_v1",
             [draw(t, 1, 4, 2, 3), draw(t, 4, 2, 3, 2), u2(2, 3), u2(1, 0), u2(1, 2), u2(1, 2), u3(2, "ui32")],
             [(t, (1, 4, 4, 11))])
    for t in ["f64", "f16", "complex<f32>"]:
        case("primitive.conv3d_v1",
             [draw(t, 1, 2, 3, 4, 5), draw(t, 2, 2, 2, 2, 2), u2(1, 2, 1), u2(2, 1, 3), u3(1, "ui32")],
             [(t, (1, 2, 1, 2, 2))])
        case("primitive.conv_transpose3d_v1",
             [draw(t, 1, 2, 2, 2, 3), draw(t, 2, 2, 2, 1, 2), u2(1, 2, 2), u2(0, 0, 1), u2(2, 1, 1), u2(0, 1, 0),
              u3(1, "ui32")],
             [(t, (1, 2, 4, 4, 4))])


def windows():
    u = lambda *v: ints(*v, of="ui32")  # noqa: E731
    for t in FLOATS + INTS:
        case("primitive.max_pool_2d_v1",
             [draw(t, 1, 2, 5, 6, special=True), u(2, 3), u(2, 2), u(1, 1), scalar(True, "i1")], [(t, (1, 2, 3, 3))])
        case("primitive.sum_pool_2d_v1", [draw(t, 1, 2, 5, 6), u(2, 3), u(2, 1), u(2, 1)], [(t, (1, 2, 2, 4))])
    for t in ["f64", "f32", "f16", "si64", "ui64", "si8"]:
        case("primitive.max_pool_2d_v1",
             [draw(t, 1, 1, 5, 4), u(3, 2), u(1, 2), u(2, 1), scalar(False, "i1")], [(t, (1, 1, 1, 2))])
        case("primitive.max_pool_2d_v1",
             [draw(t, 1, 1, 5, 4), u(2, 2), u(3, 3), u(1, 1), scalar(True, "i1")], [(t, (1, 1, 2, 2))])
        case("primitive.max_pool_2d_v1",
             [draw(t, 1, 1, 4, 4), u(1, 1), u(3, 3), u(1, 1), scalar(True, "i1")], [(t, (1, 1, 2, 2))])
        case("primitive.max_pool_3d_v1",
             [draw(t, 1, 1, 3, 4, 4), u(2, 2, 2), u(1, 2, 3), u(1, 1, 2), scalar(True, "i1")],
             [(t, (1, 1, 2, 2, 2))])
        case("primitive.sum_pool_3d_v1", [draw(t, 1, 1, 3, 4, 4), u(2, 2, 2), u(1, 2, 1), u(1, 1, 2)],
             [(t, (1, 1, 2, 2, 2))])
    form = "{r} = coreai.{stem} {a} {interpolation_mode = #coreai.interpolation_mode<MODE>} : ({t}) -> {o}"
    f = lambda *v: Tensor("f32", np.array(v, np.float32))  # noqa: E731
    for t in FLOATS + INTS:
        for number, mode in enumerate(["linear", "nearest_neighbor"]):
            attrs = {"interpolation_mode": number}
            x = draw(t, 1, 1, 3, 4)
            case("primitive.interpolate_v1", [x, ints(1, 1, 5, 6), f(1, 1, 5 / 3, 1.5), f(0, 0, 0, 0)],
                 [(t, (1, 1, 5, 6))], attrs, form.replace("MODE", mode))
            at = np.array([[0, 0], [1.5, 0.5], [0.25, 2.75], [-3, 9], [2, 3], [0.5, 2.5]], np.float32)
            case("primitive.interpolate_coordinates_v1", [draw(t, 3, 4), Tensor("f32", at)], [(t, (6,))],
                 attrs, form.replace("MODE", mode))
    for t in ["f64", "f32", "si32"]:
        for number, mode in enumerate(["linear", "nearest_neighbor"]):
            attrs = {"interpolation_mode": number}
            case("primitive.interpolate_v1", [draw(t, 2, 7), ints(3, 4), f(2, 0.5), f(-0.5, 0.25)],
                 [(t, (3, 4))], attrs, form.replace("MODE", mode))
            case("primitive.interpolate_v1", [draw(t, 9), ints(21), f(20 / 8), f(0.5 * (1 - 20 / 8))],
                 [(t, (21,))], attrs, form.replace("MODE", mode))


def reductions():
    for t in FLOATS + INTS:
        for name in ["sum", "max", "min", "product"]:
            case(f"reduce_{name}_v1", [draw(t, 2, 3, 4, special=name in ("max", "min")), ints(0, -1)],
                 [(t, (1, 3, 1))])
        case("argmax_v1", [draw(t, 4, 5, special=True), scalar(1)], [("ui32", (4, 1))])
    for t in FLOATS:
        case("reduce_mean_v1", [draw(t, 2, 3, 4), ints(1)], [(t, (2, 1, 4))])
        case("softmax_v1", [draw(t, 3, 5), scalar(-1)], [(t, (3, 5))])
    for t in ["f64", "f32", "f16"]:
        for name in ["sum", "max", "min", "product", "mean"]:
            case(f"reduce_{name}_v1", [draw(t, 3, 8, special=True), ints(1)], [(t, (3, 1))])
            case(f"reduce_{name}_v1", [draw(t, 2, 2), ints()], [(t, (1, 1))])
        rows = [[np.nan, 1, 2], [-np.inf] * 3, [np.inf, 0, 1], [-np.inf, 0, 1], [1e30, -1e30, 0]]
        case("softmax_v1", [Tensor(t, np.array(rows), False), scalar(1)], [(t, (5, 3))])
        rows = [[np.nan] * 3, [-np.inf] * 3, [1, np.nan, 3], [-0.0, 0.0, -1], [np.inf, np.inf, 0]]
        case("argmax_v1", [Tensor(t, np.array(rows), False), scalar(-1)], [("ui32", (5, 1))])
    for t in ["si32", "ui8"]:  # floats come back uninitialized
        for name in ["sum", "max", "min", "product"]:
            case(f"reduce_{name}_v1", [draw(t, 2, 0), ints(1)], [(t, (2, 1))])
    for name in ["all", "any"]:
        case(f"{name}_v1", [draw("i1", 3, 2, 2), ints(1, 2)], [("i1", (3, 1, 1))])
        case(f"{name}_v1", [draw("i1", 3, 0), ints(1)], [("i1", (3, 1))])
    for t in FLOATS + INTS:
        for reverse in [False, True] if t in ("f64", "f16", "si64", "ui64") else [False]:
            for number, combiner in enumerate(["sum", "product", "min", "max"]):
                x = draw(t, 3, 5, special=True) if combiner in ("min", "max") else few(t, 3, 5)
                case("primitive.scan_v1", [x, scalar(1, "ui32"), scalar(reverse, "i1")],
                     [(t, (3, 5))], {"combiner": number},
                     "{r} = coreai.scan {a} combiner = <" + combiner + "> : ({t}) -> {o}")


def orders():
    for t in WIDE + INTS:
        for descending in [False, True]:
            flags = [scalar(descending, "i1"), scalar(True, "i1")]
            x = draw(t, 2, 9, special=True)
            x.array[:, 5:7] = x.array[:, 2:4]
            case("sort_v1", [x, scalar(1), *flags], [(t, (2, 9))])
            case("primitive.argsort_v1", [x, scalar(-1), *flags], [("si32", (2, 9))])
    case("sort_v1", [draw("f32", 4, 3), scalar(-2), scalar(True, "i1"), scalar(False, "i1")], [("f32", (4, 3))])


def constant(t):
    t.constant = True
    return t


def compression():
    for d in ["f32", "f16", "bf16", "f8E5M2", "f8E4M3FN", "si8", "ui8", "si4", "ui4", "si2", "ui2", "f4E2M1FN"]:
        for s, r in [("f32", "f32"), ("f16", "f16"), ("bf16", "bf16"), ("f8E8M0FNU", "f16")]:
            plain = d[:2] in ("f4", "f8")  # their offsets are constant zeros
            if plain and s == "f32" and d[:2] == "f4" or s == "f8E8M0FNU" and not plain:
                continue
            scale = Tensor(s, [[0.5, 4.0, 0.25], [2.0, 1.0, 8.0]]) if s == "f8E8M0FNU" else constant(draw(s, 2, 3))
            zero = Tensor(d, np.zeros((2, 3))) if plain else constant(draw(d, 2, 3))
            bias = Tensor(r, np.zeros((2, 3))) if plain else constant(draw(r, 2, 3))
            case("primitive.blockwise_shift_scale_v2", [draw(d, 4, 6), scale, zero, bias], [(r, (4, 6))])
    for q in ["si8", "ui8", "si4", "ui4", "f8E5M2", "f8E4M3FN", "f4E2M1FN"]:
        for x in ["f32", "f16", "bf16"]:
            zero = Tensor(q, np.array([3, 2, 1]))
            scale, bias = Tensor(x, np.array([0.5, 1, 0.25])), Tensor(x, np.array([0, 0.5, -1]))
            values = [[0.25, 0.75, -0.75, 1.25, 3e4], [np.nan, np.inf, -np.inf, -1e4, 100], [-0.0, 5, -5, 2, 0.125]]
            if q in ("f8E5M2", "f8E4M3FN", "f4E2M1FN"):
                values[1][:3] = [7, 11, -13]
            case("quantize_v2", [Tensor(x, np.array(values), False), scale, zero, bias, scalar(0)], [(q, (3, 5))])
            # quotients near halves: what is rounded before the tie is decided
            near = Tensor(x, np.arange(-12, 12).reshape(3, 8) * 0.05 + 0.3, False)
            case("quantize_v2", [near, scalar(0.1, x), scalar(0, q), scalar(0.3, x), ints(0, 1)], [(q, (3, 8))])
            case("dequantize_v2", [draw(q, 2, 3), Tensor(x, np.array([0.5, 0.1, 0.25])), zero, bias, scalar(1)],
                 [(x, (2, 3))])
    for x, s, q in [("si32", "f32", "si8"), ("si16", "f16", "ui8"), ("ui32", "f32", "si4"), ("si64", "f32", "si8"),
                    ("f32", "f16", "si8"), ("f16", "f32", "ui8"), ("bf16", "f32", "si8")]:
        values = [[13, 27, 14], [130, 30, 6], [1, 2, 3]] if x[0] == "u" else [[13, -27, 14], [-13, 30, -6], [1, 2, 3]]
        bias = Tensor(x, np.array([0, 1, 2]))
        case("quantize_v2", [Tensor(x, np.array(values), False), Tensor(s, np.array([0.5, 0.1, 0.3])),
             ints(1, 0, 5, of=q), bias, scalar(1)], [(q, (3, 3))])
    for q, s, r in [("si8", "f16", "f32"), ("ui8", "f32", "f16"), ("f8E4M3FN", "f8E8M0FNU", "f32"), ("si8", "bf16", "f16")]:
        case("dequantize_v2", [draw(q, 2, 3), Tensor(s, np.array([0.5, 0.25, 4])), Tensor(q, np.zeros(3)),
             Tensor(r, np.array([0, 1, 2])), scalar(1)], [(r, (2, 3))])
    for bits in [1, 2, 3, 4, 6, 8]:
        i = Tensor(f"ui{bits}", random.integers(0, 1 << bits, (4, 3)))
        case("primitive.lut_to_dense_v1", [i, draw("f16", 2, 1, 1 << bits, 1), scalar(0, "si16")], [("f16", (4, 3))])
    for t in FLOATS + [t for t in INTS if "64" not in t]:
        i = Tensor("ui2", random.integers(0, 4, (4, 3)))
        case("primitive.lut_to_dense_v1", [i, draw(t, 2, 3, 4, 2), scalar(1, "si16")],
             [(t, (4, 6))])
    build = "%s = coreai.build_sparse_with_bitmask {0}, {1} : ({t0}, {t1}) -> SPARSE\n"
    dense = "    {r} = coreai.sparse_with_bitmask_to_dense LAST : LASTSPARSE -> {o}"
    for t in FLOATS + INTS + ["ui2", "ui4", "i1"]:
        mask = Tensor("ui1", np.array([[1, 0, 0], [0, 1, 1]]))
        sparse = sparse_type(t, (2, 3), 3)
        case("primitive.build_sparse_with_bitmask_v1", [draw(t, 3), mask], [(t, (2, 3))],
             form=(build + dense.replace("LASTSPARSE", sparse).replace("LAST", "%s")).replace("SPARSE", sparse))
    mask = Tensor("ui1", np.array([[1, 0, 1, 1], [0, 1, 1, 0]]))
    for t, v in [("f16", 1), ("f16", 2), ("si8", 2), ("f32", 3), ("f8E4M3FN", 1)]:
        values = Tensor("ui2", random.integers(0, 4, 5))
        full = np.zeros(8, np.uint8)
        full[mask.array.reshape(-1) == 1] = values.array
        lut = draw(t, 2, 1, 4, v)
        lut.constant = True
        a, b = sparse_type("ui2", (2, 4), 5), sparse_type(t, (2, 4 * v), 5 * v)
        case("primitive.lut_to_sparse_with_bitmask_v1", [values, mask, lut, scalar(1, "si16")], [(t, (2, 4 * v))],
             form=build.replace("SPARSE", a)
             + "    %t = coreai.lut_to_sparse_with_bitmask %s, {2}, {3} : (A, {t2}, {t3}) -> B\n"
             .replace("A", a).replace("-> B", "-> " + b) + dense.replace("LASTSPARSE", b).replace("LAST", "%t"),
             line=[Tensor("ui2", full.reshape(2, 4)), lut, scalar(1, "si16"), mask])
    for t in WIDE + INTS:
        lo, hi = (0, 15) if t[0] == "u" else (-8, 7)
        x = Tensor(t, np.array([[3, 1, 2], [0, 6, 1]] if t[0] == "u" else [[3, -1, 2], [0.5, 6, -7]]), False)
        case("symmetric_quantization_statistics_v1", [x, Tensor(t, np.array([lo, hi])), scalar(0)], [(t, (2,))])
        if t in WIDE:  # integers divide by a scale of 0 there
            case("asymmetric_quantization_statistics_v1", [x, Tensor(t, np.array([lo, hi])), scalar(-1)],
                 [(t, (3,)), (t, (3,))])
    # int8's whole range overflows in the runtime
    for t, r, lo, hi in [("f32", "si8", -64, 63), ("f32", "ui8", 0, 255), ("f16", "si32", -128, 127),
                         ("f32", "f32", -128, 127), ("f64", "si64", -128, 127), ("bf16", "si16", -128, 127)]:
        for shape, axis, n in [((3, 4), 0, 3), ((2, 3, 2), 1, 3)]:  # of rank 1 the runtime folds the only axis
            x = draw(t, *shape)
            case("symmetric_quantization_statistics_v1", [x, Tensor(r, np.array([lo, hi])), scalar(axis)], [(t, (n,))])
            case("asymmetric_quantization_statistics_v1", [x, Tensor(r, np.array([lo, hi])), scalar(axis)],
                 [(t, (n,)), (r, (n,))])


def sparse_type(t, shape, n):
    dims = "".join(f"{d}x" for d in shape)
    encoding = f"#coreai.sparse_tensor_encoding<bitmask, numNonZero = {n}, posWidth = 1, crdWidth = 1>"
    return f"tensor<{dims}{t}, {encoding}>"


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    for family in [products, windows, reductions, orders, compression]:
        family()
    wanted = [c for c in CASES if len(sys.argv) < 3 or sys.argv[2] in c[0]]
    tasks = []
    for op, operands, results, _, form, _ in wanted:
        inputs = {f"x{i}": t.array for i, t in enumerate(operands) if not t.constant}
        tasks.append((program(op, operands, results, form), inputs))
    kept, refused = [], 0
    for (op, operands, results, attrs, _, line), (good, answer) in zip(wanted, answers(tasks)):
        types = ", ".join(t.text for t in operands)
        if not good:
            refused += 1
            print(f"refused: {op} ({types}): {' '.join(str(answer).split())[:400]}", file=sys.stderr)
            continue
        out = [[TYPES[t][0], list(shape), data.hex()] for (t, _), (_, shape, data) in zip(results, answer)]
        rows = [t.row() for t in (line or operands)]
        kept.append(json.dumps({"op": op, "attrs": attrs, "in": rows, "out": out}, separators=(",", ":")))
    Path(sys.argv[1]).write_text("\n".join(kept) + "\n")
    print(f"{len(kept)} cases, {refused} refused", file=sys.stderr)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Records what Apple's CPU runtime computes for single elementwise, movement and indexing ops.

    python host_ops.py FIXTURE.jsonl [PART_OF_A_NAME]

Small tensors of every dtype with the edges of their ranges. The lines are those of `host_products.py`;
ops that the runtime refuses are printed and left out. What ends the runtime (integer division by zero and
of the least number by −1) is not asked.
"""

import json
import sys
from pathlib import Path

import numpy as np

import host_products as base
from host_products import FLOATS, INTS, WIDE, Tensor, case, ints, scalar

SUB = ["si4", "si2", "ui4", "ui2"]
COMPLEX = "complex<f32>"
UNARY = [0.0, -0.0, 1.0, -1.0, 0.5, 2.5, -3.5, 0.3, -7.25, 30.0, np.inf, -np.inf, np.nan]
PLANE = [0, 1, -1, 0.5 + 0.25j, -2 + 1j, 1j, -0.3 - 2j, 3 - 4j]
PAIRS = [-0.0, 0.0, -5.0, 0.1, np.inf, np.nan]
SOME = ["si64", "ui64", "si32", "si8", "ui16"]


def limits(type_):
    bits = int(type_.lstrip("usi"))
    return (0, (1 << bits) - 1) if type_[0] == "u" else (-(1 << bits - 1), (1 << bits - 1) - 1)


def whole(type_, *values):
    low, high = limits(type_)
    return np.array([min(max(v, low), high) for v in values], np.uint64 if type_[0] == "u" else np.int64)


def edges(type_):
    low, high = limits(type_)
    return whole(type_, low, low + 1, -7, -1, 0, 1, 3, 7, high // 2 + 1, high)


def squared(values):
    """Every pair of the values."""
    a, b = np.meshgrid(values, values, indexing="ij")
    return a.reshape(-1), b.reshape(-1)


def value(type_, array):
    return Tensor(type_, array, constant=type_ in SUB)


def any_of(type_, *shape):
    """Numbers that differ, as far as the type goes."""
    count = int(np.prod(shape))
    if type_ == "i1":
        return Tensor(type_, np.arange(count).reshape(shape) % 3 == 0, False)
    if type_ == COMPLEX:
        return Tensor(type_, np.arange(count).reshape(shape) * (1 - 0.5j), False)
    if "i" in type_[:2]:
        low, high = limits(type_)
        steps = np.arange(count).reshape(shape) % (min(high - low, 1 << 20) + 1)
        return value(type_, high - steps.astype(np.uint64) if type_[0] == "u" else low + steps)
    return Tensor(type_, np.arange(count).reshape(shape) - 2.0, False)


def one(op, x):
    """A unary op; the primitives are written without parentheses."""
    form = "{r} = coreai.{stem} {0} : {t} -> {o}" if op.startswith("primitive.") else None
    case(op, [x], [(x.type, x.array.shape)], form=form)


def unary():
    names = "acos acosh asin asinh atan atanh cos cosh sin tan tanh erf log sqrt rsqrt".split()
    for name in names:
        for t in ["f64", "f32", "f16"]:
            one(f"primitive.{name}_v1", value(t, UNARY))
    for t in WIDE:
        for approximate, mode in enumerate(["none", "tanh", "sigmoid"]):
            case("primitive.gelu_v1", [value(t, UNARY)], [(t, (len(UNARY),))], {"approximate": approximate},
                 form=f"{{r}} = coreai.gelu {{0}} approximate = <{mode}> : {{t}} -> {{o}}")
    for op in ["primitive.sinh_v1", "primitive.exp_v1", "sigmoid_v1", "silu_v1", "relu_v1"]:
        for t in FLOATS:
            one(op, value(t, UNARY))
    for op in [*(f"primitive.{n}_v1" for n in "cos cosh sin sinh tan exp log".split()), "sigmoid_v1", "silu_v1"]:
        one(op, value(COMPLEX, PLANE))
    for op in ["primitive.abs_v1", "primitive.round_v1", "relu_v1"]:
        for t in INTS + (WIDE if op != "relu_v1" else []):
            one(op, value(t, edges(t) if t in INTS else [*UNARY, 1.5, -1.5, -0.5]))
    one("primitive.not_v1", Tensor("i1", [True, False], False))


def binary():
    arithmetic = "add sub mul divide floor_divide modulo pow maximum minimum equal not_equal greater".split()
    for name in arithmetic:
        compares = name in ("equal", "not_equal", "greater")
        small = name in ("add", "sub", "mul", "divide", "maximum", "minimum", "greater")
        for t in [*FLOATS[:3], *FLOATS[4:]] if small else WIDE:
            if name == "greater" and t not in WIDE:
                continue
            a, b = squared(PAIRS)
            case(f"primitive.{name}_v1", [value(t, a), value(t, b)], [("i1" if compares else t, a.shape)])
        for t in SOME:
            low, high = limits(t)
            a, b = squared(np.unique(whole(t, low, -7, 0, 1, 3, high)))
            if name in ("divide", "floor_divide", "modulo"):
                least = a == a.dtype.type(low)
                keep = (b != 0) & ~(least & (b == a.dtype.type(-1 if low < 0 else 0)))
                a, b = a[keep], b[keep]
            if name == "pow":
                b = np.where(b == b.dtype.type(high), b.dtype.type(5), b)
            case(f"primitive.{name}_v1", [value(t, a), value(t, b)], [("i1" if compares else t, a.shape)])
    a, b = squared(np.array(PLANE[:6]))
    for name in ["add", "sub", "mul", "divide", "pow", "equal", "not_equal"]:
        result = "i1" if "equal" in name else COMPLEX
        case(f"primitive.{name}_v1", [value(COMPLEX, a), value(COMPLEX, b)], [(result, a.shape)])
    yes = [value("i1", v) for v in squared(np.array([True, False]))]
    for name in "add mul equal not_equal bitwise_and bitwise_or bitwise_xor logical_and logical_or logical_xor".split():
        text = f"{{r}} = coreai.{name.removeprefix('logical_')} {{a}} : ({{t}}) -> {{o}}"
        case(f"primitive.{name}_v1", yes, [("i1", (4,))], form=text)
    for name in ["bitwise_and", "bitwise_or", "bitwise_xor"]:
        for t in SOME:
            a, b = squared(edges(t)[[0, 2, 5, 9]])
            case(f"primitive.{name}_v1", [value(t, a), value(t, b)], [(t, a.shape)])
    for t in FLOATS + INTS + SUB + [COMPLEX, "i1"]:
        condition = Tensor("i1", [[True], [False]], False)
        case("broadcasting_where_v1", [condition, any_of(t, 3), any_of(t, 1, 1)], [(t, (2, 3))])
    for name in [*arithmetic, "bitwise_and", "bitwise_xor"]:
        t = "si64" if name.startswith("bitwise") else "f64"
        result = "i1" if name in ("equal", "not_equal", "greater") else t
        case(f"broadcasting_{name}_v1", [any_of(t, 2, 1), any_of(t, 3)], [(result, (2, 3))])


def casts():
    odd = [0.0, -0.0, 0.4, -1.9, 2.5, 3.5, 300.0, -300.0, 65519.0, 3e9, -3e9, 1e-7, 0.3, 6.9, 449.0, 1e19, -1e19,
           np.inf, -np.inf, np.nan]
    tops = ["f4E2M1FN", "f8E8M0FNU"]
    targets = FLOATS + INTS + SUB + tops + ["i1", COMPLEX]
    few = ["f64", "f16", "f8E4M3FN", "f8E5M2", "si64", "ui64", "si8", "ui16", "si4", "ui2", "i1", COMPLEX]
    fewer = ["f32", "bf16", "si8", "ui64", "i1", COMPLEX]
    sources = [(t, odd) for t in FLOATS if t not in ("bf16", "f32")] + [(t, edges(t)) for t in [*SOME, "ui8", *SUB]] + [("i1", [True, False]), (COMPLEX, PLANE)]
    sources += [("si64", np.array([2**53 + 1, 2**62 + 2**38 + 1, 16777217, 2**24 + 3])), ("ui64", np.array([2**64 - 1, 2**63 + 2**39 + 1], np.uint64))]
    sources += [("f8E8M0FNU", [0.25, 1.0, 8.0, np.nan]), ("f4E2M1FN", [0.0, 0.5, -1.5, 6.0])]
    for t, values in sources:
        for to in targets if t in FLOATS else few if t in INTS else fewer:
            if t != to:
                if t in INTS and to == "f8E4M3FN":
                    values = [v for v in values if not 248 <= v < 512]  # NaN there, by a slip of the runtime
                x = Tensor(t, values, constant=t in SUB + tops)
                case("primitive.cast_v1", [x], [(to, x.array.shape)], form="{r} = coreai.cast {0} : {t} to {o}")


def complexes():
    f = Tensor("f32", [1.0, -0.0, np.nan], False)
    case("primitive.create_complex_v1", [f, Tensor("f32", [2.0, np.inf, -1.0], False)], [(COMPLEX, (3,))])
    for name in ["real_part", "imaginary_part"]:
        case(f"primitive.{name}_v1", [value(COMPLEX, PLANE)], [("f32", (len(PLANE),))])


def movement():
    to = "{r} = coreai.{stem} {a} : ({t}) to {o}"
    for t in ["f64", "bf16", "f8E4M3FN", "si64", "si4", "i1", COMPLEX]:
        x = any_of(t, 2, 3)
        case("primitive.transpose_v1", [x, ints(1, 0, of="ui32")], [(t, (3, 2))])
        case("primitive.reshape_v2", [x, ints(3, -1)], [(t, (3, 2))])
        case("primitive.expand_dims_v1", [x, ints(-1, 0)], [(t, (1, 2, 3, 1))], form=to)
        case("primitive.shrink_dims_v1", [any_of(t, 1, 3, 1), ints(-1)], [(t, (1, 3))], form=to)
        case("primitive.broadcast_to_v1", [any_of(t, 2, 1), ints(2, 2, 3, of="ui32")], [(t, (2, 2, 3))])
        case("primitive.broadcast_in_dims_v1", [any_of(t, 2, 1), ints(3, of="ui32"), ints(-1)], [(t, (2, 3))])
        case("primitive.get_shape_v2", [x], [("ui32", (2,))], form="{r} = coreai.get_shape {0} : {t} -> {o}")
        case("tile_v2", [x, ints(2, 2, of="ui32")], [(t, (4, 6))])
        case("primitive.concat_v1", [scalar(-1), x, any_of(t, 2, 1)], [(t, (2, 4))])
        case("primitive.split_v1", [x, scalar(2, "ui32"), scalar(1)], [(t, (2, 2)), (t, (2, 1))])
        case("primitive.split_v1", [x, ints(1, 2, of="ui32"), scalar(-1)], [(t, (2, 1)), (t, (2, 2))])
        case("primitive.reverse_v1", [x, ints(-1)], [(t, (2, 3))])
        for a, b, s, n in [((-3, 0), (9, 2147483647), (1, 2), (2, 2)), ((1, -1), (-9, -9), (-1, -2), (2, 2)),
                           ((0, 5), (2, 2), (1, 1), (2, 0)), ((-9, 1), (1, -1), (1, 1), (1, 1))]:
            case("primitive.slice_v1", [x, ints(*a), ints(*b), ints(*s)], [(t, n)])
        update = "{r} = coreai.slice_update {0} with {4} at ({1}, {2}, {3}) : ({t0}, {t4}, {t1}, {t2}, {t3}) to {o}"
        case("primitive.slice_update_v1", [x, ints(0, 0), ints(2, 9), ints(1, 2), any_of(t, 2, 2)], [(t, (2, 3))],
             form=update)
    case("primitive.broadcast_shapes_v1", [ints(2, 1, 4, of="ui32"), ints(3, 1, of="ui32")], [("ui32", (3,))])
    for t in ["f64", "bf16", "f8E5M2", "si64", "ui8", "i1"]:
        x = any_of(t, 2, 4)
        for mode, name in enumerate(["circular", "constant", "reflect", "replicate", "symmetric"]):
            fill = {"i1": True, COMPLEX: 2 - 1j}.get(t, 3)
            case("primitive.pad_v1", [x, ints(1, 0, 3, 2, of="ui32"), scalar(fill, t)], [(t, (3, 9))],
                 {"padding_mode": mode}, form=f"{{r}} = coreai.pad {{a}} mode = <{name}> : ({{t}}) -> {{o}}")


def indexing():
    along = "{r} = coreai.gather_along_axis {0} at {1} along {2} : ({t}) to {o}"
    nd = "{r} = coreai.gather_nd {0} at {1} : ({t}) to {o}"
    put = ("{r} = coreai.scatter_nd {0} with {2} at {1} {\n    ^bb0(%o: tensor<T>, %n: tensor<T>):\n"
           "      coreai.yield %n : tensor<T>\n    } : ({t0}, {t2}, {t1}) to {o}")
    for t in ["f64", "f16", "f8E5M2", "si64", "ui64", "ui8", "si4", "i1", COMPLEX]:
        x = any_of(t, 3, 4)
        if t != COMPLEX:
            case("primitive.gather_along_axis_v1", [x, Tensor("si32", [[0, -1], [2, 1], [-3, 0]], False), scalar(-1)],
                 [(t, (3, 2))], form=along)
            case("primitive.gather_along_axis_v1", [x, Tensor("si16", [[2, -1, 0, 1]], False), scalar(0)], [(t, (1, 4))],
                 form=along)
        case("primitive.gather_nd_v1", [x, Tensor("si32", [[[2], [-1]]], False)], [(t, (1, 2, 4))], form=nd)
        case("primitive.gather_nd_v1", [x, Tensor("si16", [[2, -4], [0, 3]], False)], [(t, (2,))], form=nd)
        case("primitive.scatter_nd_v1", [x, Tensor("si32", [[2], [-2], [2]], False), any_of(t, 3, 4)], [(t, (3, 4))],
             form=put.replace("T>", f"{t}>"))
    for t in ["f64", "f16", "si64", "si8"]:
        for mode, name in enumerate(["update", "add", "sub", "mul", "div", "max", "min"]):
            x = Tensor(t, np.array([[7, 5, 9], [6, 4, 7]]), False)
            new = Tensor(t, np.array([[1, 2, 3], [1, 2, 2]]), False)
            case("primitive.scatter_along_axis_v1", [x, Tensor("si32", [[1, 1, -3], [0, -1, 0]], False), new, scalar(1)],
                 [(t, (2, 3))], {"scatter_mode": mode},
                 form=f"{{r}} = coreai.scatter_along_axis {{a}} scatter_mode = <{name}> : ({{t}}) -> {{o}}")
    for t in FLOATS + INTS + ["i1"]:
        x = Tensor(t, np.array([[0, 1, 0], [2, 0, 3]]) if t in INTS + ["i1"] else np.array([[0, np.nan, -0.0], [2, 0, -3]]), False)
        case("primitive.non_zero_v1", [x], [("si32", ("?", 2))], form="{r} = coreai.non_zero {0} : {t} -> {o}")
    for t in WIDE + INTS:
        for a, b, s in [(0, 7, 2), (1, 1, 1), (3, 10, 3)] + ([(5, -4, -3)] if t[0] != "u" else []):
            case("primitive.range_v1", [Tensor(t, v, False) for v in (a, b, s)], [(t, ("?",))])
    for t in WIDE:
        case("primitive.range_v1", [Tensor(t, v, False) for v in (0.0, 1.0, 0.1)], [(t, ("?",))])


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    for family in [unary, binary, casts, complexes, movement, indexing]:
        family()
    wanted = [c for c in base.CASES if len(sys.argv) < 3 or sys.argv[2] in c[0]]
    tasks = []
    for op, operands, results, _, form, *_ in wanted:
        inputs = {f"x{i}": t.array for i, t in enumerate(operands) if not t.constant}
        tasks.append((base.program(op, operands, results, form), inputs))
    kept, refused = [], 0
    for (op, operands, results, attrs, *_), (good, answer), (text, _) in zip(wanted, base.answers(tasks), tasks):
        if not good:
            refused += 1
            types = ", ".join(t.text for t in operands)
            print(f"refused: {op} ({types}) {attrs}: {' '.join(str(answer).split())[:300]}", file=sys.stderr)
            continue
        rows = [t.row() for t in operands]
        out = [[base.TYPES[t][0], list(shape), data.hex()] for (t, _), (_, shape, data) in zip(results, answer)]
        kept.append(json.dumps({"op": op, "attrs": attrs, "in": rows, "out": out}, separators=(",", ":")))
    Path(sys.argv[1]).write_text("\n".join(kept) + "\n")
    print(f"{len(kept)} cases, {refused} refused", file=sys.stderr)


if __name__ == "__main__":
    main()

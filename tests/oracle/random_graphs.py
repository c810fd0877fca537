#!/usr/bin/env python3
"""Writes cases of random graphs, recorded with Apple's CPU runtime.

    python random_graphs.py OUT_DIR [--count N] [--seed S] [--only I]

Graphs of 3 to 15 ops over mixed dtypes, some with dynamic extents, which run twice. Graph I of seed S is
always the same one. What the runtime refuses, or what ends it, is counted and left out; `coreai-run verify`
compares the others. Values stay of moderate size, and what a rounding error would turn into another result
(comparisons, orders, casts to integers) is only asked of values that no arithmetic has touched.
"""

import argparse
import collections
import multiprocessing
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import ml_dtypes
import numpy as np

import recording

FLOATS = {"f32": np.float32, "f16": np.float16, "bf16": ml_dtypes.bfloat16, "f64": np.float64}
INTS = {"si32": np.int32, "si8": np.int8, "ui8": np.uint8, "si16": np.int16, "ui32": np.uint32, "si64": np.int64}
NUMPY = {**FLOATS, **INTS, "i1": np.bool_}
LARGE = 60  # magnitudes beyond are divided by 64
SECONDS = 90  # for one graph
OPEN = 2147483647


@dataclass(frozen=True)
class Dim:
    """An extent: one value for each step; dynamic ones are equal only when their name is."""

    values: tuple
    name: str = ""

    def __str__(self):
        return "?" if self.name else str(self.values[0])

    @property
    def n(self):
        return self.values[0]


@dataclass
class Value:
    name: str
    type: str
    dims: tuple
    bound: float  # of its magnitude
    exact: bool  # no rounding on the way

    @property
    def text(self):
        return f"tensor<{''.join(f'{d}x' for d in self.dims)}{self.type}>"

    @property
    def rank(self):
        return len(self.dims)

    @property
    def real(self):
        return self.type in FLOATS


class Refused(Exception):
    """An op that does not fit what there is."""


class Builder:
    def __init__(self, seed, number):
        self.rng = np.random.default_rng([seed, number])
        self.steps = 2 if self.rng.random() < 0.3 else 1
        self.arguments, self.lines, self.values, self.used = [], [], [], set()
        self.count = 0

    # random choices

    def pick(self, choices):
        return choices[int(self.rng.integers(len(choices)))]

    def chance(self, p):
        return self.rng.random() < p

    def dim(self):
        if self.steps == 2 and self.chance(0.4):
            known = [d for v in self.values for d in v.dims if d.name]
            if known and self.chance(0.6):
                return self.pick(known)
            self.count += 1
            return Dim(tuple(int(n) for n in self.rng.integers(1, 9, 2)), f"d{self.count}")
        return self.fixed(self.pick([1, 2, 3, 4, 5, 7, 8, 16, 17, 33]))

    def fixed(self, n):
        return Dim((int(n),) * self.steps)

    # emitting

    def fresh(self):
        self.count += 1
        return f"%v{self.count}"

    def input(self, type_, dims):
        value = Value(f"%x{len(self.arguments)}", type_, tuple(dims), 3.0, True)
        self.arguments.append(value)
        self.values.append(value)
        return value

    def constant(self, type_, array):
        array = np.asarray(array)
        name = self.fresh()

        def element(v):
            if type_ == "i1":
                return "true" if v else "false"
            return f"{float(v):.9e}" if type_ in FLOATS else str(int(v))

        def nested(a):
            return element(a[()]) if a.ndim == 0 else "[" + ", ".join(nested(x) for x in a) + "]"

        value = Value(name, type_, tuple(self.fixed(n) for n in array.shape), 3.0, True)
        literal = nested(array) if array.size else ""
        self.lines.append(f"{name} = coreai.constant dense<{literal}> : {value.text}")
        return value

    def ints(self, *values, of="si32"):
        return self.constant(of, np.array(values, np.int64))

    def scalar(self, value, of="si32"):
        return self.constant(of, np.array(value))

    def emit(self, form, operands, type_, dims, bound=None, exact=None):
        """Adds an op. `{a}` are the operands' names, `{t}` their types, `{r}` the result, `{o}` its type."""
        real = [v for v in operands if v.name in self.data_names()]
        bound = max((v.bound for v in real), default=3.0) if bound is None else bound
        exact = all(v.exact for v in real) if exact is None else exact
        result = Value(self.fresh(), type_, tuple(dims), float(bound), exact)
        text = form.replace("{r}", result.name).replace("{o}", result.text)
        text = text.replace("{a}", ", ".join(v.name for v in operands))
        text = text.replace("{t}", ", ".join(v.text for v in operands))
        for i, v in enumerate(operands):
            text = text.replace(f"{{{i}}}", v.name)
        self.lines.append(text)
        self.used.update(v.name for v in operands)
        if bound > LARGE and result.real:
            self.values.append(result)
            small = self.constant(type_, 1 / 64)
            return self.emit("{r} = coreai.decomposable.broadcasting_mul {a} : ({t}) -> {o}", [result, small],
                             type_, dims, bound / 64, False)
        self.values.append(result)
        return result

    def data_names(self):
        return {v.name for v in self.values}

    # operands

    def any(self, test=lambda v: True):
        fitting = [v for v in self.values if test(v)]
        if not fitting:
            raise Refused
        # Later values make deeper graphs.
        return fitting[-1] if self.chance(0.5) else self.pick(fitting)

    def like(self, v, dims):
        """Another operand of the type with these extents: one there is, an input, or a constant."""
        there = [w for w in self.values if w.type == v.type and w.dims == tuple(dims)]
        if there and self.chance(0.6):
            return self.pick(there)
        if all(not d.name for d in dims) and np.prod([d.n for d in dims], dtype=int) <= 64 and self.chance(0.5):
            return self.constant(v.type, self.elements(v.type, [d.n for d in dims]))
        return self.input(v.type, dims)

    def elements(self, type_, shape):
        if type_ == "i1":
            return self.rng.integers(0, 2, shape).astype(bool)
        if type_ in INTS:
            return self.rng.integers(0 if type_[0] == "u" else -3, 4, shape)
        return np.round(self.rng.uniform(-3, 3, shape), 3)

    def axis(self, v, test=lambda d: True):
        axes = [i for i, d in enumerate(v.dims) if test(d)]
        if not axes:
            raise Refused
        axis = self.pick(axes)
        return axis, self.scalar(axis if self.chance(0.5) else axis - v.rank)


def replaced(dims, axis, dim):
    return (*dims[:axis], dim, *dims[axis + 1:])


# ops: each takes the builder and adds one op (with its parameters), or raises Refused

def unary(b):
    v = b.any(lambda v: v.real)
    name = b.pick(["tanh", "erf", "sigmoid", "silu", "relu", "abs", "sin", "cos", "exp", "sqrt", "gelu", "atan"])
    if name == "exp" and v.bound > 4 or name in ("sin", "cos") and v.bound > 8:
        raise Refused
    if name == "sqrt":
        v = b.emit("{r} = coreai.abs {0} : {t} -> {o}", [v], v.type, v.dims)
    bound = {"tanh": 1, "erf": 1, "sigmoid": 1, "sin": 1, "cos": 1, "exp": 55, "atan": 2}.get(name, v.bound)
    form = f"{{r}} = coreai.{name} {{0}} : {{t}} -> {{o}}"
    if name in ("sigmoid", "silu", "relu"):
        form = f"{{r}} = coreai.{name} {{0}} : ({{t}}) -> {{o}}"
    if name == "gelu":
        form = f"{{r}} = coreai.gelu {{0}} approximate = <{b.pick(['none', 'tanh', 'sigmoid'])}> : {{t}} -> {{o}}"
    b.emit(form, [v], v.type, v.dims, bound, v.exact and name in ("abs", "relu"))


def stretch(b, v):
    """Extents that broadcast with those of `v`, and extents of the result."""
    dims = [b.fixed(1) if b.chance(0.25) else d for d in v.dims]
    return tuple(dims[int(b.rng.integers(0, v.rank + 1)) if b.chance(0.3) else 0:])


def binary(b):
    v = b.any(lambda v: v.type != "i1")
    w = b.like(v, stretch(b, v))
    names = ["add", "sub", "mul", "maximum", "minimum"] + (["divide"] if v.real else [])
    name = b.pick(names)
    bound = {"add": v.bound + w.bound, "sub": v.bound + w.bound, "mul": v.bound * w.bound}.get(name, max(v.bound, w.bound))
    if not v.real and (bound > 100 or v.type[0] == "u" and name == "sub"):
        raise Refused
    if name == "divide":
        w = b.emit("{r} = coreai.decomposable.broadcasting_maximum {a} : ({t}) -> {o}",
                   [w, b.constant(w.type, 0.5)], w.type, w.dims)
        bound = v.bound * 2
    operands = [v, w] if b.chance(0.5) or name == "divide" else [w, v]
    exact = v.exact and w.exact and (not v.real or name in ("maximum", "minimum"))
    b.emit(f"{{r}} = coreai.decomposable.broadcasting_{name} {{a}} : ({{t}}) -> {{o}}", operands, v.type, v.dims, bound, exact)


def compare(b):
    v = b.any(lambda v: v.exact and v.type != "i1")
    w = b.like(v, stretch(b, v))
    if not w.exact:
        raise Refused
    name = b.pick(["equal", "not_equal", "greater"])
    b.emit(f"{{r}} = coreai.decomposable.broadcasting_{name} {{a}} : ({{t}}) -> {{o}}", [v, w], "i1", v.dims, 1, True)


def choose(b):
    v = b.any()
    w = b.like(v, stretch(b, v))
    conditions = [c for c in b.values if c.type == "i1" and c.dims == v.dims]
    c = b.pick(conditions) if conditions and b.chance(0.8) else b.input("i1", v.dims)
    b.emit("{r} = coreai.decomposable.broadcasting_where {a} : ({t}) -> {o}", [c, v, w], v.type, v.dims,
           max(v.bound, w.bound), v.exact and w.exact)


def cast(b):
    v = b.any()
    to = b.pick([t for t in NUMPY if t != v.type])
    if v.real and to not in FLOATS and not v.exact or to == "i1" and v.real and not v.exact:
        raise Refused
    if v.type in ("f16", "bf16") and to == "f64" and not v.exact:  # would be held to the bounds of float64
        raise Refused
    if v.type[0] == "s" and to[0] == "u":
        raise Refused
    b.emit("{r} = coreai.cast {0} : {t} to {o}", [v], to, v.dims, v.bound, v.exact and to not in ("f16", "bf16"))


def transpose(b):
    v = b.any(lambda v: v.rank > 1)
    perm = [int(p) for p in b.rng.permutation(v.rank)]
    b.emit("{r} = coreai.transpose {a} : ({t}) -> {o}", [v, b.ints(*perm, of="ui32")], v.type, [v.dims[p] for p in perm])


def reshape(b):
    v = b.any(lambda v: v.rank > 0 and sum(bool(d.name) for d in v.dims) <= 1)
    fixed = [d for d in v.dims if not d.name]
    dynamic = [d for d in v.dims if d.name]
    total = int(np.prod([d.n for d in fixed], dtype=int))
    dims = []
    while total > 1 and len(dims) < 3:
        n = b.pick([n for n in range(1, total + 1) if total % n == 0])
        dims.append(b.fixed(n))
        total //= n
    if total > 1:
        dims.append(b.fixed(total))
    sizes = [d.n for d in dims]
    if dynamic:
        at = int(b.rng.integers(0, len(dims) + 1))
        dims.insert(at, dynamic[0])
        sizes.insert(at, -1)
    b.emit("{r} = coreai.reshape {a} : ({t}) -> {o}", [v, b.ints(*sizes)], v.type, dims)


def expand(b):
    v = b.any(lambda v: v.rank < 5)
    axis = int(b.rng.integers(0, v.rank + 1))
    dims = (*v.dims[:axis], b.fixed(1), *v.dims[axis:])
    b.emit("{r} = coreai.expand_dims {a} : ({t}) to {o}", [v, b.ints(axis)], v.type, dims)


def shrink(b):
    v = b.any(lambda v: any(str(d) == "1" for d in v.dims))
    axis = b.pick([i for i, d in enumerate(v.dims) if str(d) == "1"])
    b.emit("{r} = coreai.shrink_dims {a} : ({t}) to {o}", [v, b.ints(axis - v.rank)], v.type, v.dims[:axis] + v.dims[axis + 1:])


def broadcast(b):
    v = b.any(lambda v: v.rank < 4 and all(not d.name for d in v.dims))
    dims = [b.fixed(b.pick([2, 3])), *(b.fixed(4) if d.n == 1 and b.chance(0.5) else d for d in v.dims)]
    b.emit("{r} = coreai.broadcast_to {a} : ({t}) -> {o}", [v, b.ints(*(d.n for d in dims), of="ui32")], v.type, dims)


def concat(b):
    v = b.any(lambda v: v.rank > 0)
    axis, operand = b.axis(v)
    w = b.like(v, replaced(v.dims, axis, b.dim()) if b.chance(0.7) else v.dims)
    parts = [v.dims[axis], w.dims[axis]]
    values = tuple(int(x + y) for x, y in zip(parts[0].values, parts[1].values))
    b.count += 1
    dim = Dim(values, f"d{b.count}" if any(d.name for d in parts) else "")
    b.emit("{r} = coreai.concat {a} : ({t}) -> {o}", [operand, v, w], v.type, replaced(v.dims, axis, dim),
           max(v.bound, w.bound), v.exact and w.exact)


def slice_(b):
    v = b.any(lambda v: v.rank > 0)
    first, last, steps, dims = [], [], [], []
    for d in v.dims:
        if d.name or b.chance(0.4):
            first.append(0), last.append(OPEN), steps.append(1), dims.append(d)
            continue
        step = b.pick([1, 1, 2, 3, -1, -2])
        a, z = sorted(int(n) for n in b.rng.integers(0, d.n + 1, 2))
        a, z = (a, z) if z > a else (0, d.n)
        if step < 0:
            n = len(range(z - 1, a, step)) if z - 1 > a else 0
            if n == 0:
                step = 1
        if step > 0:
            n = len(range(a, z, step))
            first.append(a if b.chance(0.5) else a - d.n), last.append(z)
        else:
            first.append(z - 1), last.append(a)
        steps.append(step), dims.append(b.fixed(n))
    b.emit("{r} = coreai.slice {a} : ({t}) -> {o}", [v, b.ints(*first), b.ints(*last), b.ints(*steps)], v.type, dims)


def update(b):
    v = b.any(lambda v: v.rank > 0 and all(not d.name for d in v.dims))
    first = [int(b.rng.integers(0, d.n)) for d in v.dims]
    last = [int(b.rng.integers(f + 1, d.n + 1)) for f, d in zip(first, v.dims)]
    w = b.like(v, tuple(b.fixed(z - f) for f, z in zip(first, last)))
    lists = [b.ints(*first), b.ints(*last), b.ints(*[1] * v.rank)]
    types = ", ".join(x.text for x in [v, w, *lists])
    b.emit(f"{{r}} = coreai.slice_update {{0}} with {{4}} at ({{1}}, {{2}}, {{3}}) : ({types}) to {{o}}",
           [v, *lists, w], v.type, v.dims, max(v.bound, w.bound), v.exact and w.exact)


def reverse(b):
    v = b.any(lambda v: v.rank > 0)
    axes = sorted({int(a) for a in b.rng.integers(0, v.rank, 2)})
    b.emit("{r} = coreai.reverse {a} : ({t}) -> {o}", [v, b.ints(*axes)], v.type, v.dims)


def tile(b):
    v = b.any(lambda v: 0 < v.rank and all(not d.name for d in v.dims) and np.prod([d.n for d in v.dims]) < 400)
    reps = [b.pick([1, 1, 2, 3]) for _ in v.dims]
    dims = [b.fixed(d.n * r) for d, r in zip(v.dims, reps)]
    b.emit("{r} = coreai.tile {a} : ({t}) -> {o}", [v, b.ints(*reps, of="ui32")], v.type, dims)


def pad(b):
    v = b.any(lambda v: 0 < v.rank and all(not d.name for d in v.dims))
    mode = b.pick(["constant", "constant", "reflect", "replicate", "symmetric", "circular"])
    most = [min(3, d.n - 1 if mode == "reflect" else d.n) for d in v.dims]
    sizes = [int(b.rng.integers(0, m + 1)) for m in most for _ in range(2)]
    dims = [b.fixed(d.n + sizes[2 * i] + sizes[2 * i + 1]) for i, d in enumerate(v.dims)]
    operands = [v, b.ints(*sizes, of="ui32"), b.scalar(b.elements(v.type, ()), v.type)]
    b.emit(f"{{r}} = coreai.pad {{a}} mode = <{mode}> : ({{t}}) -> {{o}}", operands, v.type, dims)


def reduce(b):
    v = b.any(lambda v: v.rank > 0 and v.type != "i1")
    name = b.pick(["sum", "max", "min", "mean"] if v.real else ["max", "min", "sum"])
    axes = sorted({int(a) for a in b.rng.integers(0, v.rank, b.pick([0, 1, 1, 2]))})
    over = axes or list(range(v.rank))
    count = int(np.prod([max(v.dims[a].values) for a in over], dtype=int))
    if not v.real and (name == "sum" and count * v.bound > 100):
        raise Refused
    dims = [b.fixed(1) if i in over else d for i, d in enumerate(v.dims)]
    bound = v.bound * count**0.5 if name == "sum" and v.real else v.bound * count if name == "sum" else v.bound
    b.emit(f"{{r}} = coreai.reduce_{name} {{a}} : ({{t}}) -> {{o}}", [v, b.ints(*axes)], v.type, dims, bound,
           v.exact and (not v.real or name in ("max", "min")))


def softmax(b):
    v = b.any(lambda v: v.rank > 0 and v.real)
    _, axis = b.axis(v)
    b.emit("{r} = coreai.softmax {a} : ({t}) -> {o}", [v, axis], v.type, v.dims, 1, False)


def scan(b):
    v = b.any(lambda v: v.rank > 0 and v.type != "i1" and v.bound < 10)
    axis, _ = b.axis(v, lambda d: max(d.values) < 9)
    name = b.pick(["sum", "max", "min"])
    if not v.real and v.bound * 9 > 100:
        raise Refused
    operands = [v, b.scalar(axis, "ui32"), b.scalar(b.chance(0.5), "i1")]
    b.emit("{r} = coreai.scan {a} combiner = <" + name + "> : ({t}) -> {o}", operands, v.type, v.dims,
           v.bound * (9 if name == "sum" else 1), v.exact and (not v.real or name != "sum"))


def argmax(b):
    v = b.any(lambda v: v.rank > 0 and v.exact and v.type != "i1")
    axis, operand = b.axis(v)
    b.emit("{r} = coreai.argmax {a} : ({t}) -> {o}", [v, operand], "ui32", replaced(v.dims, axis, b.fixed(1)), 33, True)


def sort(b):
    v = b.any(lambda v: v.rank > 0 and v.type != "i1")
    axis, operand = b.axis(v)
    flags = [b.scalar(b.chance(0.5), "i1"), b.scalar(True, "i1")]
    if v.exact and b.chance(0.5):
        b.emit("{r} = coreai.argsort {a} : ({t}) -> {o}", [v, operand, *flags], "si32", v.dims, 33, True)
    else:
        b.emit("{r} = coreai.sort {a} : ({t}) -> {o}", [v, operand, *flags], v.type, v.dims)


def gather(b):
    v = b.any(lambda v: v.rank > 0)
    axis, operand = b.axis(v, lambda d: not d.name)
    n = v.dims[axis].n
    if b.chance(0.5) and all(not d.name for d in v.dims):
        shape = [3 if i == axis else d.n for i, d in enumerate(v.dims)]
        index = b.constant("si32", b.rng.integers(-n, n, shape))
        b.emit("{r} = coreai.gather_along_axis {0} at {1} along {2} : ({t}) to {o}", [v, index, operand], v.type,
               replaced(v.dims, axis, b.fixed(3)))
    elif str(v.dims[0]) != "?":
        rows = [b.fixed(k) for k in b.pick([(2,), (5,), (2, 3)])]
        index = b.constant("si32", b.rng.integers(-v.dims[0].n, v.dims[0].n, [*(d.n for d in rows), 1]))
        b.emit("{r} = coreai.gather_nd {0} at {1} : ({t}) to {o}", [v, index], v.type, (*rows, *v.dims[1:]))


def matmul(b):
    v = b.any(lambda v: 2 <= v.rank <= 4 and v.real)
    k, n = v.dims[-1], b.dim()
    batch = v.dims[:-2] if b.chance(0.4) else ()
    w = b.like(v, (*batch, k, n))
    if v.bound * w.bound > 400:
        raise Refused
    b.emit("{r} = coreai.decomposable.broadcasting_batch_matmul {a} : ({t}) -> {o}", [v, w], v.type,
           (*v.dims[:-1], n), v.bound * w.bound * max(k.values) ** 0.5, False)


def conv(b):
    there = [v for v in b.values if v.rank == 4 and v.type in ("f32", "f16", "bf16") and not any(d.name for d in v.dims[1:])]
    v = b.pick(there) if there else b.input(b.pick(["f32", "f16"]), [b.fixed(n) for n in (2, b.pick([1, 3, 4]), 7, 6)])
    kernel = [b.pick([k for k in (1, 2, 3) if k <= d.n]) for d in v.dims[2:]]
    stride = [b.pick([1, 2]) for _ in kernel]
    w = b.like(v, [b.fixed(n) for n in (b.pick([1, 2, 5, 16]), v.dims[1].n, *kernel)])
    if v.bound * w.bound > 200:
        raise Refused
    size = [b.fixed((d.n - k) // s + 1) for d, k, s in zip(v.dims[2:], kernel, stride)]
    u = [b.ints(*stride, of="ui32"), b.ints(1, 1, of="ui32"), b.scalar(1, "ui32")]
    taps = v.dims[1].n * kernel[0] * kernel[1]
    b.emit("{r} = coreai.conv2d {a} : ({t}) -> {o}", [v, w, *u], v.type, (v.dims[0], w.dims[0], *size),
           v.bound * w.bound * taps**0.5, False)


def pool(b):
    v = b.any(lambda v: v.rank == 4 and v.real and not any(d.name for d in v.dims[2:]))
    kernel = [b.pick([k for k in (1, 2, 3) if k <= d.n]) for d in v.dims[2:]]
    stride = [b.pick([1, 2]) for _ in kernel]
    size = [b.fixed((d.n - k) // s + 1) for d, k, s in zip(v.dims[2:], kernel, stride)]
    u = [b.ints(*kernel, of="ui32"), b.ints(*stride, of="ui32"), b.ints(1, 1, of="ui32")]
    if b.chance(0.5):
        b.emit("{r} = coreai.max_pool_2d {a} : ({t}) -> {o}", [v, *u, b.scalar(False, "i1")], v.type, (*v.dims[:2], *size))
    else:
        b.emit("{r} = coreai.sum_pool_2d {a} : ({t}) -> {o}", [v, *u], v.type, (*v.dims[:2], *size),
               v.bound * kernel[0] * kernel[1], False)


OPS = [unary, unary, unary, binary, binary, binary, binary, compare, choose, cast, cast, transpose, transpose,
       reshape, reshape, expand, shrink, broadcast, concat, concat, slice_, slice_, update, reverse, tile, pad,
       reduce, reduce, softmax, scan, argmax, sort, gather, matmul, matmul, conv, pool]


def graph(seed, number):
    """IR text and the inputs of every step."""
    b = Builder(seed, number)
    for _ in range(b.pick([1, 2])):
        type_ = b.pick(["f32"] * 5 + ["f16", "f16", "bf16", "si32", "si8", "ui8", "f64", "si64"])
        b.input(type_, [b.dim() for _ in range(b.pick([1, 2, 2, 3, 3, 4]))])
    wanted, tries = b.pick(range(3, 16)), 0
    before = len(b.values)
    while len(b.values) - before < wanted and tries < 200:
        tries += 1
        try:
            b.pick(OPS)(b)
        except Refused:
            pass
    made = [v for v in b.values if v.name.startswith("%v")]
    outputs = [v for v in made if v.name not in b.used] or made[-1:]
    arguments = ", ".join(f'{v.name}: {v.text} {{coreai.name = "{v.name[1:]}"}}' for v in b.arguments)
    results = ", ".join(f'{v.text} {{coreai.name = "y{i}"}}' for i, v in enumerate(outputs))
    body = "\n    ".join(b.lines)
    last = f"coreai.output {', '.join(v.name for v in outputs)} : {', '.join(v.text for v in outputs)}"
    text = f"module {{\n  coreai.graph @main({arguments}) -> ({results}) {{\n    {body}\n    {last}\n  }}\n}}\n"
    steps = [{v.name[1:]: np.asarray(b.elements(v.type, [d.values[i] for d in v.dims]), NUMPY[v.type])
              for v in b.arguments} for i in range(b.steps)]
    return text, steps


def work(pipe, seed, numbers, out):
    """Child: records one case after the other and says what became of it."""
    recording.in_child = lambda function, *arguments: function(*arguments)  # this is the child
    for number in numbers:
        text, steps = graph(seed, number)
        name = f"random-{seed}-{number}"
        with tempfile.TemporaryDirectory() as folder:
            asset = Path(folder) / "model.aimodel"
            try:
                recording._author(text, str(asset))
                about = {"id": name, "source": {"suite": "tests/oracle", "model": "random_graphs.py"}, "tags": ["random"]}
                try:
                    recording.record(asset, "main", steps, {}, out / name, **about)
                    problem = None
                except Exception as error:  # noqa: BLE001
                    problem = f"not run: {error}"
            except Exception as error:  # noqa: BLE001
                problem = f"not authored: {error}"
        if problem:
            shutil.rmtree(out / name, ignore_errors=True)
        pipe.send(problem)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="print the IR of this graph and record only it")
    options = parser.parse_args()
    numbers = list(range(options.count)) if options.only is None else [options.only]
    if options.only is not None:
        print(graph(options.seed, options.only)[0])
    refused = collections.Counter()
    context, done = multiprocessing.get_context("spawn"), 0
    while done < len(numbers):
        ours, theirs = context.Pipe(duplex=False)
        child = context.Process(target=work, args=(theirs, options.seed, numbers[done:], options.out))
        child.start()
        theirs.close()
        try:
            while done < len(numbers):
                if not ours.poll(SECONDS):
                    raise EOFError
                problem = ours.recv()
                if problem:
                    print(f"graph {numbers[done]}: {' '.join(problem.split())[:300]}", file=sys.stderr)
                    refused[problem.split(":")[0]] += 1
                done += 1
        except EOFError:
            child.kill()
            child.join()
            print(f"graph {numbers[done]}: the runtime died ({child.exitcode})", file=sys.stderr)
            shutil.rmtree(options.out / f"random-{options.seed}-{numbers[done]}", ignore_errors=True)
            refused["the runtime died"] += 1
            done += 1
        child.join(5)
    told = ", ".join(f"{n} {why}" for why, n in refused.items()) or "none refused"
    print(f"{done - sum(refused.values())} of {done} graphs recorded; {told}")


if __name__ == "__main__":
    main()

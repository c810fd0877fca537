#!/usr/bin/env python3
"""Writes a small bfloat16 decoder as `.aimodel` and records what Apple's CPU runtime computes for it.

    python bf16_decoder.py OUT_DIR

The network is a two-layer Llama with random weights: tied embedding, grouped-query attention, a cache
that the caller allocates and the function writes in place. The text below is the IR that Apple's own
exporter writes for such a model, in bfloat16.
"""

import sys
import tempfile
from pathlib import Path

import ml_dtypes
import numpy as np

import recording

VOCAB, D, HEADS, KV_HEADS, HEAD_DIM, FFN, LAYERS = 64, 32, 2, 1, 16, 48, 2
CACHE = 24  # tokens that the recorded caches hold
QUERIES = [5, 1, 1, 3, 1, 2]  # new tokens of every step
END = 2147483647
SEED = 20


class Body:
    """Lines of one function; constants are made once."""

    def __init__(self):
        self.constants, self.lines, self.count = {}, [], 0

    def constant(self, text, type_):
        key = (text, type_)
        if key not in self.constants:
            self.constants[key] = f"%c{len(self.constants)}"
        return self.constants[key]

    def ints(self, *values):
        text = str(list(values)) if len(values) > 1 else str(values[0])
        return self.constant(f"dense<{text}>", f"tensor<{len(values)}xsi32>")

    def scalar(self, value, type_):
        return self.constant(f"dense<{value}>", f"tensor<{type_}>")

    def line(self, text):
        self.count += 1
        self.lines.append(f"%v{self.count} = coreai.{text}")
        return f"%v{self.count}"

    def raw(self, text):
        self.lines.append(text)

    def binary(self, op, a, a_type, b, b_type, out):
        return self.line(f"decomposable.broadcasting_{op} {a}, {b} : ({a_type}, {b_type}) -> {out}")

    def cast(self, x, from_, to):
        return self.line(f"cast {x} : {from_} to {to}")

    def unary(self, op, x, type_):
        return self.line(f"{op} {x} : {type_} -> {type_}")

    def dim(self, x, type_, rank, axis):
        """Size of one axis as tensor<1xsi32>."""
        shape = self.line(f"get_shape {x} : {type_} -> tensor<{rank}xui32>")
        shape = self.cast(shape, f"tensor<{rank}xui32>", f"tensor<{rank}xsi32>")
        return self.slice(shape, f"tensor<{rank}xsi32>", self.ints(axis), self.ints(axis + 1), 1, "tensor<1xsi32>")

    def slice(self, x, type_, start, stop, rank, out):
        i = f"tensor<{rank}xsi32>"
        return self.line(f"slice {x}, {start}, {stop}, {self.ints(*[1] * rank)} : ({type_}, {i}, {i}, {i}) -> {out}")

    def sizes(self, *parts):
        """Integers and tensor<1xsi32> values, joined to one shape."""
        values = [part if isinstance(part, str) else self.ints(part) for part in parts]
        axis = self.scalar(0, "si32")
        types = ", ".join(["tensor<si32>"] + ["tensor<1xsi32>"] * len(values))
        return self.line(f"concat {axis}, {', '.join(values)} : ({types}) -> tensor<{len(values)}xsi32>")

    def reshape(self, x, type_, shape, rank, out):
        return self.line(f"reshape {x}, {shape} : ({type_}, tensor<{rank}xsi32>) -> {out}")

    def transpose(self, x, type_, order, out):
        perm = self.constant(f"dense<{list(order)}>", f"tensor<{len(order)}xui32>")
        return self.line(f"transpose {x}, {perm} : ({type_}, tensor<{len(order)}xui32>) -> {out}")

    def expand(self, x, type_, axis, out):
        return self.line(f"expand_dims {x}, {self.ints(axis)} : ({type_}, tensor<1xsi32>) to {out}")

    def text(self):
        constants = [f"{name} = coreai.constant {text} : {type_}" for (text, type_), name in self.constants.items()]
        return "\n".join("    " + line for line in constants + self.lines)


def tensor(*dims, of="bf16"):
    return f"tensor<{'x'.join(str(d) for d in dims)}{'x' if dims else ''}{of}>"


def composite(name, inputs, attrs, symbol, arguments, result, body):
    names = ", ".join(f'"{i}"' for i in inputs)
    arguments = ", ".join(
        f'%arg{i}: {type_} {{coreai.name = "{inputs[i]}"}}' for i, type_ in enumerate(arguments)
    )
    return f"""  coreai.graph private noinline @{symbol}({arguments}) -> ({result} {{coreai.name = "output"}}) attributes {{composite_decl = #coreai.composite_declaration<"{name}" = {{input_names = [{names}], op_attrs = {{{attrs}}}, output_names = ["output"]}}>}} {{
{body.text()}
  }}
"""


def rms_norm():
    b, x, wide, one = Body(), tensor(1, "?", D), tensor(1, "?", D, of="f32"), tensor(1, "?", 1, of="f32")
    w = b.cast("%arg0", x, wide)
    square = b.binary("mul", w, wide, w, wide, wide)
    mean = b.line(f"reduce_mean {square}, {b.ints(2)} : ({wide}, tensor<1xsi32>) -> {one}")
    mean = b.binary("add", mean, one, b.scalar("1.000000e-05", "f32"), "tensor<f32>", one)
    scaled = b.binary("mul", w, wide, b.unary("rsqrt", mean, one), one, wide)
    out = b.binary("mul", b.cast(scaled, wide, x), x, "%arg1", tensor(D), x)
    b.raw(f"coreai.output {out} : {x}")
    attrs = "axes = -1 : si64, eps = 1.000000e-05 : f32, version = 1 : si64"
    return composite("rms_norm", ["input", "scale"], attrs, "rms_norm", [x, tensor(D)], x, b)


def rope(heads):
    b, half = Body(), HEAD_DIM // 2
    x, part = tensor(1, heads, "?", HEAD_DIM), tensor(1, heads, "?", half)
    angle, angle16 = tensor(1, 1, "?", half, of="f32"), tensor(1, 1, "?", half)
    position = b.expand("%arg1", tensor(1, "?", of="si32"), 1, tensor(1, 1, "?", of="si32"))
    position = b.cast(position, tensor(1, 1, "?", of="si32"), tensor(1, 1, "?", of="f32"))
    position = b.expand(position, tensor(1, 1, "?", of="f32"), -1, tensor(1, 1, "?", 1, of="f32"))
    steps = np.float32(10000.0) ** (-np.arange(half, dtype=np.float32) * 2 / HEAD_DIM)
    steps = b.constant(f"dense<[{', '.join(f'{v:.9e}' for v in steps)}]>", tensor(half, of="f32"))
    angles = b.binary("mul", position, tensor(1, 1, "?", 1, of="f32"), steps, tensor(half, of="f32"), angle)
    cos = b.cast(b.unary("cos", angles, angle), angle, angle16)
    sin = b.cast(b.unary("sin", angles, angle), angle, angle16)
    low = b.slice("%arg0", x, b.ints(0, 0, 0, 0), b.ints(END, END, END, half), 4, part)
    high = b.slice("%arg0", x, b.ints(0, 0, 0, half), b.ints(END, END, END, HEAD_DIM), 4, part)

    def turned(op, a, c):
        left = b.binary("mul", a, angle16, low, part, part)
        right = b.binary("mul", c, angle16, high, part, part)
        return b.binary(op, left, part, right, part, part)

    first, second = turned("sub", cos, sin), turned("add", sin, cos)
    out = b.line(f"concat {b.scalar(3, 'si32')}, {first}, {second} : (tensor<si32>, {part}, {part}) -> {x}")
    b.raw(f"coreai.output {out} : {x}")
    attrs = "base = 1.000000e+04 : f32, interleaved = false, scale = 1.000000e+00 : f32, version = 1 : si64"
    arguments = [x, tensor(1, "?", of="si32")]
    return composite("rope", ["input", "position_ids"], attrs, f"rope_{heads}", arguments, x, b)


def attention():
    b = Body()
    q, kv, full = (tensor(1, h, "?", HEAD_DIM) for h in (HEADS, KV_HEADS, HEADS))
    turned, scores, mask = tensor(1, HEADS, HEAD_DIM, "?"), tensor(1, HEADS, "?", "?"), tensor("?", "?", of="i1")
    one, line = tensor(1, of="si32"), tensor("?", of="si32")
    q_len, k_len = b.dim("%arg0", q, 4, 2), b.dim("%arg1", kv, 4, 2)
    no_dims = b.constant("dense<>", "tensor<0xui32>")

    def as_scalar(x):
        return b.line(f"reshape {x}, {no_dims} : ({one}, tensor<0xui32>) -> tensor<si32>")

    def count(start, stop):
        step = b.scalar(1, "si32")
        types = "(tensor<si32>, tensor<si32>, tensor<si32>)"
        return b.line(f"range {start}, {stop}, {step} : {types} -> {line}")

    offset = b.binary("sub", k_len, one, q_len, one, one)
    stop = as_scalar(k_len)
    rows = b.expand(count(as_scalar(offset), stop), line, 1, tensor("?", 1, of="si32"))
    columns = b.expand(count(b.scalar(0, "si32"), stop), line, 0, tensor(1, "?", of="si32"))
    after = b.binary("greater", columns, tensor(1, "?", of="si32"), rows, tensor("?", 1, of="si32"), mask)

    heads = b.constant(
        f"dense<[[{', '.join(f'[[{h * KV_HEADS // HEADS}]]' for h in range(HEADS))}]]>",
        tensor(1, HEADS, 1, 1, of="si32"),
    )

    def per_query_head(x):
        shape = b.sizes(1, k_len, HEAD_DIM)
        shape = b.cast(shape, tensor(3, of="si32"), tensor(3, of="ui32"))
        indices = tensor(1, HEADS, "?", HEAD_DIM, of="si32")
        at = b.line(
            f"broadcast_in_dims {heads}, {shape}, {b.ints(0, 2, 3)} : "
            f"({tensor(1, HEADS, 1, 1, of='si32')}, tensor<3xui32>, tensor<3xsi32>) -> {indices}"
        )
        along = b.scalar(1, "si32")
        return b.line(f"gather_along_axis {x} at {at} along {along} : ({kv}, {indices}, tensor<si32>) to {full}")

    keys, values = per_query_head("%arg1"), per_query_head("%arg2")
    scaled = b.binary("mul", "%arg0", q, b.scalar(f"{HEAD_DIM ** -0.5:e}", "bf16"), "tensor<bf16>", q)
    keys = b.transpose(keys, full, (0, 1, 3, 2), turned)
    logits = b.binary("batch_matmul", scaled, q, keys, turned, scores)
    bias = b.cast(after, mask, tensor("?", "?"))
    bias = b.binary("mul", bias, tensor("?", "?"), b.scalar("-1.000000e+04", "bf16"), "tensor<bf16>", tensor("?", "?"))
    logits = b.binary("add", logits, scores, bias, tensor("?", "?"), scores)
    weights = b.line(f"softmax {logits}, {b.scalar(3, 'si32')} : ({scores}, tensor<si32>) -> {scores}")
    out = b.binary("batch_matmul", weights, scores, values, full, q)
    b.raw(f"coreai.output {out} : {q}")
    attrs = "is_causal = true, version = 1 : si64, window_size = 0 : si64"
    name = "scaled_dot_product_attention"
    return composite(name, ["query", "key", "value"], attrs, "attention", [q, kv, kv], q, b)


def weights():
    """bfloat16 arrays by name; projections are [out, in]."""
    random = np.random.default_rng(SEED)

    def matrix(rows, columns):
        return (random.standard_normal((rows, columns)) * columns**-0.5).astype(ml_dtypes.bfloat16)

    def scale():
        return (1 + 0.1 * random.standard_normal(D)).astype(ml_dtypes.bfloat16)

    arrays = {"embedding": matrix(VOCAB, D) * ml_dtypes.bfloat16(4), "norm": scale()}
    for i in range(LAYERS):
        arrays |= {
            f"norm_in_{i}": scale(),
            f"norm_mid_{i}": scale(),
            f"q_{i}": matrix(HEADS * HEAD_DIM, D),
            f"k_{i}": matrix(KV_HEADS * HEAD_DIM, D),
            f"v_{i}": matrix(KV_HEADS * HEAD_DIM, D),
            f"o_{i}": matrix(D, HEADS * HEAD_DIM),
            f"gate_{i}": matrix(FFN, D),
            f"up_{i}": matrix(FFN, D),
            f"down_{i}": matrix(D, FFN),
        }
    return arrays


def decoder(arrays):
    b = Body()
    ids, hidden = tensor(1, "?", of="si32"), tensor(1, "?", D)
    cache = tensor(LAYERS, 1, KV_HEADS, "?", HEAD_DIM)
    handle, one = f"!coreai.handle<{cache}>", tensor(1, of="si32")

    def weight(name):
        return b.constant(f"dense_resource<{name}>", tensor(*arrays[name].shape))

    def linear(x, x_type, name, out):
        rows, columns = arrays[name].shape
        turned = b.transpose(weight(name), tensor(rows, columns), (1, 0), tensor(columns, rows))
        return b.binary("batch_matmul", x, x_type, turned, tensor(columns, rows), out)

    def norm(x, name):
        return b.line(f"invoke @rms_norm({x}, {weight(name)})  : ({hidden}, {tensor(D)}) -> {hidden}")

    def heads(x, name, count):
        flat, split = tensor(1, "?", count * HEAD_DIM), tensor(1, "?", count, HEAD_DIM)
        x = linear(x, hidden, name, flat)
        x = b.reshape(x, flat, b.sizes(1, q_len, count, HEAD_DIM), 4, split)
        return b.transpose(x, split, (0, 2, 1, 3), tensor(1, count, "?", HEAD_DIM))

    def turned(x, count):
        x_type = tensor(1, count, "?", HEAD_DIM)
        return b.line(f"invoke @rope_{count}({x}, {positions})  : ({x_type}, {ids}) -> {x_type}")

    kv = tensor(1, KV_HEADS, "?", HEAD_DIM)
    layer = tensor(1, 1, KV_HEADS, "?", HEAD_DIM)

    def read(state, token):
        name = f"read{b.count}"
        b.count += 1
        b.raw(
            f"%{name}, %{name}_token = coreai.read_handle {state}, {token} : "
            f"(<{cache}>, !coreai.token) -> ({cache}, !coreai.token)"
        )
        return f"%{name}", f"%{name}_token"

    def update(state, version, x, i):
        """Writes one layer's new rows and returns the layer's rows up to the sequence length."""
        base, token = version
        x = b.expand(x, kv, 0, layer)
        start = b.sizes(i, 0, 0, offset, 0)
        stop = b.sizes(i + 1, 1, KV_HEADS, s_len, HEAD_DIM)
        i5 = "tensor<5xsi32>"
        new = b.line(
            f"slice_update {base} with {x} at ({start}, {stop}, {b.ints(*[1] * 5)}) : "
            f"({cache}, {layer}, {i5}, {i5}, {i5}) to {cache}"
        )
        token = b.line(f"write_handle {state}, {new}, {token} : (<{cache}>, {cache}, !coreai.token) -> !coreai.token")
        version = read(state, token)
        rows = b.slice(version[0], cache, b.ints(i, 0, 0, 0, 0), b.ints(i + 1, END, END, END, END), 5, layer)
        rows = b.slice(rows, layer, b.ints(0, 0, 0, 0, 0), b.sizes(END, END, END, s_len, END), 5, layer)
        rows = b.line(f"shrink_dims {rows}, {b.ints(0)} : ({layer}, tensor<1xsi32>) to {kv}")
        return version, rows

    token = b.line("create_token : !coreai.token")
    values, keys = read("%arg3", token), read("%arg2", token)
    q_len, s_len = b.dim("%arg0", ids, 2, 1), b.dim("%arg1", ids, 2, 1)
    offset = b.binary("sub", s_len, one, q_len, one, one)
    positions = b.slice("%arg1", ids, b.sizes(0, offset), b.sizes(END, s_len), 2, ids)
    at = b.expand("%arg0", ids, -1, tensor(1, "?", 1, of="si32"))
    x = b.line(
        f"gather_nd {weight('embedding')} at {at} : ({tensor(VOCAB, D)}, {tensor(1, '?', 1, of='si32')}) to {hidden}"
    )
    q_type, joined, ffn = tensor(1, HEADS, "?", HEAD_DIM), tensor(1, "?", HEADS * HEAD_DIM), tensor(1, "?", FFN)
    for i in range(LAYERS):
        h = norm(x, f"norm_in_{i}")
        q, k, v = heads(h, f"q_{i}", HEADS), heads(h, f"k_{i}", KV_HEADS), heads(h, f"v_{i}", KV_HEADS)
        keys, k = update("%arg2", keys, turned(k, KV_HEADS), i)
        values, v = update("%arg3", values, v, i)
        a = b.line(f"invoke @attention({turned(q, HEADS)}, {k}, {v})  : ({q_type}, {kv}, {kv}) -> {q_type}")
        a = b.transpose(a, q_type, (0, 2, 1, 3), tensor(1, "?", HEADS, HEAD_DIM))
        a = b.reshape(a, tensor(1, "?", HEADS, HEAD_DIM), b.sizes(1, q_len, HEADS * HEAD_DIM), 3, joined)
        x = b.binary("add", x, hidden, linear(a, joined, f"o_{i}", hidden), hidden, hidden)
        h = norm(x, f"norm_mid_{i}")
        gate = b.line(f"silu {linear(h, hidden, f'gate_{i}', ffn)} : ({ffn}) -> {ffn}")
        h = b.binary("mul", gate, ffn, linear(h, hidden, f"up_{i}", ffn), ffn, ffn)
        x = b.binary("add", x, hidden, linear(h, ffn, f"down_{i}", hidden), hidden, hidden)
    logits_type = tensor(1, "?", VOCAB)
    logits = linear(norm(x, "norm"), hidden, "embedding", logits_type)
    b.raw(f"coreai.output {keys[1]}, {values[1]}, {logits} : !coreai.token, !coreai.token, {logits_type}")

    def state(index, name):
        return f'%arg{index}: {handle} {{MutableBuffers.buffer_mutation = "{name}", coreai.name = "{name}"}}'

    return f"""  coreai.graph @main(%arg0: {ids} {{coreai.name = "input_ids"}}, %arg1: {ids} {{coreai.name = "position_ids"}}, {state(2, "keyCache")}, {state(3, "valueCache")}) -> (!coreai.token {{coreai.name = "keyCache"}}, !coreai.token {{coreai.name = "valueCache"}}, {logits_type} {{coreai.name = "logits"}}) {{
{b.text()}
  }}
"""


def resources(arrays):
    alignment = (2).to_bytes(4, "little").hex()
    lines = [f'      {name}: "0x{alignment}{array.tobytes().hex()}"' for name, array in arrays.items()]
    return "{-#\n  dialect_resources: {\n    builtin: {\n" + ",\n".join(lines) + "\n    }\n  }\n#-}\n"


def source():
    arrays = weights()
    private = rms_norm() + rope(HEADS) + rope(KV_HEADS) + attention()
    return "module {\n" + private + decoder(arrays) + "}\n" + resources(arrays)


def calls():
    """Inputs of every step: new ids, and positions of all tokens so far."""
    random, length = np.random.default_rng(SEED + 1), 0
    for q in QUERIES:
        length += q
        yield {
            "input_ids": random.integers(0, VOCAB, (1, q), dtype=np.int32),
            "position_ids": np.arange(length, dtype=np.int32)[None],
        }


def reference(arrays, steps):
    """Logits of every step in float64 arithmetic over the same weights, without a cache."""
    w = {name: array.astype(np.float64) for name, array in arrays.items()}
    ids = np.concatenate([step["input_ids"][0] for step in steps])
    half, group = HEAD_DIM // 2, HEADS // KV_HEADS
    angles = np.arange(len(ids))[:, None] * 10000.0 ** (-np.arange(half) * 2 / HEAD_DIM)

    def norm(x, name):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5) * w[name]

    def heads(x, name):  # (heads, tokens, head_dim)
        return (x @ w[name].T).reshape(len(x), -1, HEAD_DIM).transpose(1, 0, 2)

    def turned(x):
        low, high = x[..., :half], x[..., half:]
        cos, sin = np.cos(angles), np.sin(angles)
        return np.concatenate([low * cos - high * sin, high * cos + low * sin], -1)

    x = w["embedding"][ids]
    for i in range(LAYERS):
        h = norm(x, f"norm_in_{i}")
        q, k, v = turned(heads(h, f"q_{i}")), turned(heads(h, f"k_{i}")), heads(h, f"v_{i}")
        scores = q @ np.repeat(k, group, 0).transpose(0, 2, 1) / np.sqrt(HEAD_DIM)
        scores = np.where(np.tri(len(ids), dtype=bool), scores, -np.inf)
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        out = scores / scores.sum(-1, keepdims=True) @ np.repeat(v, group, 0)
        x = x + out.transpose(1, 0, 2).reshape(len(ids), -1) @ w[f"o_{i}"].T
        h = norm(x, f"norm_mid_{i}")
        gate = h @ w[f"gate_{i}"].T
        x = x + (gate / (1 + np.exp(-gate)) * (h @ w[f"up_{i}"].T)) @ w[f"down_{i}"].T
    logits = norm(x, "norm") @ w["embedding"].T
    ends = np.cumsum([step["input_ids"].shape[1] for step in steps])
    return [{"logits": part[None]} for part in np.split(logits, ends[:-1])]


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    out = Path(sys.argv[1])
    steps = list(calls())
    cache = np.zeros((LAYERS, 1, KV_HEADS, CACHE, HEAD_DIM), ml_dtypes.bfloat16)
    with tempfile.TemporaryDirectory() as folder:
        asset = Path(folder) / "model.aimodel"
        recording.author(source(), asset)
        case = recording.record(
            asset, "main", steps, {"keyCache": cache, "valueCache": cache}, out,
            references=reference(weights(), steps),
            id="bf16-decoder", source={"suite": "tests/oracle", "model": "bf16_decoder.py"},
            tags=["decoder", "kv-cache", "dynamic shape", "bfloat16"],
        )
    sys.exit(0 if case["executed"] else case["error"])


if __name__ == "__main__":
    main()

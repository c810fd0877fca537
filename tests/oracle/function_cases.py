"""Single functions of PyTorch over odd shapes, for `models.py`: every one in several element types and, where all
sizes may be dynamic, with dynamic sizes."""

import zlib

import torch
from torch import nn
from torch.nn import functional as F

FLOATS = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
INTS = {"i32": torch.int32, "i16": torch.int16, "i8": torch.int8, "u8": torch.uint8}


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *arguments):
        return self.function(*arguments)


def real(*shape):
    return lambda dtype: torch.randn(shape, dtype=torch.float32).to(dtype)


def positive(*shape):
    return lambda dtype: (torch.rand(shape) * 3 + 0.1).to(dtype)


def unit(*shape):
    return lambda dtype: (torch.rand(shape) * 1.9 - 0.95).to(dtype)


def whole(low, high, *shape):
    return lambda dtype: torch.randint(low, high, shape, dtype=torch.int32)


def truth(*shape):
    return lambda dtype: torch.rand(shape) > 0.5


def counts(*shape):
    """Small integers of the case's own type."""
    return lambda dtype: torch.randint(1, 9, shape).to(dtype)


def add_all(add, one):
    def each(name, function, *specs, types=("f32", "f16"), dynamic=True, sizes=None):
        for short in types:
            def build(dtype={**FLOATS, **INTS, "bool": torch.bool}[short]):
                torch.manual_seed(zlib.crc32(name.encode()))
                return one(Function(function), tuple(spec(dtype) for spec in specs))

            add(f"fn-{name}-{short}", build)
        if dynamic:
            def build():
                torch.manual_seed(zlib.crc32(name.encode()) + 1)
                arguments = tuple(spec(torch.float32) for spec in specs)
                auto = torch.export.Dim.AUTO
                shapes = tuple({i: auto for i, n in enumerate(a.shape) if n > 1} for a in arguments)
                return one(Function(function), arguments, dynamic=(shapes,))

            add(f"fn-{name}-dynamic", build)

    def unary(names, spec, **more):
        for name in names.split():
            each(name, getattr(torch, name, None) or getattr(F, name), spec, **more)

    every = ("f32", "f16", "bf16")
    unary("abs ceil floor round trunc sign neg relu sigmoid silu tanh sin cos exp expm1 square selu celu elu softplus "
          "mish hardswish hardsigmoid hardtanh relu6 softsign tanhshrink erf sinh cosh atan asinh logsigmoid gelu exp2 frac "
          "isnan isinf isfinite logical_not sgn nan_to_num erfc deg2rad", real(3, 7), types=every)
    unary("sqrt rsqrt log log2 log10 log1p reciprocal lgamma digamma", positive(5, 3))
    unary("asin acos atanh tan logit", unit(2, 9))
    each("acosh", lambda x: torch.acosh(x + 1), positive(4))
    unary("abs neg sign square bitwise_not", counts(3, 5), types=tuple(INTS), dynamic=False)
    each("gelu-tanh", lambda x: F.gelu(x, approximate="tanh"), real(4, 5), types=every)
    each("hardshrink", lambda x: F.hardshrink(x, 0.3), real(4, 5))
    each("softshrink", lambda x: F.softshrink(x, 0.3), real(4, 5))
    each("leaky-relu", lambda x: F.leaky_relu(x, 0.2), real(4, 5))
    each("prelu", lambda x, w: F.prelu(x, w), real(2, 3, 4), real(3))
    each("glu", lambda x: F.glu(x, 1), real(2, 6, 3), dynamic=False)
    each("threshold", lambda x: F.threshold(x, 0.1, -2.0), real(4, 5))
    each("round-decimals", lambda x: torch.round(x, decimals=2), real(4, 5))
    each("clamp", lambda x: x.clamp(-0.5, 0.7), real(4, 5))
    each("clamp-min", lambda x: x.clamp(min=-0.5), real(4, 5))
    each("clamp-tensor", lambda x, a: torch.clamp(x, a, a + 1), real(3, 5), real(5))

    pair = (real(3, 1, 5), real(4, 1))
    for name in "add sub mul div maximum minimum fmod remainder atan2 eq ne lt le gt ge hypot logaddexp copysign fmax xlogy".split():
        each(f"two-{name}", getattr(torch, name), *pair)
    for name in "add sub mul maximum minimum fmod remainder eq lt ge floor_divide bitwise_and bitwise_or bitwise_xor div".split():
        each(f"two-{name}", getattr(torch, name), counts(3, 1, 4), counts(2, 1), types=tuple(INTS), dynamic=False)
    for mode in ("floor", "trunc"):
        each(f"div-{mode}", lambda x, y, m=mode: torch.div(x, y, rounding_mode=m), *pair)
        each(f"div-{mode}-int", lambda x, y, m=mode: torch.div(x - 4, y, rounding_mode=m), counts(3, 4), counts(4), types=("i32", "i8"), dynamic=False)
    each("pow", torch.pow, positive(3, 4), real(4))
    each("pow-scalars", lambda x: (x**2, x**3, x**0.5, x**-1, 2**x, x**-2.5), positive(3, 4))
    each("pow-int", lambda x: (x**2, x**3), counts(3, 4), types=("i32",), dynamic=False)
    each("mixed-types", lambda x, i: (x + i, x * i, i / 2, i + 0.5, i // 2, i % 3), real(3, 4), whole(-5, 6, 3, 4))
    each("bool-arithmetic", lambda a, b: (a + b, a & b, a | b, a ^ b, ~a, a * 2, a.float() - 1), truth(3, 4), truth(4))
    each("rsub", lambda x: (1 - x, 2.5 - x, torch.rsub(x, 3, alpha=2)), real(3, 4))
    each("lerp", lambda a, b: torch.lerp(a, b, 0.3), real(3, 4), real(3, 4))
    each("addcmul", lambda a, b, c: torch.addcmul(a, b, c, value=0.5) + torch.addcdiv(a, b, c.abs() + 1), real(3, 4), real(4), real(3, 1))
    each("where", torch.where, truth(3, 1), real(4), real(3, 4))
    each("where-scalar", lambda c, x: torch.where(c, x, 0.0), truth(3, 4), real(3, 4))
    each("masked-fill", lambda x, m: x.masked_fill(m, float("-inf")).softmax(-1), real(3, 4), truth(3, 4))
    each("masked-fill-rows", lambda x, m: x.masked_fill(m[:, None], -1e4), real(3, 4), truth(3))
    shifts = {"left": torch.bitwise_left_shift, "right": torch.bitwise_right_shift}
    for name, function in shifts.items():
        each(f"shift-{name}", lambda x, f=function: f(x, 2), counts(3, 4), types=("i32",), dynamic=False)

    for name in "sum mean amax amin prod std var logsumexp norm any all argmax argmin median count_nonzero".split():
        function = getattr(torch, name)
        each(f"reduce-{name}", function if name not in ("amax", "amin", "logsumexp") else lambda x, f=function: f(x, (0, 1)), real(3, 5))
        if name not in ("median", "count_nonzero"):
            each(f"reduce-{name}-last", lambda x, f=function: f(x, dim=-1), real(3, 4, 5), types=every)
            each(f"reduce-{name}-first-keep", lambda x, f=function: f(x, dim=0, keepdim=True), real(3, 4, 5))
    for name in "sum mean amax amin std var logsumexp".split():
        each(f"reduce-{name}-two", lambda x, f=getattr(torch, name): f(x, dim=(0, 2)), real(3, 4, 5, 2))
    for name in "sum prod amax amin".split():
        function = getattr(torch, name)
        each(f"reduce-{name}", lambda x, f=function: f(x, dim=1), counts(2, 3, 2), types=("i32", "i8", "u8"), dynamic=False)
    for p in (1, 2, 3, 0.5, float("inf"), 0):
        each(f"norm-{p}", lambda x, p=p: torch.linalg.vector_norm(x, p, dim=1), real(3, 17))
    each("normalize", lambda x: F.normalize(x, dim=1), real(2, 9, 3))
    each("cosine", lambda a, b: F.cosine_similarity(a, b, dim=1), real(3, 9), real(3, 9))
    each("cdist", lambda a, b: torch.cdist(a, b), real(2, 5, 3), real(2, 4, 3))
    each("max-dim", lambda x: torch.max(x, 1), real(3, 7, 2))
    each("min-dim", lambda x: torch.min(x, -1, keepdim=True), real(3, 7))
    each("long-sum", lambda x: (x.sum(-1), x.mean(-1), x.var(-1)), real(2, 3001))
    each("large-mean", lambda x: (x * 300).mean((1, 2)), positive(2, 65, 63))
    each("softmax-dims", lambda x: (x.softmax(0), x.log_softmax(1), F.softmin(x, 2)), real(3, 4, 5), types=every)
    each("softmax-long", lambda x: x.softmax(-1), real(2, 1025))
    each("softmax-inf", lambda x: torch.where(x > 0.5, x, float("-inf")).softmax(-1), real(4, 9))
    for dim in (0, 1, -1):
        each(f"cumsum-{dim}", lambda x, d=dim: x.cumsum(d), real(4, 5, 6), types=every)
    each("cumsum-long", lambda x: x.cumsum(1), real(2, 700))
    each("cumsum-int", lambda x: x.cumsum(0), counts(5, 3), types=("i32", "bool"), dynamic=False)
    each("cumprod", lambda x: x.cumprod(1), positive(2, 5))
    each("cummax", lambda x: x.cummax(1), real(2, 5))
    each("logcumsumexp", lambda x: x.logcumsumexp(1), real(2, 5))
    each("diff", lambda x: x.diff(dim=1), real(2, 5))

    for k, dim, largest in ((1, -1, True), (3, 0, False), (4, 1, True), (5, 1, False)):
        each(f"topk-{k}-{dim}-{largest}", lambda x, k=k, d=dim, g=largest: x.topk(k, d, g), real(6, 5, 3), types=every, dynamic=False)
    each("topk-int", lambda x: x.topk(2, -1), whole(-99, 99, 4, 6), types=("f32",), dynamic=False)
    each("topk-long", lambda x: x.topk(40, -1), real(2, 1300), dynamic=False)
    each("sort", lambda x: x.sort(1), real(3, 7))
    each("sort-descending", lambda x: x.sort(0, descending=True), real(9, 2))
    each("argsort", lambda x: x.argsort(-1), real(3, 7))
    each("unique", lambda x: x.unique(), whole(0, 4, 9), types=("f32",))
    each("nonzero", lambda x: (x > 0).nonzero(), real(3, 4), types=("f32",))
    each("masked-select", lambda x: x[x > 0], real(3, 4), types=("f32",))
    each("masked-scatter", lambda x, m, y: x.masked_scatter(m, y), real(3, 4), truth(3, 4), real(12))
    each("bucketize", lambda x, b: torch.bucketize(x, b.sort().values), real(3, 4), real(5))
    each("histogram-like", lambda i: F.one_hot(i.long(), 6).sum(0), whole(0, 6, 9), types=("f32",))

    each("gather", lambda x, i: x.gather(1, i.long()), real(3, 5), whole(0, 5, 3, 4))
    each("gather-0", lambda x, i: x.gather(0, i.long()), real(5, 4, 2), whole(0, 5, 3, 4, 2))
    each("take-along", lambda x, i: torch.take_along_dim(x, i.long(), 1), real(3, 5), whole(0, 5, 1, 4))
    each("index-select", lambda x, i: x.index_select(1, i.long()), real(3, 5, 2), whole(0, 5, 7))
    each("embedding", lambda w, i: F.embedding(i.long(), w), real(9, 5), whole(0, 9, 2, 3))
    each("embedding-bag", lambda w, i: F.embedding(i.long(), w).sum(1), real(9, 5), whole(0, 9, 2, 3))
    each("index-negative", lambda x: (x[-1], x[:, -2], x[..., ::2], x[1:-1, 1:]), real(4, 5))
    each("index-lists", lambda x, i, j: (x[i.long(), j.long()], x[:, i.long()], x[i.long()][:, None]), real(4, 5, 2), whole(0, 4, 3), whole(0, 5, 3))
    each("index-ends", lambda x, i, j: x[i.long(), :, j.long()], real(4, 3, 5), whole(0, 4, 6), whole(0, 5, 6))
    each("index-minus", lambda x, i: x[i.long()], real(4, 3), whole(-4, 4, 5))
    each("index-put", lambda x, i, v: x.index_put((i.long(),), v), real(5, 3), whole(0, 2, 2), real(2, 3))
    each("index-put-add", lambda x, i, v: x.index_put((i.long(),), v, accumulate=True), real(5, 3), whole(0, 3, 6), real(6, 3))
    each("index-add", lambda x, i, v: x.index_add(0, i.long(), v), real(5, 3), whole(0, 5, 6), real(6, 3))
    each("index-copy", lambda x, v: x.index_copy(1, torch.tensor([3, 0]), v), real(2, 5), real(2, 2))
    each("index-fill", lambda x: x.index_fill(1, torch.tensor([3, 0]), 7.0), real(2, 5))
    each("put-mask", lambda x, m: torch.where(m, x * 2, x).index_put((m,), torch.tensor(0.0, dtype=x.dtype)), real(3, 4), truth(3, 4))
    each("scatter", lambda x, i, v: x.scatter(1, i.long(), v), real(3, 5), lambda d: torch.tensor([[0, 4, 2], [1, 0, 3], [4, 3, 2]], dtype=torch.int32), real(3, 3))
    each("scatter-value", lambda x, i: x.scatter(0, i.long(), 2.5), real(4, 3), whole(0, 4, 2, 3))
    for reduce in ("sum", "prod", "amax", "amin", "mean"):
        each(f"scatter-reduce-{reduce}", lambda x, i, v, r=reduce: x.scatter_reduce(1, i.long(), v, r), real(3, 4), whole(0, 4, 3, 6), real(3, 6))
    each("scatter-add", lambda x, i, v: x.scatter_add(0, i.long(), v), real(4, 3), whole(0, 4, 6, 3), real(6, 3))
    each("scatter-int", lambda x, i, v: x.scatter_add(0, i.long(), v), whole(0, 9, 4, 3), whole(0, 4, 6, 3), whole(0, 9, 6, 3), types=("f32",))
    each("slice-scatter", lambda x, y: x.slice_scatter(y, 1, 1, 6, 2), real(3, 7), real(3, 3), dynamic=False)
    each("select-scatter", lambda x, y: x.select_scatter(y, 1, 2), real(3, 7), real(3))
    each("diagonal", lambda x: (x.diagonal(1), x.tril(-1), x.triu(1)), real(4, 5))
    each("trace", lambda x: x.trace(), real(4, 4))
    each("diag-embed", lambda x: x.diag_embed(), real(2, 3))

    each("movement", lambda x: (x.permute(2, 0, 1), x.transpose(0, 1).reshape(-1, 5), x.flip(0, 2), x.roll(2, 1), x.roll((1, -2), (0, 2))), real(3, 4, 5), types=every)
    each("repeat", lambda x: (x.repeat(2, 1, 3), x.tile(2), x.repeat_interleave(3, 1), x.expand(2, 3, 4)), real(3, 4), types=("f32", "f16", "i32", "bool"))
    each("split", lambda x: (*x.split(3, 1), *x.chunk(2, 0), *x.unbind(0)), real(3, 7), dynamic=False)
    each("split-sizes", lambda x: x.split([1, 4, 2], 1), real(3, 7), dynamic=False)
    each("cat", lambda x, y: (torch.cat([x, y], 1), torch.cat([x, x[:, :0], x], 1), torch.stack([x, x + 1], 1)), real(3, 4), real(3, 2), types=("f32", "f16", "i32", "bool"))
    each("cat-types", lambda x, i: torch.cat([x, i], 0), real(3, 4), whole(0, 9, 2, 4))
    each("unfold", lambda x: x.unfold(1, 3, 2), real(2, 9), dynamic=False)
    each("unflatten", lambda x: (x.unflatten(1, (2, 3)), x.flatten(), x.squeeze(), x[:, None, :, None]), real(2, 6), dynamic=False)
    each("meshgrid", lambda x, y: torch.meshgrid(x, y, indexing="ij"), real(3), real(4))
    each("rot90", lambda x: torch.rot90(x, 1, (0, 1)), real(3, 4))
    each("pixel-shuffle", lambda x: F.pixel_shuffle(x, 2), real(2, 12, 3, 4))
    each("pixel-unshuffle", lambda x: F.pixel_unshuffle(x, 2), real(2, 3, 4, 6))
    each("channel-shuffle", lambda x: F.channel_shuffle(x, 3), real(2, 6, 3, 4))
    each("im2col", lambda x: F.unfold(x, (3, 2), dilation=(1, 2), padding=1, stride=2), real(2, 3, 7, 6), dynamic=False)
    each("col2im", lambda x: F.fold(x, (6, 6), 2, stride=2), real(1, 8, 9), dynamic=False)
    each("empty", lambda x: (x[:0] + 1, torch.cat([x[:0], x])), real(3, 4), dynamic=False)
    each("scalar", lambda x: (x[0, 0] * 2, x.sum() + x), real(3, 4))
    each("arange", lambda x: (torch.arange(x.shape[0], device=x.device) + 1, torch.arange(0, 1, 0.25), torch.linspace(0, 1, 7), torch.ones_like(x), torch.zeros(2, x.shape[1]), torch.full((2,), 3), torch.eye(4)), real(3, 4))
    each("casts", lambda x: (x.to(torch.int32), x.bool(), x.half(), x.to(torch.uint8) if x.dtype == torch.int32 else x.to(torch.int8), x.float(), x.to(torch.bfloat16)), lambda d: torch.randn(3, 4).mul(20).abs().to(d), types=("f32", "f16", "bf16", "i32"))
    each("complex", lambda a, b: torch.view_as_real(torch.complex(a, b) * torch.polar(a.abs(), b)), real(3, 4), real(3, 4), types=("f32",))
    each("rope-complex", lambda x, a: torch.view_as_real(torch.view_as_complex(x.reshape(2, 3, 4, 2)) * torch.polar(torch.ones_like(a), a)).flatten(2), real(2, 3, 8), real(3, 4), types=("f32",), dynamic=False)

    for mode in ("constant", "reflect", "replicate", "circular"):
        for rank, pads in ((1, (2, 1)), (2, (1, 2, 3, 0)), (3, (1, 0, 2, 1, 1, 1))):
            each(f"pad-{mode}-{rank}", lambda x, p=pads, m=mode: F.pad(x, p, m), real(2, 3, *([5] * rank)))
    each("pad-crop", lambda x: F.pad(x, (-1, 2, 1, -2), value=1.5), real(2, 5, 6))
    each("pad-int", lambda x: F.pad(x, (1, 2), value=3), counts(2, 4), types=("i32", "u8", "bool"), dynamic=False)

    for mode in ("nearest", "nearest-exact", "bilinear", "bicubic", "area"):
        for corners in (False, True) if mode in ("bilinear", "bicubic") else (None,):
            for size in ((7, 9), (3, 2), (5, 12)):
                each(f"resize-{mode}-{corners}-{size[0]}x{size[1]}", lambda x, s=size, m=mode, a=corners: F.interpolate(x, s, mode=m, align_corners=a), real(1, 2, 5, 6), dynamic=False)
            each(f"resize-{mode}-{corners}-factor", lambda x, m=mode, a=corners: F.interpolate(x, scale_factor=(2.0, 1.5), mode=m, align_corners=a), real(1, 2, 4, 6))
            each(f"resize-{mode}-{corners}-factor-kept", lambda x, m=mode, a=corners: F.interpolate(x, scale_factor=1.7, mode=m, align_corners=a, recompute_scale_factor=False), real(1, 2, 5, 6), dynamic=False)
    each("resize-linear", lambda x: F.interpolate(x, 7, mode="linear"), real(1, 2, 5), dynamic=False)
    each("resize-nearest-1d", lambda x: F.interpolate(x, scale_factor=3), real(1, 2, 5))
    each("resize-nearest-3d", lambda x: F.interpolate(x, scale_factor=2), real(1, 2, 2, 3, 4))
    each("resize-trilinear", lambda x: F.interpolate(x, (3, 5, 6), mode="trilinear"), real(1, 2, 2, 3, 4), dynamic=False)
    each("resize-antialias", lambda x: F.interpolate(x, (3, 4), mode="bilinear", antialias=True), real(1, 2, 8, 9), dynamic=False)
    for mode in ("bilinear", "nearest", "bicubic"):
        for padding in ("zeros", "border", "reflection"):
            for corners in (False, True):
                each(f"grid-sample-{mode}-{padding}-{corners}", lambda x, g, m=mode, p=padding, a=corners: F.grid_sample(x, g * 1.3, m, p, a), real(2, 3, 5, 6), unit(2, 4, 3, 2), dynamic=corners)
    each("affine-grid", lambda t: F.affine_grid(t, (1, 2, 4, 5), align_corners=False), real(1, 2, 3), dynamic=False)

    def layer(name, make, *specs, types=("f32", "f16"), dynamic=True):
        for short in (*types, "dynamic") if dynamic else types:
            def build(short=short):
                torch.manual_seed(zlib.crc32(name.encode()))
                dtype = FLOATS.get(short, torch.float32)
                model = make().to(dtype)
                arguments = tuple(spec(dtype) for spec in specs)
                if short != "dynamic":
                    return one(model, arguments)
                auto = torch.export.Dim.AUTO
                return one(model, arguments, dynamic=tuple({0: auto, **{i: auto for i in range(2, a.ndim)}} for a in arguments))

            add(f"fn-{name}-{short}", build)

    convolutions = {
        "1d": (nn.Conv1d, (3, 5, 3), {}, (13,)), "1d-same": (nn.Conv1d, (3, 5, 4), {"padding": "same"}, (13,)),
        "1d-depth": (nn.Conv1d, (6, 6, 3), {"groups": 6, "dilation": 2}, (13,)), "1d-pointwise": (nn.Conv1d, (7, 5, 1), {"bias": False}, (13,)),
        "1d-strided": (nn.Conv1d, (3, 5, 7), {"stride": 5, "padding": 3}, (31,)),
        "2d-wide": (nn.Conv2d, (3, 4, (1, 5)), {"padding": (0, 2)}, (6, 9)), "2d-tall": (nn.Conv2d, (3, 4, (5, 1)), {"stride": (2, 1)}, (9, 6)),
        "2d-groups": (nn.Conv2d, (6, 9, 3), {"groups": 3, "stride": 2, "padding": 1}, (7, 8)),
        "2d-depth-multiplier": (nn.Conv2d, (4, 12, 3), {"groups": 4, "padding": 1}, (7, 8)),
        "2d-depth-5": (nn.Conv2d, (5, 5, 5), {"groups": 5, "padding": 2, "stride": 2}, (9, 8)),
        "2d-dilated": (nn.Conv2d, (3, 4, 3), {"dilation": (2, 3), "padding": 3}, (9, 11)),
        "2d-reflect": (nn.Conv2d, (3, 4, 3), {"padding": 1, "padding_mode": "reflect"}, (6, 7)),
        "2d-circular": (nn.Conv2d, (3, 4, 3), {"padding": 1, "padding_mode": "circular"}, (6, 7)),
        "2d-patch": (nn.Conv2d, (3, 16, 4), {"stride": 4}, (12, 16)), "2d-large": (nn.Conv2d, (16, 24, 3), {"padding": 1}, (17, 19)),
        "2d-pointwise": (nn.Conv2d, (17, 9, 1), {}, (5, 7)), "2d-pointwise-strided": (nn.Conv2d, (8, 9, 1), {"stride": 2}, (5, 7)),
        "3d": (nn.Conv3d, (2, 4, 3), {"padding": 1, "stride": (1, 2, 2)}, (4, 5, 6)), "3d-depth": (nn.Conv3d, (4, 4, (1, 3, 3)), {"groups": 4}, (3, 5, 6)),
        "3d-groups-dilated": (nn.Conv3d, (4, 6, 2), {"groups": 2, "dilation": (1, 2, 1)}, (4, 5, 6)),
        "transposed-1d": (nn.ConvTranspose1d, (3, 5, 4), {"stride": 3, "padding": 1, "output_padding": 2}, (7,)),
        "transposed-2d": (nn.ConvTranspose2d, (4, 6, 3), {"stride": 2, "padding": 1, "output_padding": 1}, (5, 6)),
        "transposed-2d-groups": (nn.ConvTranspose2d, (4, 6, (2, 3)), {"stride": (2, 1), "groups": 2}, (5, 6)),
        "transposed-2d-dilated": (nn.ConvTranspose2d, (3, 4, 3), {"dilation": 2}, (5, 6)),
        "transposed-2d-depth": (nn.ConvTranspose2d, (4, 4, 4), {"groups": 4, "stride": 2, "padding": 1}, (5, 6)),
        "transposed-3d": (nn.ConvTranspose3d, (2, 3, 2), {"stride": 2}, (2, 3, 4)),
    }
    for name, (kind, positional, named, size) in convolutions.items():
        layer(f"conv-{name}", lambda k=kind, a=positional, n=named: k(*a, **n), real(2, positional[0], *size), types=every)
    each("conv-dynamic-weight", lambda x, w: F.conv2d(x, w, padding=1), real(1, 3, 6, 7), real(4, 3, 3, 3))
    each("conv-transposed-weight", lambda x, w: F.conv_transpose2d(x, w, stride=2), real(1, 3, 4, 5), real(3, 4, 3, 3))

    pools = {
        "max-1d": (nn.MaxPool1d, (3, 2), {}, (9,)), "max-2d": (nn.MaxPool2d, (3,), {"stride": 2, "padding": 1}, (7, 8)),
        "max-2d-ceil": (nn.MaxPool2d, (2,), {"ceil_mode": True}, (7, 9)), "max-2d-dilated": (nn.MaxPool2d, (2, 1), {"dilation": 2}, (7, 8)),
        "max-3d": (nn.MaxPool3d, (2,), {"stride": (1, 2, 2)}, (4, 6, 7)), "average-1d": (nn.AvgPool1d, (3,), {"stride": 2, "padding": 1}, (9,)),
        "average-2d": (nn.AvgPool2d, ((3, 2),), {"stride": (2, 1), "padding": (1, 0), "count_include_pad": False}, (7, 8)),
        "average-2d-ceil": (nn.AvgPool2d, (3,), {"stride": 2, "ceil_mode": True}, (8, 8)),
        "average-2d-divisor": (nn.AvgPool2d, (2,), {"divisor_override": 3}, (6, 7)), "average-3d": (nn.AvgPool3d, (2,), {"padding": 1}, (4, 5, 6)),
        "average-3d-ceil": (nn.AvgPool3d, (3,), {"stride": 2, "ceil_mode": True, "padding": 1, "count_include_pad": False}, (4, 6, 5)),
        "adaptive-1d": (nn.AdaptiveAvgPool1d, (4,), {}, (9,)), "adaptive-2d": (nn.AdaptiveAvgPool2d, ((3, 2),), {}, (7, 9)),
        "adaptive-2d-even": (nn.AdaptiveAvgPool2d, ((4, 3),), {}, (8, 9)), "adaptive-2d-up": (nn.AdaptiveAvgPool2d, ((8, 9),), {}, (5, 6)),
        "adaptive-2d-one": (nn.AdaptiveAvgPool2d, (1,), {}, (5, 6)), "adaptive-max": (nn.AdaptiveMaxPool2d, ((2, 3),), {}, (6, 9)),
        "lp": (nn.LPPool2d, (2, 3), {"stride": 2}, (7, 8)),
    }
    for name, (kind, positional, named, size) in pools.items():
        layer(f"pool-{name}", lambda k=kind, a=positional, n=named: k(*a, **n), real(2, 3, *size), types=every)
    each("pool-max-indices", lambda x: F.max_pool2d(x, 2, return_indices=True), real(1, 2, 6, 7))

    norms = {
        "layer": (lambda: nn.LayerNorm(7), (2, 5, 7)), "layer-two": (lambda: nn.LayerNorm((5, 7), eps=1e-3), (2, 5, 7)),
        "layer-plain": (lambda: nn.LayerNorm(7, elementwise_affine=False), (3, 7)), "layer-wide": (lambda: nn.LayerNorm(1111), (2, 1111)),
        "rms": (lambda: nn.RMSNorm(7), (2, 5, 7)), "rms-plain": (lambda: nn.RMSNorm(33, elementwise_affine=False), (4, 33)),
        "group": (lambda: nn.GroupNorm(3, 6), (2, 6, 5, 4)), "group-one": (lambda: nn.GroupNorm(1, 6), (2, 6, 11)), "group-1d": (lambda: nn.GroupNorm(2, 4, affine=False), (3, 4)),
        "instance-1d": (lambda: nn.InstanceNorm1d(3, affine=True), (2, 3, 9)), "instance-2d": (lambda: nn.InstanceNorm2d(3), (2, 3, 5, 6)),
        "instance-3d": (lambda: nn.InstanceNorm3d(3, affine=True), (1, 3, 2, 4, 5)), "batch-1d": (lambda: nn.BatchNorm1d(5), (4, 5)),
        "batch-2d": (lambda: nn.BatchNorm2d(3), (2, 3, 5, 4)), "batch-3d": (lambda: nn.BatchNorm3d(3, affine=False), (1, 3, 2, 3, 4)),
        "local-response": (lambda: nn.LocalResponseNorm(3), (2, 7, 4, 4)),
    }
    for name, (make, size) in norms.items():
        layer(f"norm-{name}", make, real(*size), types=every)

    each("matmul-vector", lambda a, b: a @ b, real(5), real(5, 7))
    each("matmul-dot", lambda a, b: a @ b, real(33), real(33))
    each("matmul-broadcast", lambda a, b: a @ b, real(3, 1, 4, 5), real(2, 5, 6))
    each("matmul-many", lambda a, b: a @ b.transpose(-1, -2), real(2, 3, 17, 9), real(2, 3, 11, 9), types=every)
    each("matmul-one-row", lambda a, b: a @ b, real(1, 65), real(65, 130), types=every)
    each("matmul-int", lambda a, b: a @ b, whole(-9, 9, 3, 4), whole(-9, 9, 4, 5), types=("f32",), dynamic=False)
    each("addmm", lambda c, a, b: torch.addmm(c, a, b, beta=0.5, alpha=2), real(5), real(3, 4), real(4, 5))
    each("baddbmm", lambda c, a, b: torch.baddbmm(c, a, b), real(2, 3, 5), real(2, 3, 4), real(2, 4, 5))
    each("outer", lambda a, b: (torch.outer(a, b), torch.linalg.cross(a[:3], b[:3]), torch.kron(a[:2], b[:2])), real(5), real(7), dynamic=False)
    each("bilinear", lambda a, b, w: F.bilinear(a, b, w), real(3, 4), real(3, 5), real(2, 4, 5))
    for text, sizes in {"bij,bjk->bik": ((2, 3, 4), (2, 4, 5)), "bhid,bhjd->bhij": ((2, 2, 3, 4), (2, 2, 5, 4)), "ij,kj->": ((3, 4), (2, 4)),
                        "abc,cd->bad": ((2, 3, 4), (4, 5)), "i,j->ij": ((3,), (4,)), "bnd,hde->bhne": ((2, 3, 4), (2, 4, 5)),
                        "ijk,ijk->k": ((2, 3, 4), (2, 3, 4)), "bchw,hkc->bkhw": ((1, 3, 2, 4), (2, 5, 3))}.items():
        each(f"einsum-{text.replace(',', '_').replace('->', '=')}", lambda a, b, t=text: torch.einsum(t, a, b), *(real(*s) for s in sizes))

    def attend(**named):
        return lambda q, k, v, *mask: F.scaled_dot_product_attention(q, k, v, *mask, **named)

    q, kv = real(2, 4, 5, 8), real(2, 4, 7, 8)
    each("attention", attend(), q, kv, kv, types=every)
    each("attention-causal", attend(is_causal=True), q, q, q, types=every)
    each("attention-causal-cross", attend(is_causal=True), q, kv, kv)
    each("attention-scale", attend(scale=0.3), q, kv, kv)
    each("attention-mask", attend(), q, kv, kv, real(5, 7), types=every)
    each("attention-bool", attend(), q, kv, kv, lambda d: torch.ones(2, 1, 5, 7).tril(2).bool())
    each("attention-all-masked", attend(), q, kv, kv, lambda d: torch.arange(5)[:, None].expand(5, 7) > 1)
    each("attention-groups", attend(enable_gqa=True), q, real(2, 2, 7, 8), real(2, 2, 7, 8), dynamic=False)
    each("attention-wide-value", attend(), q, kv, real(2, 4, 7, 6))
    each("attention-3d", attend(), real(3, 5, 8), real(3, 6, 8), real(3, 6, 8))
    each("attention-5d", attend(), real(2, 2, 2, 5, 8), real(2, 2, 2, 6, 8), real(2, 2, 2, 6, 8), dynamic=False)
    each("attention-long", attend(is_causal=True), real(1, 2, 130, 16), real(1, 2, 130, 16), real(1, 2, 130, 16))

    each("cond", lambda p, x: torch.cond(p.sum() > 0, lambda x: x * 2, lambda x: x.relu() - 1, (x,)), real(3), real(3, 4), types=("f32",))
    each("cond-nested", lambda x: torch.cond(x.sum() > 0, lambda x: torch.cond(x.max() > 1, lambda x: x + 1, lambda x: x - 1, (x,)), lambda x: -x, (x,)), real(3, 4), types=("f32",))

    def doubling(x):
        from torch._higher_order_ops import while_loop

        return while_loop(lambda i, x: (i < 4) & (x.sum() < 1e3), lambda i, x: (i + 1, x * 2 + i), (torch.tensor(0), x))

    each("while", doubling, real(3, 4), types=("f32",))
    each("losses", lambda x, y: (F.mse_loss(x, y), F.l1_loss(x, y), F.smooth_l1_loss(x, y), F.huber_loss(x, y), F.binary_cross_entropy_with_logits(x, y)), real(3, 4), positive(3, 4))
    each("cross-entropy", lambda x, i: F.cross_entropy(x, i.long()), real(4, 5), whole(0, 5, 4), types=("f32",))
    each("dropout", lambda x: F.dropout(x, 0.5, training=False), real(3, 4))
    each("fft-like", lambda x: torch.stft(x, 16, 4, window=torch.hann_window(16), return_complex=True).abs(), real(2, 64), types=("f32",), dynamic=False)
    each("mel", lambda x, m: (m @ x.square()).clamp(min=1e-5).log10(), real(9, 12), positive(4, 9))

#!/usr/bin/env python3
"""Writes small cases of single ops that the conformance corpus lacks: computed compressed data, narrow
and 8-bit element types, 64-bit casts, float ranges, many chosen experts.

    python op_cases.py OUT_DIR [PART_OF_A_NAME ...]
"""

import shutil
import sys
import tempfile
from pathlib import Path

import ml_dtypes
import numpy as np

import recording

RANDOM = np.random.default_rng(7)
CASES = {}  # name: (IR text, inputs of every step)


def int8(*shape):
    return RANDOM.integers(-128, 128, shape).astype(np.int8)


def floats(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


def graph(arguments, results, body, functions=""):
    """A module whose main has the arguments (name, type) and results (value, type)."""
    ins = ", ".join(f'%{n}: tensor<{t}> {{coreai.name = "{n}"}}' for n, t in arguments)
    outs = ", ".join(f'tensor<{t}> {{coreai.name = "o{i}"}}' for i, (_, t) in enumerate(results))
    values = ", ".join(v for v, _ in results)
    types = ", ".join(f"tensor<{t}>" for _, t in results)
    return (
        f"module {{\n{functions}\n coreai.graph @main({ins}) -> ({outs}) {{\n{body}\n"
        f" coreai.output {values} : {types}\n }}\n}}\n"
    )


# The composite as the converter writes it.
EXPERTS = """
  coreai.graph private noinline @gather_mm_00dc0e7d(%arg0: tensor<1x?x1x1x16xf16> {coreai.name = "lhs"}, %arg1: tensor<8x16x12xf16> {coreai.name = "rhs"}, %arg2: tensor<1x?x2xui16> {coreai.name = "rhs_indices"}) -> (tensor<1x?x2x1x12xf16> {coreai.name = "view_4"}) attributes {composite_decl = #coreai.composite_declaration<"gather_mm" = {input_names = ["lhs", "rhs", "rhs_indices"], op_attrs = {num_batch_axes = 0 : si64, version = 1 : si64}, output_names = ["output"]}>} {
    %0 = coreai.constant dense<12> : tensor<ui32>
    %1 = coreai.constant dense<16> : tensor<ui32>
    %2 = coreai.constant dense<2> : tensor<ui32>
    %3 = coreai.constant dense<1> : tensor<ui32>
    %4 = coreai.constant dense<[16, 12]> : tensor<2xui32>
    %5 = coreai.constant dense<2> : tensor<1xui32>
    %6 = coreai.constant dense<12> : tensor<1xsi32>
    %7 = coreai.constant dense<16> : tensor<1xsi32>
    %8 = coreai.constant dense<[1, 2]> : tensor<2xsi32>
    %9 = coreai.constant dense<0> : tensor<si32>
    %10 = coreai.constant dense<1> : tensor<2xui32>
    %11 = coreai.constant dense<2> : tensor<si32>
    %12 = coreai.constant dense<2> : tensor<1xsi32>
    %13 = coreai.constant dense<1> : tensor<1xsi32>
    %14 = coreai.get_shape %arg2 : tensor<1x?x2xui16> -> tensor<3xui32>
    %15 = coreai.cast %14 : tensor<3xui32> to tensor<3xsi32>
    %16 = coreai.slice %15, %13, %12, %13 : (tensor<3xsi32>, tensor<1xsi32>, tensor<1xsi32>, tensor<1xsi32>) -> tensor<1xsi32>
    %17 = coreai.cast %arg2 : tensor<1x?x2xui16> to tensor<1x?x2xsi32>
    %18 = coreai.decomposable.broadcasting_mul %16, %11 : (tensor<1xsi32>, tensor<si32>) -> tensor<1xsi32>
    %19 = coreai.reshape %17, %18 : (tensor<1x?x2xsi32>, tensor<1xsi32>) -> tensor<?xsi32>
    %20 = coreai.get_shape %19 : tensor<?xsi32> -> tensor<1xui32>
    %21 = coreai.concat %9, %20, %10 : (tensor<si32>, tensor<1xui32>, tensor<2xui32>) -> tensor<3xui32>
    %22 = coreai.reshape %17, %21 : (tensor<1x?x2xsi32>, tensor<3xui32>) -> tensor<?x?x?xsi32>
    %23 = coreai.broadcast_in_dims %22, %4, %8 : (tensor<?x?x?xsi32>, tensor<2xui32>, tensor<2xsi32>) -> tensor<?x16x12xsi32>
    %24 = coreai.gather_along_axis %arg1 at %23 along %9 : (tensor<8x16x12xf16>, tensor<?x16x12xsi32>, tensor<si32>) to tensor<?x16x12xf16>
    %25 = coreai.concat %9, %13, %16, %12, %7, %6 : (tensor<si32>, tensor<1xsi32>, tensor<1xsi32>, tensor<1xsi32>, tensor<1xsi32>, tensor<1xsi32>) -> tensor<5xsi32>
    %26 = coreai.reshape %24, %25 : (tensor<?x16x12xf16>, tensor<5xsi32>) -> tensor<1x?x2x16x12xf16>
    %27 = coreai.broadcast_in_dims %arg0, %5, %12 : (tensor<1x?x1x1x16xf16>, tensor<1xui32>, tensor<1xsi32>) -> tensor<1x?x2x1x16xf16>
    %28 = coreai.concat %9, %18, %13, %7 : (tensor<si32>, tensor<1xsi32>, tensor<1xsi32>, tensor<1xsi32>) -> tensor<3xsi32>
    %29 = coreai.reshape %27, %28 : (tensor<1x?x2x1x16xf16>, tensor<3xsi32>) -> tensor<?x1x16xf16>
    %30 = coreai.cast %16 : tensor<1xsi32> to tensor<1xui32>
    %31 = coreai.concat %9, %3, %30, %2, %1, %0 : (tensor<si32>, tensor<ui32>, tensor<1xui32>, tensor<ui32>, tensor<ui32>, tensor<ui32>) -> tensor<5xui32>
    %32 = coreai.broadcast_to %26, %31 : (tensor<1x?x2x16x12xf16>, tensor<5xui32>) -> tensor<1x?x2x16x12xf16>
    %33 = coreai.concat %9, %18, %7, %6 : (tensor<si32>, tensor<1xsi32>, tensor<1xsi32>, tensor<1xsi32>) -> tensor<3xsi32>
    %34 = coreai.reshape %32, %33 : (tensor<1x?x2x16x12xf16>, tensor<3xsi32>) -> tensor<?x16x12xf16>
    %35 = coreai.decomposable.broadcasting_batch_matmul %29, %34 : (tensor<?x1x16xf16>, tensor<?x16x12xf16>) -> tensor<?x1x12xf16>
    %36 = coreai.concat %9, %13, %16, %12, %13, %6 : (tensor<si32>, tensor<1xsi32>, tensor<1xsi32>, tensor<1xsi32>, tensor<1xsi32>, tensor<1xsi32>) -> tensor<5xsi32>
    %37 = coreai.reshape %35, %36 : (tensor<?x1x12xf16>, tensor<5xsi32>) -> tensor<1x?x2x1x12xf16>
    coreai.output %37 : tensor<1x?x2x1x12xf16>
  }
"""

CASES['int8-matmul'] = (graph([('x','3x5xsi8'),('y','5x4xsi8')],[('%1','3x4xsi8')],
 ' %1 = coreai.decomposable.broadcasting_batch_matmul %x, %y : (tensor<3x5xsi8>, tensor<5x4xsi8>) -> tensor<3x4xsi8>'), [dict(x=int8(3,5)//32,y=int8(5,4)//32)])
CASES['narrow-reduce'] = (graph([('x','3x9xsi16'),('u','3x9xui8')],[('%1','3x1xsi16'),('%2','3x1xsi16'),('%3','3x9xui8'),('%4','3x1xui8')],
 ''' %a = coreai.constant dense<1> : tensor<1xsi32>
 %d = coreai.constant dense<1> : tensor<ui32>
 %f = coreai.constant dense<false> : tensor<i1>
 %1 = coreai.reduce_sum %x, %a : (tensor<3x9xsi16>, tensor<1xsi32>) -> tensor<3x1xsi16>
 %2 = coreai.reduce_product %x, %a : (tensor<3x9xsi16>, tensor<1xsi32>) -> tensor<3x1xsi16>
 %3 = coreai.scan %u, %d, %f combiner = <sum> : (tensor<3x9xui8>, tensor<ui32>, tensor<i1>) -> tensor<3x9xui8>
 %4 = coreai.reduce_sum %u, %a : (tensor<3x9xui8>, tensor<1xsi32>) -> tensor<3x1xui8>'''), [dict(x=RANDOM.integers(-3,3,(3,9)).astype(np.int16),u=RANDOM.integers(0,25,(3,9)).astype(np.uint8))])
for e in ('f8E4M3FN','f8E5M2'):
    CASES[f'{e.lower()}-elementwise'] = (graph([('x','4x7xf32'),('y','4x7xf32')],[('%5','4x7xf32'),('%6','4x7xf32'),('%8','4x1xf32')],
 f''' %1 = coreai.cast %x : tensor<4x7xf32> to tensor<4x7x{e}>
 %2 = coreai.cast %y : tensor<4x7xf32> to tensor<4x7x{e}>
 %a = coreai.constant dense<1> : tensor<1xsi32>
 %3 = coreai.decomposable.broadcasting_mul %1, %2 : (tensor<4x7x{e}>, tensor<4x7x{e}>) -> tensor<4x7x{e}>
 %4 = coreai.decomposable.broadcasting_add %3, %1 : (tensor<4x7x{e}>, tensor<4x7x{e}>) -> tensor<4x7x{e}>
 %5 = coreai.cast %4 : tensor<4x7x{e}> to tensor<4x7xf32>
 %7 = coreai.silu %2 : (tensor<4x7x{e}>) -> tensor<4x7x{e}>
 %6 = coreai.cast %7 : tensor<4x7x{e}> to tensor<4x7xf32>
 %9 = coreai.reduce_sum %1, %a : (tensor<4x7x{e}>, tensor<1xsi32>) -> tensor<4x1x{e}>
 %8 = coreai.cast %9 : tensor<4x1x{e}> to tensor<4x1xf32>'''), [dict(x=floats(4,7)*3,y=floats(4,7)*3)])
q='tensor<5x6xf32>, tensor<6xf32>, tensor<6xsi8>, tensor<6xf32>, tensor<si32>'
CASES['quantize-axis'] = (graph([('x','5x6xf32')],[('%1','5x6xsi8'),('%2','5x6xf32')],
 f''' %s = coreai.constant dense<[0.1, 0.2, 0.05, 0.01, 0.3, 0.07]> : tensor<6xf32>
 %z = coreai.constant dense<[1, -2, 3, 100, 0, -7]> : tensor<6xsi8>
 %m = coreai.constant dense<[0.5, 0.0, -1.0, 0.25, 0.0, 0.125]> : tensor<6xf32>
 %a = coreai.constant dense<1> : tensor<si32>
 %1 = coreai.quantize %x, %s, %z, %m, %a : ({q}) -> tensor<5x6xsi8>
 %2 = coreai.dequantize %1, %s, %z, %m, %a : (tensor<5x6xsi8>, tensor<6xf32>, tensor<6xsi8>, tensor<6xf32>, tensor<si32>) -> tensor<5x6xf32>'''), [dict(x=floats(5,6)*3)])
CASES['dequantize-weight'] = (graph([('x','3x6xf32')],[('%2','3x5xf32')],
 f''' %w = coreai.constant dense<{[[int(v) for v in r] for r in int8(5,6)]}> : tensor<5x6xsi8>
 %s = coreai.constant dense<[0.1, 0.2, 0.05, 0.01, 0.3]> : tensor<5xf32>
 %z = coreai.constant dense<[1, -2, 3, 100, 0]> : tensor<5xsi8>
 %m = coreai.constant dense<[0.5, 0.0, -1.0, 0.25, 0.0]> : tensor<5xf32>
 %a = coreai.constant dense<0> : tensor<si32>
 %p = coreai.constant dense<[1, 0]> : tensor<2xui32>
 %1 = coreai.dequantize %w, %s, %z, %m, %a : (tensor<5x6xsi8>, tensor<5xf32>, tensor<5xsi8>, tensor<5xf32>, tensor<si32>) -> tensor<5x6xf32>
 %t = coreai.transpose %1, %p : (tensor<5x6xf32>, tensor<2xui32>) -> tensor<6x5xf32>
 %2 = coreai.decomposable.broadcasting_batch_matmul %x, %t : (tensor<3x6xf32>, tensor<6x5xf32>) -> tensor<3x5xf32>'''), [dict(x=floats(3,6))])
CASES['shift-scale-computed'] = (graph([('x','4x6xsi8'),('s','1x3xf32'),('z','1x3xsi8'),('m','1x3xf32')],[('%1','4x6xf32')],
 ' %1 = coreai.blockwise_shift_scale %x, %s, %z, %m : (tensor<4x6xsi8>, tensor<1x3xf32>, tensor<1x3xsi8>, tensor<1x3xf32>) -> tensor<4x6xf32>'), [dict(x=int8(4,6),s=floats(1,3),z=int8(1,3),m=floats(1,3))])
CASES['shift-scale-same-blocks'] = (graph([('x','4x6xsi8'),('s','2x3xf32'),('z','2x3xsi8'),('m','2x3xf32')],[('%1','4x6xf32')],
 ' %1 = coreai.blockwise_shift_scale %x, %s, %z, %m : (tensor<4x6xsi8>, tensor<2x3xf32>, tensor<2x3xsi8>, tensor<2x3xf32>) -> tensor<4x6xf32>'), [dict(x=int8(4,6),s=floats(2,3),z=int8(2,3),m=floats(2,3))])
CASES['fp8-weight'] = (graph([('x','3x6xf16')],[('%2','3x4xf16')],
 f''' %w = coreai.constant dense<{[[float(v) for v in r] for r in (floats(6,4)*4).astype(ml_dtypes.float8_e4m3fn).astype(np.float32)]}> : tensor<6x4xf8E4M3FN>
 %s = coreai.constant dense<[[0.1, 0.2, 0.05, 0.01]]> : tensor<1x4xf16>
 %z = coreai.constant dense<0.0> : tensor<1x4xf8E4M3FN>
 %m = coreai.constant dense<0.0> : tensor<1x4xf16>
 %1 = coreai.blockwise_shift_scale %w, %s, %z, %m : (tensor<6x4xf8E4M3FN>, tensor<1x4xf16>, tensor<1x4xf8E4M3FN>, tensor<1x4xf16>) -> tensor<6x4xf16>
 %2 = coreai.decomposable.broadcasting_batch_matmul %x, %1 : (tensor<3x6xf16>, tensor<6x4xf16>) -> tensor<3x4xf16>'''), [dict(x=floats(3,6).astype(np.float16))])
for axis, shape in ((0,'8x6'),(1,'4x12')):
    CASES[f'lut-computed-{axis}'] = (graph([('x','4x6xui8'),('t','2x1x16x2xf32')],[('%2',f'{shape}xf32')],
 f''' %a = coreai.constant dense<{axis}> : tensor<si16>
 %1 = coreai.cast %x : tensor<4x6xui8> to tensor<4x6xui4>
 %2 = coreai.lut_to_dense %1, %t, %a : (tensor<4x6xui4>, tensor<2x1x16x2xf32>, tensor<si16>) -> tensor<{shape}xf32>'''), [dict(x=RANDOM.integers(0,16,(4,6)).astype(np.uint8),t=floats(2,1,16,2))])
CASES['cast-through-64'] = (graph([('x','7xsi32')],[('%2','7xf32'),('%3','7xsi8'),('%4','7xui32')],
 ''' %1 = coreai.cast %x : tensor<7xsi32> to tensor<7xsi64>
 %2 = coreai.cast %1 : tensor<7xsi64> to tensor<7xf32>
 %3 = coreai.cast %1 : tensor<7xsi64> to tensor<7xsi8>
 %4 = coreai.cast %1 : tensor<7xsi64> to tensor<7xui32>'''), [dict(x=np.array([0,-1,300,-300,2**31-1,-2**31,16777217],np.int32))])
CASES['range-float'] = (graph([('x','?xf32')],[('%6','?xf32'),('%7','?xsi32')],
 ''' %a = coreai.constant dense<0.3> : tensor<f32>
 %b = coreai.constant dense<-1.1> : tensor<f32>
 %e = coreai.constant dense<> : tensor<0xui32>
 %two = coreai.constant dense<3> : tensor<si32>
 %one = coreai.constant dense<1> : tensor<si32>
 %3 = coreai.get_shape %x : tensor<?xf32> -> tensor<1xui32>
 %4 = coreai.cast %3 : tensor<1xui32> to tensor<1xsi32>
 %5 = coreai.reshape %4, %e : (tensor<1xsi32>, tensor<0xui32>) -> tensor<si32>
 %f = coreai.cast %5 : tensor<si32> to tensor<f32>
 %6 = coreai.range %b, %f, %a : (tensor<f32>, tensor<f32>, tensor<f32>) -> tensor<?xf32>
 %7 = coreai.range %one, %5, %two : (tensor<si32>, tensor<si32>, tensor<si32>) -> tensor<?xsi32>'''), [dict(x=floats(7)),dict(x=floats(12))])
CASES['tile'] = (graph([('x','1x3xf32'),('y','2x3x2xf32')],[('%1','4x3xf32'),('%2','2x6x4xf32')],
 ''' %r = coreai.constant dense<[4, 1]> : tensor<2xui32>
 %s = coreai.constant dense<[1, 2, 2]> : tensor<3xui32>
 %1 = coreai.tile %x, %r : (tensor<1x3xf32>, tensor<2xui32>) -> tensor<4x3xf32>
 %2 = coreai.tile %y, %s : (tensor<2x3x2xf32>, tensor<3xui32>) -> tensor<2x6x4xf32>'''), [dict(x=floats(1,3),y=floats(2,3,2))])
CASES['gather-16-bit'] = (graph([('x','5x4xf32'),('i','3x1xsi16'),('j','3x4xsi16')],[('%1','3x4xf32'),('%2','3x4xf32')],
 ''' %a = coreai.constant dense<-2> : tensor<si32>
 %1 = coreai.gather_nd %x at %i : (tensor<5x4xf32>, tensor<3x1xsi16>) to tensor<3x4xf32>
 %2 = coreai.gather_along_axis %x at %j along %a : (tensor<5x4xf32>, tensor<3x4xsi16>, tensor<si32>) to tensor<3x4xf32>'''), [dict(x=floats(5,4),i=np.array([[4],[-1],[0]],np.int16),j=RANDOM.integers(-5,5,(3,4)).astype(np.int16))])
CASES['split-scalar'] = (graph([('x','7x4xf32')],[('%1#0','3x4xf32'),('%1#1','3x4xf32'),('%1#2','1x4xf32')],
 ''' %s = coreai.constant dense<3> : tensor<ui32>
 %a = coreai.constant dense<-2> : tensor<si32>
 %1:3 = coreai.split %x, %s, %a : (tensor<7x4xf32>, tensor<ui32>, tensor<si32>) -> (tensor<3x4xf32>, tensor<3x4xf32>, tensor<1x4xf32>)'''), [dict(x=floats(7,4))])
CASES['experts'] = (graph([('x','1x?x1x1x16xf16'),('w','8x16x12xf16'),('i','1x?x2xui16')],[('%1','1x?x2x1x12xf16')],
 ' %1 = coreai.invoke @gather_mm_00dc0e7d(%x, %w, %i) : (tensor<1x?x1x1x16xf16>, tensor<8x16x12xf16>, tensor<1x?x2xui16>) -> tensor<1x?x2x1x12xf16>', EXPERTS),
 [dict(x=floats(1,t,1,1,16).astype(np.float16),w=floats(8,16,12).astype(np.float16),i=RANDOM.integers(0,8,(1,t,2)).astype(np.uint16)) for t in (24, 3, 1)])

CASES["quantization-statistics"] = (
    graph(
        [("x", "3x5xf32")],
        [("%1", "5xf32"), ("%2", "5xf32"), ("%3", "5xf32")],
        """ %r = coreai.constant dense<[-100.0, 100.0]> : tensor<2xf32>
 %a = coreai.constant dense<1> : tensor<si32>
 %1 = coreai.symmetric_quantization_statistics %x, %r, %a : (tensor<3x5xf32>, tensor<2xf32>, tensor<si32>) -> tensor<5xf32>
 %2, %3 = coreai.asymmetric_quantization_statistics %x, %r, %a : (tensor<3x5xf32>, tensor<2xf32>, tensor<si32>) -> (tensor<5xf32>, tensor<5xf32>)""",
    ),
    [dict(x=floats(3, 5))],
)


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    failed = []
    for name, (text, steps) in CASES.items():
        if sys.argv[2:] and not any(part in name for part in sys.argv[2:]):
            continue
        out = Path(sys.argv[1]) / name
        shutil.rmtree(out, ignore_errors=True)
        with tempfile.TemporaryDirectory() as folder:
            asset = Path(folder) / "model.aimodel"
            recording.author(text, asset)
            case = recording.record(
                asset, "main", steps, {}, out, id=name, source={"suite": "tests/oracle", "model": "op_cases.py"}
            )
        if not case["executed"]:
            failed.append(f"{name}: {case['error']}")
    sys.exit("\n".join(failed))


if __name__ == "__main__":
    main()

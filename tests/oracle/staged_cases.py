#!/usr/bin/env python3
"""Writes small cases of functions that are not one plan, recorded with Apple's CPU runtime.

    python staged_cases.py OUT_DIR [NAME…]

Loops and branches whose condition only the device knows, states inside them, sizes that depend on
data (also zero), 64-bit and complex values between ordinary ones.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

import recording

F32, I32 = np.float32, np.int32

# name: (IR text, steps of inputs, states)
CASES = {}


def case(name, text, steps, states=None):
    CASES[name] = (text, steps, states or {})


# Halves x while its sum is above a threshold: the host knows neither.
case("while-on-data", """
module {
  coreai.graph @main(%x: tensor<?x3xf32> {coreai.name = "x"}) -> (tensor<?x3xf32> {coreai.name = "y"}, tensor<si32> {coreai.name = "n"}) {
    %half = coreai.constant dense<5.000000e-01> : tensor<f32>
    %top = coreai.constant dense<4.000000e+00> : tensor<f32>
    %axes = coreai.constant dense<[0, 1]> : tensor<2xsi32>
    %none = coreai.constant dense<> : tensor<0xui32>
    %zero = coreai.constant dense<0> : tensor<si32>
    %one = coreai.constant dense<1> : tensor<si32>
    %r:2 = coreai.while %x, %zero {
    ^bb0(%a: tensor<?x3xf32>, %n: tensor<si32>):
      %s = coreai.reduce_sum %a, %axes : (tensor<?x3xf32>, tensor<2xsi32>) -> tensor<1x1xf32>
      %t = coreai.reshape %s, %none : (tensor<1x1xf32>, tensor<0xui32>) -> tensor<f32>
      %c = coreai.decomposable.broadcasting_greater %t, %top : (tensor<f32>, tensor<f32>) -> tensor<i1>
      coreai.condition %c, %a, %n : (tensor<i1>, tensor<?x3xf32>, tensor<si32>)
    } do {
    ^bb0(%a: tensor<?x3xf32>, %n: tensor<si32>):
      %b = coreai.decomposable.broadcasting_mul %a, %half : (tensor<?x3xf32>, tensor<f32>) -> tensor<?x3xf32>
      %m = coreai.decomposable.broadcasting_add %n, %one : (tensor<si32>, tensor<si32>) -> tensor<si32>
      coreai.yield %b, %m : tensor<?x3xf32>, tensor<si32>
    } : (tensor<?x3xf32>, tensor<si32>) -> (tensor<?x3xf32>, tensor<si32>)
    coreai.output %r#0, %r#1 : tensor<?x3xf32>, tensor<si32>
  }
}
""", [{"x": np.full((2, 3), 9, F32)}, {"x": np.full((5, 3), 0.1, F32)}, {"x": np.arange(12, dtype=F32).reshape(4, 3)}])

# A branch on data between a read and a write of a state. (A branch that yields a token cannot be
# authored: Apple's compiler ends with a segmentation fault.)
case("if-with-state", """
module {
  coreai.graph @main(%h: !coreai.handle<tensor<2x3xf32>> {MutableBuffers.buffer_mutation = "acc", coreai.name = "acc"}, %x: tensor<2x3xf32> {coreai.name = "x"}) -> (!coreai.token {coreai.name = "acc"}, tensor<2x3xf32> {coreai.name = "y"}) {
    %axes = coreai.constant dense<[0, 1]> : tensor<2xsi32>
    %none = coreai.constant dense<> : tensor<0xui32>
    %zero = coreai.constant dense<0.000000e+00> : tensor<f32>
    %t0 = coreai.create_token : !coreai.token
    %v, %t1 = coreai.read_handle %h, %t0 : (<tensor<2x3xf32>>, !coreai.token) -> (tensor<2x3xf32>, !coreai.token)
    %s = coreai.reduce_sum %x, %axes : (tensor<2x3xf32>, tensor<2xsi32>) -> tensor<1x1xf32>
    %t = coreai.reshape %s, %none : (tensor<1x1xf32>, tensor<0xui32>) -> tensor<f32>
    %c = coreai.decomposable.broadcasting_greater %t, %zero : (tensor<f32>, tensor<f32>) -> tensor<i1>
    %r = coreai.if %c {
      %w = coreai.decomposable.broadcasting_add %v, %x : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
      coreai.yield %w : tensor<2x3xf32>
    } else {
      coreai.yield %x : tensor<2x3xf32>
    } : tensor<i1> -> tensor<2x3xf32>
    %t2 = coreai.write_handle %h, %r, %t1 : (<tensor<2x3xf32>>, tensor<2x3xf32>, !coreai.token) -> !coreai.token
    %v2, %t3 = coreai.read_handle %h, %t2 : (<tensor<2x3xf32>>, !coreai.token) -> (tensor<2x3xf32>, !coreai.token)
    %y = coreai.decomposable.broadcasting_sub %v2, %v : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
    coreai.output %t3, %y : !coreai.token, tensor<2x3xf32>
  }
}
""", [{"x": np.full((2, 3), v, F32)} for v in (1, -2, 3)], {"acc": np.ones((2, 3), F32)})

# Rows of non-zero elements, gathered and summed: the size is the data's, at times zero.
case("non-zero-gather", """
module {
  coreai.graph @main(%m: tensor<6xf32> {coreai.name = "m"}, %x: tensor<6x4xf32> {coreai.name = "x"}) -> (tensor<?x4xf32> {coreai.name = "rows"}, tensor<1x4xf32> {coreai.name = "sum"}) {
    %axis = coreai.constant dense<0> : tensor<1xsi32>
    %two = coreai.constant dense<2.000000e+00> : tensor<f32>
    %i = coreai.non_zero %m : tensor<6xf32> -> tensor<?x1xsi32>
    %g = coreai.gather_nd %x at %i : (tensor<6x4xf32>, tensor<?x1xsi32>) to tensor<?x4xf32>
    %d = coreai.decomposable.broadcasting_mul %g, %two : (tensor<?x4xf32>, tensor<f32>) -> tensor<?x4xf32>
    %s = coreai.reduce_sum %d, %axis : (tensor<?x4xf32>, tensor<1xsi32>) -> tensor<1x4xf32>
    coreai.output %d, %s : tensor<?x4xf32>, tensor<1x4xf32>
  }
}
""", [{"m": np.array(m, F32), "x": np.arange(24, dtype=F32).reshape(6, 4)} for m in ([1, 0, 2, 0, 0, 3], [0, 0, 0, 0, 0, 5], [1] * 6, [0] * 6)])

# int64 and float64 between float32 values.
case("wide-types", """
module {
  coreai.graph @main(%x: tensor<4xf32> {coreai.name = "x"}, %k: tensor<4xsi64> {coreai.name = "k"}) -> (tensor<4xsi64> {coreai.name = "a"}, tensor<4xf32> {coreai.name = "b"}, tensor<4xf64> {coreai.name = "c"}) {
    %big = coreai.constant dense<[3000000000, -1, 4611686018427387904, 7]> : tensor<4xsi64>
    %tiny = coreai.constant dense<1.000000e-12> : tensor<f64>
    %two = coreai.constant dense<2.000000e+00> : tensor<f32>
    %a = coreai.decomposable.broadcasting_mul %k, %big : (tensor<4xsi64>, tensor<4xsi64>) -> tensor<4xsi64>
    %y = coreai.decomposable.broadcasting_mul %x, %two : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
    %d = coreai.cast %y : tensor<4xf32> to tensor<4xf64>
    %c = coreai.decomposable.broadcasting_add %d, %tiny : (tensor<4xf64>, tensor<f64>) -> tensor<4xf64>
    %e = coreai.cast %c : tensor<4xf64> to tensor<4xf32>
    %n = coreai.cast %a : tensor<4xsi64> to tensor<4xf32>
    %b = coreai.decomposable.broadcasting_add %e, %n : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
    coreai.output %a, %b, %c : tensor<4xsi64>, tensor<4xf32>, tensor<4xf64>
  }
}
""", [{"x": np.array([0.5, -1, 3, 0], F32), "k": np.array([1, -5, 3, 2**40], np.int64)}])

# A branch inside a loop; the loop's bound is an input.
case("if-in-while", """
module {
  coreai.graph @main(%x: tensor<3xf32> {coreai.name = "x"}, %n: tensor<si32> {coreai.name = "n"}) -> (tensor<3xf32> {coreai.name = "y"}) {
    %zero = coreai.constant dense<0> : tensor<si32>
    %one = coreai.constant dense<1> : tensor<si32>
    %ten = coreai.constant dense<1.000000e+01> : tensor<f32>
    %axes = coreai.constant dense<0> : tensor<1xsi32>
    %none = coreai.constant dense<> : tensor<0xui32>
    %r:2 = coreai.while %zero, %x {
    ^bb0(%i: tensor<si32>, %a: tensor<3xf32>):
      %c = coreai.decomposable.broadcasting_greater %n, %i : (tensor<si32>, tensor<si32>) -> tensor<i1>
      coreai.condition %c, %i, %a : (tensor<i1>, tensor<si32>, tensor<3xf32>)
    } do {
    ^bb0(%i: tensor<si32>, %a: tensor<3xf32>):
      %j = coreai.decomposable.broadcasting_add %i, %one : (tensor<si32>, tensor<si32>) -> tensor<si32>
      %m = coreai.reduce_max %a, %axes : (tensor<3xf32>, tensor<1xsi32>) -> tensor<1xf32>
      %t = coreai.reshape %m, %none : (tensor<1xf32>, tensor<0xui32>) -> tensor<f32>
      %c = coreai.decomposable.broadcasting_greater %t, %ten : (tensor<f32>, tensor<f32>) -> tensor<i1>
      %b = coreai.if %c {
        %d = coreai.decomposable.broadcasting_sub %a, %ten : (tensor<3xf32>, tensor<f32>) -> tensor<3xf32>
        coreai.yield %d : tensor<3xf32>
      } else {
        %d = coreai.decomposable.broadcasting_add %a, %x : (tensor<3xf32>, tensor<3xf32>) -> tensor<3xf32>
        coreai.yield %d : tensor<3xf32>
      } : tensor<i1> -> tensor<3xf32>
      coreai.yield %j, %b : tensor<si32>, tensor<3xf32>
    } : (tensor<si32>, tensor<3xf32>) -> (tensor<si32>, tensor<3xf32>)
    coreai.output %r#1 : tensor<3xf32>
  }
}
""", [{"x": np.array([1, 2, 4], F32), "n": np.array(n, I32)} for n in (0, 1, 7)])

# A shape computed from data: the length of the result is an element of an input tensor's maximum.
case("size-from-data", """
module {
  coreai.graph @main(%k: tensor<20xsi32> {coreai.name = "k"}, %x: tensor<1xf32> {coreai.name = "x"}) -> (tensor<?xf32> {coreai.name = "y"}) {
    %axes = coreai.constant dense<0> : tensor<1xsi32>
    %m = coreai.reduce_max %k, %axes : (tensor<20xsi32>, tensor<1xsi32>) -> tensor<1xsi32>
    %u = coreai.cast %m : tensor<1xsi32> to tensor<1xui32>
    %b = coreai.broadcast_to %x, %u : (tensor<1xf32>, tensor<1xui32>) -> tensor<?xf32>
    %y = coreai.decomposable.broadcasting_add %b, %x : (tensor<?xf32>, tensor<1xf32>) -> tensor<?xf32>
    coreai.output %y : tensor<?xf32>
  }
}
""", [{"k": np.arange(20, dtype=I32) * n, "x": np.array([1.5], F32)} for n in (1, 3)])


# A function that only Apple's GPUs can run beside one that runs everywhere: an asset without recorded outputs.
PARTLY_REFUSED = """
module {
  coreai.graph @main(%x: tensor<3xf32> {coreai.name = "x"}) -> (tensor<3xf32> {coreai.name = "y"}) {
    %y = coreai.decomposable.broadcasting_add %x, %x : (tensor<3xf32>, tensor<3xf32>) -> tensor<3xf32>
    coreai.output %y : tensor<3xf32>
  }
  coreai.graph @strange(%x: tensor<4xf16> {coreai.name = "x"}) -> (tensor<4xf16> {coreai.name = "y"}) {
    %t = coreai.constant dense<1> : tensor<3xui32>
    %n = coreai.constant dense<4> : tensor<1xui32>
    %b = coreaix.copy_with_constraints(%x) : (tensor<4xf16>) -> tensor<4xf16, #coreaix.hw_constraints<MTLBuffer, alignments: [1x1], interleave: [1]>>
    %k = coreai.metal4_kernel kernel_args(%b), threads_per_grid %t, threads_per_thread_group %t, result_shapes(%n) {kernel_name = "same", kernel_source = "[[kernel]] void same() {}"} : (tensor<4xf16, #coreaix.hw_constraints<MTLBuffer, alignments: [1x1], interleave: [1]>>, tensor<3xui32>, tensor<3xui32>, tensor<1xui32>) -> tensor<4xf16, #coreaix.hw_constraints<MTLBuffer, alignments: [1x1], interleave: [1]>>
    %y = coreaix.copy_discarding_constraints(%k) : (tensor<4xf16, #coreaix.hw_constraints<MTLBuffer, alignments: [1x1], interleave: [1]>>) -> tensor<4xf16>
    coreai.output %y : tensor<4xf16>
  }
}
"""


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    wanted = sys.argv[2:] or [*CASES, "partly-refused"]
    for name in wanted:
        if name == "partly-refused":
            recording.author(PARTLY_REFUSED, Path(sys.argv[1]) / "functions" / f"{name}.aimodel")
            continue
        text, steps, states = CASES[name]
        with tempfile.TemporaryDirectory() as folder:
            asset = Path(folder) / "model.aimodel"
            try:
                recording.author(text, asset)
                recorded = recording.record(
                    asset, "main", steps, states, Path(sys.argv[1]) / f"staged-{name}",
                    id=f"staged-{name}", source={"suite": "tests/oracle", "model": "staged_cases.py"},
                    tags=["staged"],
                )
                print(name, recorded["error"] or "recorded")
            except RuntimeError as error:
                print(name, "cannot be authored:", str(error)[:600])


if __name__ == "__main__":
    main()

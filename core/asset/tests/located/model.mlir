module {
  coreai.graph @main(%arg0: tensor<2x3xf32> {coreai.name = "x"} loc("/Users/me/a.py":1:2)) -> (tensor<2x3xf32>) {
    %0 = coreai.add %arg0, %arg0 : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32> loc("/Users/me/a.py":10:3)
    %2 = coreai.add %0, %arg0 : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32> loc(fused["/Users/me/a.py":10:3, "/Users/me/b.py":20:3])
    %3 = coreai.add %2, %0 : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32> loc(fused<"/Users/me/meta">["/Users/me/c.py":10:3])
    coreai.output %3 : tensor<2x3xf32> loc(unknown)
  } loc(unknown)
} loc(unknown)

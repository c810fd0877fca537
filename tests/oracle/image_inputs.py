#!/usr/bin/env python3
"""Writes assets whose input is an image. (Apple's runtime on Linux cannot run them: it has no CoreVideo.)

    python image_inputs.py OUT_DIR
"""

import sys
from pathlib import Path

import recording

# name: (image type, extents of the tensor that its bytes make)
FORMATS = {
    "bgra": ('!coreai.image<<"BGRA"> x 4 x 6>', "4x6x4"),
    "rgb": ("!coreai.image<<24> x 4 x 6>", "4x6x3"),
    "y420": ('!coreai.image<<"y420"> x 4 x 6>', "36"),
}

TEXT = """
module {
  coreai.graph @main(%%i: %(image)s {coreai.name = "image"}) -> (tensor<%(shape)sxf32> {coreai.name = "y"}) {
    %%t = coreai.image_to_tensor %%i : %(image)s -> tensor<%(shape)sxui8>
    %%f = coreai.cast %%t : tensor<%(shape)sxui8> to tensor<%(shape)sxf32>
    coreai.output %%f : tensor<%(shape)sxf32>
  }
}
"""


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for name, (image, shape) in FORMATS.items():
        recording.author(TEXT % {"image": image, "shape": shape}, Path(sys.argv[1]) / f"{name}.aimodel")


if __name__ == "__main__":
    main()

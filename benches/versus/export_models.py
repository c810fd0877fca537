#!/usr/bin/env python3
"""Exports models with seeded random weights as ONNX and as `.aimodel`.

    python export_models.py OUT_DIR [NAME …]

Writes OUT_DIR/NAME.onnx and OUT_DIR/NAME.aimodel for every model of MODELS, in evaluation mode, for one
image of 224 x 224. Nothing is downloaded: the figures of random weights are those of trained ones.
"""

import argparse
import shutil
import sys
from pathlib import Path

import torch
import torchvision
from coreai_torch import TorchConverter, get_decomp_table

SEED = 20
OPSET = 18


class Product(torch.nn.Module):
    def forward(self, a, b):
        return a @ b


def image():
    return (torch.rand(1, 3, 224, 224) * 2 - 1,)


def squares(size):
    return tuple(torch.rand(size, size) * 2 - 1 for _ in range(2))


MODELS = {
    "matmul1024": (Product, lambda: squares(1024)),
    "resnet50": (torchvision.models.resnet50, image),
    "mobilenet_v2": (torchvision.models.mobilenet_v2, image),
    "vit_b_16": (torchvision.models.vit_b_16, image),
}


def randomize(model):
    """Statistics as training leaves them, so that normalizations are more than copies, and no zeros."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.1)
        elif isinstance(module, torch.nn.Linear) and not module.weight.any():
            module.weight.data.normal_(0, 0.02)


def export(name, out):
    """Writes the two files of a model; returns the model."""
    build, inputs = MODELS[name]
    torch.manual_seed(SEED)
    model = build().eval()
    randomize(model)
    example = inputs()

    names = [f"x{i}" for i in range(len(example))]
    torch.onnx.export(
        model, example, out / f"{name}.onnx", opset_version=OPSET, input_names=names,
        output_names=["y"], external_data=False, dynamo=True, verbose=False,
    )  # fmt: skip

    program = torch.export.export(model, args=example).run_decompositions(get_decomp_table())
    converted = TorchConverter().add_exported_program(program).to_coreai()
    asset = out / f"{name}.aimodel"
    shutil.rmtree(asset, ignore_errors=True)
    converted.save_asset(asset)
    print(f"{name}: {asset}")
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MODELS))
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in MODELS]
    if unknown:
        sys.exit(f"no model {', '.join(unknown)}; there are {', '.join(MODELS)}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        for name in arguments.names or MODELS:
            export(name, arguments.out)


if __name__ == "__main__":
    main()

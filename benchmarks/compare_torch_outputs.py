"""Gives torchvision's, timm's and our networks the same random weights and images, and compares outputs.

    python benchmarks/compare_torch_outputs.py --torch-python /path/to/other/environment/bin/python

Run it with the interpreter that has cnntrain. The other environment needs
`pip install torch torchvision timm`; the frameworks run in processes of their own and exchange .npz files.
Exits with 1 if any logit differs by more than 1e-4 of the largest.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

# Ours, with its settings, and whose network it is compared with.
NETWORKS = {
    "resnet18": ({"padding": "symmetric"}, "torchvision"),
    "resnet34": ({"padding": "symmetric"}, "torchvision"),
    "resnet50": ({"padding": "symmetric"}, "torchvision"),
    "vgg16": ({}, "torchvision"),
    "se_resnet50": ({"padding": "symmetric"}, "timm"),
}
TOLERANCE = 1e-4


def write_torch_side(name: str, path: Path) -> None:
    """Saves weights, two images (channels first) and logits of a PyTorch network."""
    import torch

    torch.manual_seed(0)
    if NETWORKS[name][1] == "timm":
        import timm

        network = timm.create_model(name.replace("_", ""), num_classes=1000)
    else:
        import torchvision

        network = torchvision.models.get_model(name, weights=None)
    network.eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # as if trained, so that every value matters
            torch.nn.init.uniform_(module.weight, 0.5, 1.0)
            torch.nn.init.normal_(module.bias, std=0.1)
            torch.nn.init.normal_(module.running_mean, std=0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    images = torch.rand(2, 3, 224, 224)
    with torch.inference_mode():
        logits = network(images)
    arrays = {f"weight/{key}": value.numpy() for key, value in network.state_dict().items()}
    np.savez(path, images=images.numpy(), logits=logits.numpy(), **arrays)


def our_layer_of(torch_layer: str) -> str:
    """Our name for a layer of torchvision's ResNets or timm's SE-ResNet-50."""
    if torch_layer in ("conv1", "bn1", "fc"):
        return {"conv1": "conv1_conv", "bn1": "conv1_batchnorm", "fc": "class"}[torch_layer]
    found = re.fullmatch(r"layer(\d)\.(\d+)\.(.+)", torch_layer)
    if found is None:
        raise KeyError(torch_layer)
    stage, unit, part = int(found[1]) + 1, int(found[2]) + 1, found[3]
    parts = {
        "downsample.0": "shortcut_conv",
        "downsample.1": "shortcut_batchnorm",
        "se.fc1": "se_squeeze",
        "se.fc2": "se_excite",
    }
    part = parts.get(part) or re.sub(r"bn(\d)", r"\1_batchnorm", re.sub(r"conv(\d)", r"\1_conv", part))
    return f"conv{stage}_{unit}_{part}"


def layer_weights(torch_weights: dict[str, np.ndarray], layer: str) -> list[np.ndarray]:
    """A PyTorch layer's weights in the order and with the axes of Keras."""
    names = ("weight", "bias", "running_mean", "running_var")
    return [torch_weights[f"{layer}.{name}"] for name in names if f"{layer}.{name}" in torch_weights]


def in_keras_axes(weights: list[np.ndarray], wanted: list[tuple[int, ...]]) -> list[np.ndarray]:
    """Convolutions (out, in, height, width) as (height, width, in, out), dense layers (out, in) as (in, out).

    A dense layer on flattened maps of 7×7 is reordered too: PyTorch flattens the channels first.
    """
    kernel = weights[0]
    if kernel.ndim == 2 and kernel.shape[1] == 512 * 7 * 7:
        kernel = kernel.reshape(-1, 512, 7, 7)
    if kernel.ndim == 4:
        kernel = kernel.transpose(2, 3, 1, 0)
    elif kernel.ndim == 2:
        kernel = kernel.T
    return [kernel.reshape(wanted[0]), *weights[1:]]


def our_logits(name: str, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Our network's logits with PyTorch's weights and images."""
    import keras

    from cnntrain.models import MODELS

    network = MODELS[name](**NETWORKS[name][0]).build((224, 224, 3), 1000)
    torch_weights = {key.removeprefix("weight/"): value for key, value in arrays.items() if "weight/" in key}
    torch_layers = list(dict.fromkeys(key.rpartition(".")[0] for key in torch_weights))
    if name.startswith("vgg"):  # a plain chain: the same layers in the same order
        ours = [layer for layer in network.layers if layer.weights]
    else:
        ours = [network.get_layer(our_layer_of(layer)) for layer in torch_layers]
    filled = {layer.name for layer in ours}
    missing = [layer.name for layer in network.layers if layer.weights and layer.name not in filled]
    if missing:
        raise ValueError(f"{name}: layers without a counterpart: {missing}")
    for layer, torch_layer in zip(ours, torch_layers, strict=True):
        wanted = [tuple(weight.shape) for weight in layer.weights]
        layer.set_weights(in_keras_axes(layer_weights(torch_weights, torch_layer), wanted))
    top = network.get_layer("class")
    features = keras.Model(network.input, top.input).predict(
        arrays["images"].transpose(0, 2, 3, 1), verbose=0
    )
    kernel, bias = top.get_weights()
    return features @ kernel + bias


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--torch-python", default=sys.executable, help="an interpreter that has PyTorch")
    parser.add_argument("--write-torch-side", nargs=2, metavar=("NAME", "FILE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write_torch_side:
        name, path = options.write_torch_side
        write_torch_side(name, Path(path))
        return 0
    worst = 0.0
    print(
        "| network | compared with | largest logit | largest difference | relative |\n|---|---|---|---|---|"
    )
    for name, (_, library) in NETWORKS.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "torch.npz"
            subprocess.run(
                [options.torch_python, __file__, "--write-torch-side", name, str(path)], check=True
            )
            arrays = dict(np.load(path))
        theirs = arrays["logits"]
        difference = float(np.abs(our_logits(name, arrays) - theirs).max())
        scale = float(np.abs(theirs).max())
        worst = max(worst, difference / scale)
        print(
            f"| {name} | {library} | {scale:.3g} | {difference:.1e} | {difference / scale:.1e} |", flush=True
        )
    return int(worst > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())

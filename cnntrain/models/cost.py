"""What a network costs to run."""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


def multiply_adds(layer: "keras.layers.Layer") -> int:
    """Those of a convolution or a dense layer for one image, 0 of any other.

    Each weight of a kernel is used once at each place of the output, whatever the groups and strides.
    """
    kernels = [weight for weight in layer.weights if weight.name.endswith("kernel")]
    if not kernels:
        return 0
    places = math.prod(layer.output.shape[1:-1])
    return places * sum(math.prod(kernel.shape) for kernel in kernels)

"""What the report shows about the network itself: its layers, and where it looks (Grad-CAM)."""

import base64
import dataclasses
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cnntrain.data.examples import Examples
from cnntrain.data.input_spec import NetworkInput

if TYPE_CHECKING:
    import keras

SMALLEST_LOGARITHM = 1e-12
HEAT_COLOR = (255, 40, 0)
SIDE = 96
AT_ONCE = 4  # images whose activations, in all layers, are held in memory at once


@dataclass(frozen=True)
class LayerRow:
    """A layer in the page's table; its output is (height, width, maps) or (units,)."""

    name: str
    kind: str
    output: str
    parameters: int
    multiply_adds: int


def layer_rows(model: "keras.Model") -> list[LayerRow]:
    """The layers of a network, from the image to the prediction."""
    from cnntrain.models.cost import multiply_adds

    return [
        LayerRow(
            name=layer.name,
            kind=type(layer).__name__,
            output="×".join(map(str, layer.output.shape[1:])),
            parameters=layer.count_params(),
            multiply_adds=multiply_adds(layer),
        )
        for layer in model.layers
    ]


def last_map_layer(model: "keras.Model") -> "keras.layers.Layer | None":
    """The last layer before the prediction with a spatial output, (batch, height, width, maps)."""
    import keras

    from cnntrain.evaluation.loop import named

    classifier = keras.Model(model.inputs, named(model.output)["class"])  # without auxiliary outputs
    for layer in reversed(classifier.layers):
        shapes = [tensor.shape for tensor in keras.tree.flatten(layer.output)]
        if len(shapes) == 1 and len(shapes[0]) == 4 and shapes[0][1] * shapes[0][2] > 1:
            return None if isinstance(layer, keras.layers.InputLayer) else layer
    return None


def heat_maps(model: "keras.Model", images: np.ndarray, predictions: np.ndarray) -> np.ndarray | None:
    """Grad-CAM (Selvaraju et al., 2017): how much each position supports the prediction, from 0 to 1.

    Preprocessed images (n, height, width, channels) and class numbers (n,) in, (n, rows, columns) out; None for a
    network without feature maps.
    """
    import keras
    import tensorflow as tf

    from cnntrain.evaluation.loop import named

    layer = last_map_layer(model)
    if layer is None:
        return None
    network = keras.Model(model.inputs, [layer.output, named(model.output)["class"]])
    watched = tf.convert_to_tensor(images)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(watched)
        maps, probabilities = network(watched, training=False)
        chosen = tf.gather(probabilities, predictions, batch_dims=1)
        evidence = tf.math.log(tf.maximum(chosen, SMALLEST_LOGARITHM))
    gradients = tape.gradient(evidence, maps)
    maps, gradients = tf.cast(maps, tf.float32), tf.cast(gradients, tf.float32)
    weights = tf.reduce_mean(gradients, axis=(1, 2), keepdims=True)
    heat = tf.nn.relu(tf.reduce_sum(weights * maps, axis=-1))
    return (heat / (tf.reduce_max(heat, axis=(1, 2), keepdims=True) + keras.config.epsilon())).numpy()


def heat_pictures(
    model: "keras.Model", examples: Examples, predictions: np.ndarray, network_input: NetworkInput
) -> list[str]:
    """Data URIs of each example as the network saw it, overlaid with the prediction's heat map; none without maps."""
    from cnntrain.data.pipeline import Batches
    from cnntrain.data.preprocess import preprocess

    unscaled = dataclasses.replace(network_input, preprocess="raw")
    images, *_ = next(iter(Batches(examples, unscaled, batch_size=len(examples)).epoch()))
    prepared = preprocess(images, network_input.preprocess).numpy()
    parts = [slice(first, first + AT_ONCE) for first in range(0, len(prepared), AT_ONCE)]
    found = [heat_maps(model, prepared[part], predictions[part]) for part in parts]
    heats = [heat for part in found if part is not None for heat in part]
    if not heats:
        return []
    seen = np.clip(images.numpy(), 0, 255).astype(np.uint8)
    return [overlaid(pixels, heat) for pixels, heat in zip(seen, heats, strict=True)]


def overlaid(pixels: np.ndarray, heat: np.ndarray) -> str:
    """uint8 pixels (height, width, channels) under a heat map (rows, columns), as the data URI of a JPEG."""
    from PIL import Image

    image = Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).convert("RGB")
    size = (SIDE, max(1, round(SIDE * image.height / image.width)))
    image = image.resize(size)
    alpha = Image.fromarray((heat * 160).astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
    image.paste(Image.new("RGB", size, HEAT_COLOR), mask=alpha)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"

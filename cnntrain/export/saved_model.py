"""TensorFlow's SavedModel: the run's own preprocessing before the network, for pixels and for files."""

from pathlib import Path

import tensorflow as tf

from cnntrain.data.image_files.decode import upright
from cnntrain.data.image_files.headers import has_alpha, orientation_of
from cnntrain.data.input_spec import Color
from cnntrain.data.pipeline import with_channels
from cnntrain.data.preprocess import preprocess
from cnntrain.data.resize import resize
from cnntrain.export.serving import Serving

PNG = b"\x89PNG\r\n\x1a\n"


class ServingModule(tf.Module):
    """The contents of a SavedModel: the network, its classes, and a function for each signature."""

    def __init__(self, serving: Serving):
        super().__init__()
        self.serving = serving
        self.variables_of_network = [variable.value for variable in serving.network.variables]
        self.names = tf.constant(serving.class_names)

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, None], tf.uint8, name="images")])
    def from_pixels(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Images (batch, height, width, 1 or 3) of one size."""
        channels = tf.shape(images)[3]
        known = tf.debugging.Assert((channels == 1) | (channels == 3), ["expected 1 or 3 channels; received", channels])
        with tf.control_dependencies([known]):
            color = tf.gather(images, tf.minimum(tf.range(3), channels - 1), axis=3)
        return self.predictions(self.at_size(tf.ensure_shape(color, (None, None, None, 3))), tf.shape(images)[1:3])

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="files")])
    def from_files(self, files: tf.Tensor) -> dict[str, tf.Tensor]:
        """The contents of JPEG and PNG files (batch,)."""
        specs = tf.TensorSpec(self.serving.network_input.shape, tf.float32), tf.TensorSpec([2], tf.int32)
        return self.predictions(*tf.map_fn(self.read, files, fn_output_signature=specs))

    @tf.function(input_signature=[])
    def class_names(self) -> dict[str, tf.Tensor]:
        """The class names, in the order of their probabilities."""
        return {"class_names": self.names}

    def read(self, file: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """One file's image at the network's size, upright and with transparency blended with the background; and its
        original size (2,)."""
        expected = self.serving.network_input
        image = read_file(file, expected.background)
        image = upright(image, orientation_of(file)) if expected.orientation == "exif" else image
        return self.at_size(image), tf.shape(image)[:2]

    def at_size(self, images: tf.Tensor) -> tf.Tensor:
        """Images (…, height, width, 3) at the network's size and channels, float32."""
        expected = self.serving.network_input
        images = resize(
            images,
            expected.image_size,
            policy=expected.resize,
            antialias=expected.antialias,
            crop_box=expected.crop_box,
        )
        images = tf.cast(with_channels(images, expected.channels), tf.float32)
        return tf.ensure_shape(images, (*images.shape[:-3], *expected.shape))

    def predictions(self, images: tf.Tensor, sizes: tf.Tensor) -> dict[str, tf.Tensor]:
        """The predictions for images at the network's size, given their original sizes, (2,) or (batch, 2), with the
        most probable class (batch,)."""
        outputs = self.serving.network(preprocess(images, self.serving.network_input.preprocess), training=False)
        predictions = self.serving.predictions(outputs, sizes)
        return {**predictions, "class": tf.gather(self.names, tf.argmax(predictions["probabilities"], axis=1))}


def read_file(file: tf.Tensor, background: Color) -> tf.Tensor:
    """uint8 pixels (height, width, 3) of a JPEG or PNG file, as stored."""
    is_jpeg = tf.io.is_jpeg(file)
    is_png = tf.strings.substr(file, 0, len(PNG)) == PNG
    known = tf.debugging.Assert(is_jpeg | is_png, ["expected a JPEG or PNG file"])
    with tf.control_dependencies([known]):
        return tf.cond(
            is_jpeg,
            lambda: tf.io.decode_jpeg(file, channels=3, dct_method="INTEGER_ACCURATE"),
            lambda: read_png(file, background),
        )


def read_png(file: tf.Tensor, background: Color) -> tf.Tensor:
    """uint8 pixels (height, width, 3) of a PNG; TensorFlow garbles some if asked for alpha that a PNG lacks."""
    return tf.cond(
        has_alpha(file),
        lambda: opaque(tf.io.decode_png(file, channels=4), background),
        lambda: tf.io.decode_png(file, channels=3),
    )


def opaque(image: tf.Tensor, background: Color) -> tf.Tensor:
    """RGB pixels of an image with alpha, blended with the background and rounded, as in Pillow."""
    color, alpha = tf.cast(image[..., :3], tf.int32), tf.cast(image[..., 3:], tf.int32)
    mixed = color * alpha + tf.constant(background) * (255 - alpha)
    return tf.cast((mixed + 127) // 255, tf.uint8)


def write(serving: Serving, path: Path) -> None:
    """Writes a SavedModel folder; its default signature takes pixels."""
    module = ServingModule(serving)
    signatures = {
        "serving_default": module.from_pixels,
        "files": module.from_files,
        "class_names": module.class_names,
    }
    tf.saved_model.save(module, str(path), signatures=signatures)

"""Files in an exported network: read as Pillow reads them, by TensorFlow alone."""

import numpy as np
import pytest
import tensorflow as tf

from cnntrain.data.image_files.decode import upright
from cnntrain.data.image_files.headers import orientation_of
from cnntrain.export.saved_model import read_file
from tests.data.image_files.difficult_files import GOOD, encoded, picture, with_orientation
from tests.data.image_files.test_examine import as_pillow_sees_it

LOW_BITS = {
    f"{bits} bits, {name}": encoded(picture().quantize(2**bits), "PNG", bits=bits, **options)
    for bits in (1, 2, 4)
    for name, options in (("opaque", {}), ("one color transparent", {"transparency": bytes([255, 100])}))
}
TAKEN = (".jpg", ".png")
FILES = {name: make() for name, make in GOOD.items() if name.endswith(TAKEN) and "lacks" not in name} | LOW_BITS


@pytest.fixture(scope="module")
def read():
    """A file's pixels, upright and on white, as a SavedModel reads it."""
    return tf.function(
        lambda file: upright(read_file(file, (255, 255, 255)), orientation_of(file)),
        input_signature=[tf.TensorSpec([], tf.string)],
    )


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # Pillow's, in this process, for the expected pixels
def test_files_are_read_as_pillow_reads_them(read):
    for name, data in FILES.items():
        difference = np.abs(read(data).numpy().astype(int) - as_pillow_sees_it(data))
        assert difference.max() <= (1 if name == "cmyk.jpg" else 0), name


@pytest.mark.parametrize("cut", [4, 30, 60, 100])
def test_exif_that_was_cut_or_changed_turns_nothing_and_ends(cut):
    for data in (with_orientation(6), with_orientation(6, "PNG")):
        whole = int(orientation_of(tf.constant(data)))
        assert whole == 6
        assert int(orientation_of(tf.constant(data[:cut]))) in (1, 6)
        assert int(orientation_of(tf.constant(data[:cut] + b"\xff" * 500))) in (1, 6)


def test_other_files_are_refused(read):
    with pytest.raises(tf.errors.InvalidArgumentError, match="expected a JPEG or PNG file"):
        read(GOOD["animated.webp"]())

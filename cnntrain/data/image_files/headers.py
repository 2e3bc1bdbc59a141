"""The headers of JPEG and PNG files, read with TensorFlow ops.

For exported networks, which take files and run without cnntrain: training and prediction use Pillow instead.
"""

import tensorflow as tf

ORIENTATION = 0x0112
APPLICATION_1 = 0xE1  # the JPEG segment that holds EXIF
END_OF_HEADERS = (0xD9, 0xDA)  # JPEG markers for the end of the file and the start of the pixels
EXIF_NAME = [ord(letter) for letter in "Exif\0\0"]
JPEG_BYTES_BEFORE_SEGMENTS = 2
PNG_BYTES_BEFORE_CHUNKS = 8
PNG_COLOR_TYPE, PNG_ALPHA = 25, 4  # the position of the color type in the file, and its bit for alpha


def orientation_of(encoded: tf.Tensor) -> tf.Tensor:
    """The EXIF orientation, int32 () from 1 to 8, of an encoded JPEG or PNG; 1 if there is no valid one.

    Source: Exif 2.32, 4.5 and 4.6, whose tags are those of TIFF 6.0; PNG's third edition for its eXIf chunk.
    """
    data = tf.io.decode_raw(encoded, tf.uint8)
    start = tf.cond(tf.io.is_jpeg(encoded), lambda: start_in_jpeg(data), lambda: start_in_png(data))
    return tf.cond(start > 0, lambda: orientation_from(data, start), lambda: tf.constant(1))


def start_in_jpeg(data: tf.Tensor) -> tf.Tensor:
    """Where the EXIF data begins in a JPEG; 0 if there is none."""

    def is_exif(position: tf.Tensor) -> tf.Tensor:
        name = tf.stack([number(data, position + 4 + place, 1) for place in range(len(EXIF_NAME))])
        return (number(data, position + 1, 1) == APPLICATION_1) & tf.reduce_all(name == EXIF_NAME)

    def goes_on(position: tf.Tensor) -> tf.Tensor:
        marker = number(data, position + 1, 1)
        header = (number(data, position, 1) == 0xFF) & tf.reduce_all(marker != END_OF_HEADERS)
        return (position + 10 < tf.size(data, tf.int64)) & header & ~is_exif(position)

    first = tf.constant(JPEG_BYTES_BEFORE_SEGMENTS, tf.int64)
    end = tf.while_loop(goes_on, lambda position: [position + 2 + number(data, position + 2, 2)], [first])[0]
    return tf.where(is_exif(end), end + 10, 0)


def start_in_png(data: tf.Tensor, name: bytes = b"eXIf") -> tf.Tensor:
    """Where the content of a PNG chunk begins; 0 if there is no such chunk."""

    def is_chunk(position: tf.Tensor) -> tf.Tensor:
        return number(data, position + 4, 4) == int.from_bytes(name, "big")

    def goes_on(position: tf.Tensor) -> tf.Tensor:
        return (position + 12 < tf.size(data, tf.int64)) & ~is_chunk(position)

    first = tf.constant(PNG_BYTES_BEFORE_CHUNKS, tf.int64)
    end = tf.while_loop(goes_on, lambda position: [position + 12 + number(data, position, 4)], [first])[0]
    return tf.where(is_chunk(end), end + 8, 0)


def has_alpha(encoded: tf.Tensor) -> tf.Tensor:
    """Whether a PNG () has an alpha channel or transparent colors."""
    data = tf.io.decode_raw(encoded, tf.uint8)
    channel = tf.bitwise.bitwise_and(number(data, tf.constant(PNG_COLOR_TYPE, tf.int64), 1), PNG_ALPHA) > 0
    return channel | (start_in_png(data, b"tRNS") > 0)


def orientation_from(data: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
    """The orientation in the first directory of the EXIF data."""
    little = number(data, start, 1) == ord("I")
    directory = start + number(data, start + 4, 4, little)
    most = tf.maximum(tf.size(data, tf.int64) - directory, 0) // 12
    entries = directory + 2 + 12 * tf.range(tf.minimum(number(data, directory, 2, little), most))
    values = number(data, entries + 8, 2, little)
    fitting = (number(data, entries, 2, little) == ORIENTATION) & (values >= 1) & (values <= 8)
    return tf.cast(tf.reduce_max(tf.concat([[1], tf.where(fitting, values, 1)], axis=0)), tf.int32)


def number(data: tf.Tensor, positions: tf.Tensor, size: int, little: tf.Tensor | bool = False) -> tf.Tensor:
    """Unsigned numbers of `size` bytes, int64, at positions (…); big-endian unless `little`.

    Positions past the end return what is at the end: checking the length is up to the caller.
    """
    last = tf.size(data, tf.int64) - 1
    places = tf.clip_by_value(positions[..., tf.newaxis] + tf.range(size, dtype=tf.int64), 0, last)
    low_first = tf.constant([256**place for place in range(size)], tf.int64)
    factors = tf.where(little, low_first, low_first[::-1])
    return tf.reduce_sum(tf.cast(tf.gather(data, places), tf.int64) * factors, axis=-1)

"""The last step before the network: pixel values scaled as its weights expect."""

import tensorflow as tf


def preprocess(images: tf.Tensor, mode: str) -> tf.Tensor:
    """float32 values from a batch of pixels from 0 to 255, in Keras's modes.

    `unit`: x/255; `tf`: -1 to 1; `torch`: standardized with ImageNet's mean and standard deviation;
    `caffe`: BGR with ImageNet's mean subtracted; `raw`: unchanged.
    """
    images = tf.cast(images, tf.float32)
    if mode == "raw":
        return images
    if mode == "unit":
        return images * (1 / 255)
    from keras.applications import imagenet_utils

    return imagenet_utils.preprocess_input(images, data_format="channels_last", mode=mode)

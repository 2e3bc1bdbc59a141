"""The last step before the network: pixel values as its weights expect them."""

import tensorflow as tf


def preprocess(images: tf.Tensor, mode: str) -> tf.Tensor:
    """float32 values of a batch of pixels from 0 to 255, by Keras's modes.

    `unit`: x/255; `tf`: -1 to 1; `torch`: standardized by ImageNet's mean and deviation;
    `caffe`: BGR with ImageNet's mean taken off; `raw`: as they are.
    """
    images = tf.cast(images, tf.float32)
    if mode == "raw":
        return images
    if mode == "unit":
        return images * (1 / 255)
    from keras.applications import imagenet_utils

    return imagenet_utils.preprocess_input(images, data_format="channels_last", mode=mode)

"""Train image classifiers from configuration files, with TensorFlow and Keras 3."""

__version__ = "0.1.0"

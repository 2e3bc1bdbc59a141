"""Layers and small stacks that several architectures share."""

import keras


def classifier(features: keras.KerasTensor, class_count: int, *, name: str = "class") -> keras.KerasTensor:
    """A dense softmax layer: features (batch, units) in, probabilities (batch, class_count) out.

    float32 whatever the precision: a softmax in bfloat16 has two to three digits only.
    """
    return keras.layers.Dense(class_count, activation="softmax", dtype="float32", name=name)(features)

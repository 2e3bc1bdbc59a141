"""Which layers train in a phase, and where a network can be cut so that the frozen part runs below the cut.

A cut is a tensor that all paths through the network pass through. Everything below the highest cut under which nothing
trains is frozen: it runs in inference mode, without dropout, and its output for an image never changes.
"""

import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import keras

from cnntrain.did_you_mean import unknown
from cnntrain.errors import ConfigError
from cnntrain.models.stages import cuts, stages
from cnntrain.optimization.schedule import LAST_STAGES, Phase
from cnntrain.training.batch_statistics import normalization_layers


@dataclass(frozen=True)
class Divided:
    """A network in two parts: `frozen` (None: nothing) below the cut and `trained` above it, with shared layers."""

    frozen: keras.Model | None
    trained: keras.Model
    trainable_names: tuple[str, ...]


def check_phases(model: keras.Model, phases: Mapping[str, Phase], *, head: Sequence[str]) -> None:
    """Raises ConfigError if a phase names layers that the network doesn't have."""
    for name, phase in phases.items():
        chosen = trainable_layers(model, phase.trainable, head=head, key=f"schedule.phases.{name}.trainable")
        if phase.image_size is not None:
            check_size(model, phase.image_size, key=f"schedule.phases.{name}.image_size")
        if phase.solver == "logistic_regression":
            check_solvable(model, chosen, key=f"schedule.phases.{name}.solver")


def check_solvable(model: keras.Model, chosen: set[str], *, key: str) -> None:
    """Raises ConfigError if a head is more than a softmax on the features of frozen layers."""
    weighted = [layer.name for layer in model.layers if layer.weights]
    head = [name for name in weighted if name in chosen]
    if head != ["class"] or not isinstance(model.get_layer("class"), keras.layers.Dense) or weighted == head:
        raise ConfigError(
            f"{key}: logistic_regression solves for one softmax layer, class, on the features of frozen layers; here"
            f" the head has {', '.join(head)}; set model.hidden_units=null and model.localization=false where they are"
            " set, or solver=gradient"
        )


def check_size(model: keras.Model, image_size: tuple[int, int], *, key: str) -> None:
    """Raises ConfigError if a network can't train at another image size."""
    try:
        fits = at_size(model, image_size).output_shape == model.output_shape
    except (ValueError, TypeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(f"{key}: {model.name} can't take images of {list(image_size)}: {reason}") from error
    if not fits:
        raise ConfigError(f"{key}: {model.name} gives other outputs on images of {list(image_size)}; leave it out")


def at_size(model: keras.Model, image_size: tuple[int, int]) -> keras.Model:
    """The same layers, with the same weights, on images of another size."""
    images = keras.Input((*image_size, model.inputs[0].shape[-1]), name="image")
    return keras.models.clone_model(model, input_tensors=images, clone_function=lambda layer: layer)


def freeze(model: keras.Model, phase: Phase, *, phase_name: str, head: Sequence[str]) -> Divided:
    """Sets which layers train in a phase, and splits the network; raises ConfigError if nothing would train."""
    key = f"schedule.phases.{phase_name}.trainable"
    chosen = trainable_layers(model, phase.trainable, head=head, key=key)
    for layer in model.layers:
        layer.trainable = layer.name in chosen
    if phase.batchnorm == "frozen":
        for layer in normalization_layers(model):
            layer.trainable = False
    set_momentum(model, phase.batchnorm_momentum)
    if not model.trainable_variables:
        raise ConfigError(f"{key}: expected layers that have weights to train; received {phase.trainable}")
    names = tuple(layer.name for layer in model.layers if layer.trainable_variables)
    if phase.solver == "logistic_regression":  # dropout below the head has no effect while it is solved
        tensor = model.get_layer("class").input
    elif position := frozen_cut(model, chosen):
        tensor = model.operations[position].output
    else:
        return Divided(None, model, names)
    return Divided(keras.Model(model.inputs[0], tensor), keras.Model(tensor, model.output), names)


def set_momentum(model: keras.Model, momentum: float | None) -> None:
    """Sets BatchNormalization's momentum for a phase; None: each layer's own, restored if another phase changed it."""
    for layer in normalization_layers(model):
        own = vars(layer).setdefault("own_momentum", layer.momentum)
        layer.momentum = own if momentum is None else momentum


def trainable_layers(model: keras.Model, words: str | Sequence[str], *, head: Sequence[str], key: str) -> set[str]:
    """The names of the layers that `all`, `head`, `last_2_stages` or name patterns stand for."""
    names = [layer.name for layer in model.layers]
    chosen: set[str] = set()
    for word in [words] if isinstance(words, str) else words:
        if word == "all":
            found = names
        elif word == "head":
            found = [name for name in names if name in head]
        elif stages := re.fullmatch(LAST_STAGES, word):
            found = last_stages(model, int(stages[1] or 1), key=key)
        else:
            found = fnmatch.filter(names, word)
        if not found:
            weighted = [layer.name for layer in model.layers if layer.weights]
            raise ConfigError(unknown(f"{key}: no layer is named {word!r}", word, weighted))
        chosen.update(found)
    return chosen


def frozen_cut(model: keras.Model, chosen: set[str]) -> int:
    """The position of the highest cut below which nothing trains; 0, the input, if no layer is frozen.

    Dropout above the last frozen weights stays above the cut: it belongs to the trained part.
    """
    highest, weights_below, noise_since = 0, False, False
    positions = set(cuts(model))
    for position, operation in enumerate(model.operations):
        if isinstance(operation, keras.layers.Layer):
            if operation.trainable_variables:
                break
            if operation.weights and operation.name not in chosen:
                weights_below, noise_since = True, False
            noise_since = noise_since or is_random(operation)
        if position in positions and weights_below and not noise_since:
            highest = position
    return highest


def is_random(layer: keras.layers.Layer) -> bool:
    """Whether a layer draws random numbers: then its variables include a seed's state, in addition to weights."""
    return len(layer.variables) > len(layer.weights)


def last_stages(model: keras.Model, count: int, *, key: str) -> list[str]:
    """The layers in the last stages below the head."""
    of_layer = stages(model)
    below_head = sorted({stage for name, stage in of_layer.items() if stage < max(of_layer.values())})
    weighted = {of_layer[layer.name] for layer in model.layers if layer.weights}
    below_head = [stage for stage in below_head if stage in weighted]
    if count > len(below_head):
        raise ConfigError(f"{key}: expected at most last_{len(below_head)}_stages of {model.name}; received {count}")
    return [name for name, stage in of_layer.items() if stage in below_head[-count:]]


def depth_factors(model: keras.Model, layer_decay: float) -> dict[str, float]:
    """The learning-rate factor of each trainable variable, by its path: layer_decay^(stages below the head)."""
    of_layer = stages(model)
    top = max(of_layer.values())
    return {
        variable.path: layer_decay ** (top - of_layer[layer.name])
        for layer in model.layers
        for variable in layer.trainable_variables
    }

"""The stages of a network: the layers between two halvings of the resolution, as in the papers' tables."""

import math
from collections.abc import Iterator

import keras


def cuts(model: keras.Model) -> Iterator[int]:
    """The positions in `model.operations` after which the only live tensor is that operation's output."""
    last_use: dict[int, int] = {}
    for position, operation in enumerate(model.operations):
        for tensor in keras.tree.flatten(operation.input):
            last_use[id(tensor)] = position
    for tensor in model.outputs:
        last_use[id(tensor)] = len(model.operations)
    alive: set[int] = set()
    for position, operation in enumerate(model.operations):
        outputs = [id(tensor) for tensor in keras.tree.flatten(operation.output)]
        alive = {tensor for tensor in alive.union(outputs) if last_use.get(tensor, -1) > position}
        if alive == {*outputs}:
            yield position


def stages(model: keras.Model) -> dict[str, int]:
    """The stage of each layer: how often the resolution has been halved; layers above that belong to the next stage.

    A layer between two cuts has the stage of the cut above it.
    """
    side = model.inputs[0].shape[1]
    found: dict[str, int] = {}
    stage, waiting, positions = 0, [], set(cuts(model))
    for position, operation in enumerate(model.operations):
        waiting.append(operation.name)
        if position not in positions:
            continue
        shape = operation.output.shape
        if len(shape) == 4 and shape[1] > 1:
            stage = max(stage, math.floor(math.log2(side / shape[1]) + 0.1))  # 75 of 299 counts as a quarter, too
            found |= dict.fromkeys(waiting, stage)
        else:
            found |= dict.fromkeys(waiting, stage + 1)
        waiting = []
    return found | dict.fromkeys(waiting, stage + 1)


def stage_outputs(model: keras.Model, count: int) -> list[keras.KerasTensor]:
    """The maps (batch, height, width, channels) at the end of each of the last stages, lowest first.

    Raises ValueError if the network has fewer stages.
    """
    of_layer = stages(model)
    last: dict[int, keras.KerasTensor] = {}
    for position in cuts(model):
        operation = model.operations[position]
        if len(operation.output.shape) == 4 and position:
            last[of_layer[operation.name]] = operation.output
    if count > len(last):
        raise ValueError(f"expected at most {len(last)} stages of {model.name}; received {count}")
    return [last[stage] for stage in sorted(last)[-count:]]

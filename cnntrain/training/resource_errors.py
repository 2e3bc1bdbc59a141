"""Errors for resources that run out during training: memory and disk space."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf

from cnntrain.errors import TrainingError
from cnntrain.experiment import Experiment
from cnntrain.runtime import ranks
from cnntrain.runtime.files import NO_SPACE

ALLOCATION = re.compile(r"out of memory|\boom\b|failed to allocate|alloc_failed", re.IGNORECASE)
ASKED = re.compile(r"shape ?\[[\d,]*\]( and type \w+)?")


@contextlib.contextmanager
def named(experiment: Experiment, *, going_on: str, folder: Path | None = None) -> Iterator[None]:
    """If memory or disk space runs out inside the block, raises a TrainingError that says what helps.

    Does so, too, if anything can't be written in `folder`, for whatever reason.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in NO_SPACE and not lies_in(folder, error.filename):
            raise
        where = error.filename or folder or "the disk"
        raise TrainingError(
            f"{where}: can't be written: {error.strerror or error}; what was there is whole.\n"
            f"When that is mended, go on with {going_on}"
        ) from error
    except MemoryError as error:
        raise TrainingError(out_of_memory(experiment, str(error))) from error
    except tf.errors.OpError as error:
        if lost := ranks.lost(error):
            raise lost from error
        if not isinstance(error, tf.errors.ResourceExhaustedError) and not ALLOCATION.search(error.message):
            raise
        raise TrainingError(out_of_memory(experiment, error.message)) from error


def lies_in(folder: Path | None, name: object) -> bool:
    """Whether a file is in a folder, by its name."""
    return folder is not None and isinstance(name, str | Path) and Path(name).is_relative_to(folder)


def out_of_memory(experiment: Experiment, message: str) -> str:
    """What was attempted, and the settings that reduce memory use."""
    found = ASKED.search(message)
    tried = f" for a tensor of {found[0]}" if found else ""
    height, width = experiment.model.image_size or experiment.model.default_image_size
    text = (
        f"no memory left{tried}: {experiment.model.name} on batches of {experiment.batch_size} images of"
        f" {height}×{width} in {experiment.precision}.\n"
        f"Lower batch_size (with optimizer.gradient_accumulation_steps, batches of half the size make the same"
        f" updates) or model.image_size"
    )
    return text + ("" if experiment.precision == "mixed_bfloat16" else ", or set precision=mixed_bfloat16")

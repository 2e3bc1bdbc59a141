"""Training images as the network saw them: after augmentation, before its own pixel scaling."""

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cnntrain.data.examples import Examples, LabeledImages
from cnntrain.data.input_spec import NetworkInput
from cnntrain.errors import DataError
from cnntrain.experiment import Experiment
from cnntrain.report.pictures import Rectangle, thumbnail
from cnntrain.report.saved_run import SavedRun
from cnntrain.runtime.wording import printable

if TYPE_CHECKING:
    from cnntrain.data.pipeline import Batches

SHOWN = 24
SIDE = 96  # pixels of the longer side
SMALLEST_SHARE = 0.005  # of a class in a mixed target, below which it is not named


@dataclass(frozen=True)
class SeenPicture:
    """A training image as a data URI, with the class that the network should predict, or the shares of several."""

    uri: str
    label: str
    box: Rectangle | None = None


def seen_batches(
    experiment: Experiment, examples: Examples, network_input: NetworkInput, *, shuffle: bool, localization: bool
) -> "Batches":
    """All of the examples in one batch, augmented as in training; images are floats from 0 to 255."""
    from cnntrain.data.pipeline import Batches

    return Batches(
        examples,
        dataclasses.replace(network_input, preprocess="raw"),
        batch_size=len(examples),
        seed=experiment.seed,
        shuffle=shuffle,
        augmentation=experiment.augmentation,
        decoding=experiment.data.decoding,
        localization=localization,
    )


def seen_first(run: SavedRun, labeled: LabeledImages) -> list[SeenPicture]:
    """The first images in the first epoch's first batch; none if the data have changed since the run."""
    from cnntrain.data.reading_errors import unreadable_file_named

    experiment, examples = run.experiment, labeled.train
    if examples.table.fingerprint() != run.record["data_fingerprint"]:
        return []
    network_input = NetworkInput.from_record(run.record["input"], str(run.run_dir.record))
    localization = experiment.model.localization
    whole = seen_batches(experiment, examples, network_input, shuffle=True, localization=localization)
    rows = examples.rows[whole.order(0)[: experiment.batch_size]]
    batch = Examples(examples.table, rows)  # only one batch is read
    batches = seen_batches(experiment, batch, network_input, shuffle=False, localization=localization)
    try:
        with unreadable_file_named(examples.table):
            images, targets, _ = next(iter(batches.epoch(0)))
    except DataError:
        return []
    seen = np.clip(images[:SHOWN].numpy(), 0, 255).astype(np.uint8)
    shares, boxes = targets["class"].numpy(), targets["box"].numpy() if localization else [None] * len(seen)
    return [
        SeenPicture(thumbnail(pixels, side=SIDE), label_of(share, labeled.class_names), rectangle_of(box))
        for pixels, share, box in zip(seen, shares, boxes, strict=False)
    ]


def label_of(shares: np.ndarray, class_names: tuple[str, ...]) -> str:
    """A target (classes,) in words: the class, or for a mixed target the shares, largest first."""
    named = [int(place) for place in np.argsort(-shares, kind="stable") if shares[place] >= SMALLEST_SHARE]
    if len(named) == 1:
        return printable(class_names[named[0]])
    return ", ".join(f"{shares[place]:.0%} {printable(class_names[place])}" for place in named)


def rectangle_of(box: np.ndarray | None) -> Rectangle | None:
    """A box (4,), center y and x, height and width as fractions, on its picture; None if there is no box."""
    if box is None or not box[2]:
        return None
    y, x, height, width = box.tolist()
    left, top = x - width / 2, y - height / 2
    return Rectangle(*(round(100 * side, 2) for side in (left, top, width, height)))

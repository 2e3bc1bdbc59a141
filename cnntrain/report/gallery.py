"""The pictures in a run's report: its mistakes, its least confident hits, and those in each confusion matrix cell."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from cnntrain.data.examples import Examples, LabeledImages
from cnntrain.data.input_spec import NetworkInput
from cnntrain.errors import DataError
from cnntrain.evaluation.predictions import Predictions
from cnntrain.report import confusion_matrix
from cnntrain.report.boxes import box_pictures
from cnntrain.report.pictures import Drawer, Picture, confident_mistakes, of_cells, uncertain_hits
from cnntrain.report.saved_run import SavedRun

if TYPE_CHECKING:
    import keras

HEATED = 8  # pictures of each kind that are also shown with Grad-CAM


@dataclasses.dataclass(frozen=True)
class Gallery:
    """Mistakes, most confident first; hits, least confident first; pictures by (true, predicted) class; boxes that fit
    worst, and typical ones.

    `missing` says why there are no pictures.
    """

    mistakes: list[Picture] = dataclasses.field(default_factory=list)
    uncertain: list[Picture] = dataclasses.field(default_factory=list)
    cells: dict[tuple[int, int], list[Picture]] = dataclasses.field(default_factory=dict)
    worst_boxes: list[Picture] = dataclasses.field(default_factory=list)
    typical_boxes: list[Picture] = dataclasses.field(default_factory=list)
    missing: str = ""


def draw_gallery(run: SavedRun, labeled: LabeledImages, model: "keras.Model | None") -> Gallery:
    """All pictures in a run's report; none if its data have changed since."""
    test = run.predictions_of("test")
    if test is None:
        return Gallery()
    from cnntrain.data.reading_errors import unreadable_file_named

    try:
        drawer = Drawer(test, labeled.train.table)
        with unreadable_file_named(labeled.train.table):
            mistakes, uncertain = confident_mistakes(test), uncertain_hits(test)
            worst, typical = box_pictures(run, drawer)
            heats = draw_heat(run, drawer, [*mistakes[:HEATED], *uncertain[:HEATED]], model)
            return Gallery(
                mistakes=[drawer.draw(int(place), heat=heats.get(place, "")) for place in mistakes],
                uncertain=[drawer.draw(int(place), heat=heats.get(place, "")) for place in uncertain],
                cells=draw_cells(run, drawer, test),
                worst_boxes=worst,
                typical_boxes=typical,
            )
    except DataError as error:
        return Gallery(missing=str(error))


def draw_cells(run: SavedRun, drawer: Drawer, test: Predictions) -> dict[tuple[int, int], list[Picture]]:
    """Some pictures for each cell of the confusion matrix shown on the page."""
    cells = [cell for row in confusion_matrix.matrix(run) for cell in row] or confusion_matrix.commonest_confusions(run)
    chosen = of_cells(test, [(cell.true, cell.predicted) for cell in cells])
    return {cell: [drawer.draw(int(place)) for place in places] for cell, places in chosen.items()}


def draw_heat(
    run: SavedRun, drawer: Drawer, places: list[np.int64], model: "keras.Model | None"
) -> dict[np.int64, str]:
    """Grad-CAM pictures for some predictions, by position; none without a network, or if it has no feature maps."""
    from cnntrain.report.network import heat_pictures

    if model is None or not places:
        return {}
    network_input = NetworkInput.from_record(run.record["input"], str(run.run_dir.record))
    examples = Examples(drawer.table, drawer.rows[places])
    heats = heat_pictures(model, examples, drawer.predictions.predicted[places], network_input)
    return dict(zip(places, heats, strict=False))

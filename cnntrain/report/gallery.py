"""The pictures on a run's page: its mistakes, its least certain hits, and those in each cell of the confusion."""

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

HEATED = 8  # pictures of each kind that are shown with Grad-CAM too


@dataclasses.dataclass(frozen=True)
class Gallery:
    """Mistakes, the surest first; hits, the least sure first; pictures by (true, predicted) class; boxes that fit
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
    """All pictures of a run's page; none where its data have changed since."""
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
    """Some pictures for each cell of the confusion that the page shows."""
    cells = [cell for row in confusion_matrix.matrix(run) for cell in row] or confusion_matrix.commonest_confusions(run)
    chosen = of_cells(test, [(cell.true, cell.predicted) for cell in cells])
    return {cell: [drawer.draw(int(place)) for place in places] for cell, places in chosen.items()}


def draw_heat(
    run: SavedRun, drawer: Drawer, places: list[np.int64], model: "keras.Model | None"
) -> dict[np.int64, str]:
    """Pictures of what spoke for some predictions, by their places; none without a network, or one without maps."""
    from cnntrain.report.network import heat_pictures

    if model is None or not places:
        return {}
    network_input = NetworkInput.from_record(run.record["input"], str(run.run_dir.record))
    examples = Examples(drawer.table, drawer.rows[places])
    heats = heat_pictures(model, examples, drawer.predictions.predicted[places], network_input)
    return dict(zip(places, heats, strict=False))

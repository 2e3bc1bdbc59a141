"""How well predicted boxes fit on a page: the distribution of IoU, and pictures with true and predicted boxes."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from cnntrain.data.input_spec import NetworkInput
from cnntrain.evaluation.evaluate import boxes_in
from cnntrain.evaluation.predictions import BoxPredictions
from cnntrain.report.charts import Chart
from cnntrain.report.pictures import Drawer, Picture, Rectangle, thumbnail
from cnntrain.report.saved_run import SavedRun

BINS = 20
SHOWN = 12
SIDE = 160  # pixels of the longer side


@dataclass(frozen=True)
class BoxFit:
    """How well boxes fit on the test images that have one: `mean` IoU, and the shares of images with the right class
    and an IoU of at least 0.5 and 0.75. `chart` is present if the predictions include the boxes."""

    count: int
    mean: float
    share_50: float
    share_75: float
    chart: Chart | None


def box_fit(run: SavedRun) -> BoxFit | None:
    """The box fit of a run, if it learned boxes."""
    metrics, test = run.metrics or {}, run.predictions_of("test")
    if "mean_iou" not in metrics:
        return None
    return BoxFit(
        count=metrics["boxes"],
        mean=metrics["mean_iou"],
        share_50=metrics["accuracy_iou_50"],
        share_75=metrics["accuracy_iou_75"],
        chart=histogram(test.boxes.ious) if test is not None and test.boxes is not None else None,
    )


def box_pictures(run: SavedRun, drawer: Drawer) -> tuple[list[Picture], list[Picture]]:
    """The boxes that fit worst, and typical ones; none if the predictions have no boxes."""
    boxes = drawer.predictions.boxes
    if boxes is None:
        return [], []
    network_input = NetworkInput.from_record(run.record["input"], str(run.run_dir.record))
    worst, typical = worst_and_typical(boxes)
    return (
        [boxed(drawer, boxes, int(place), network_input) for place in worst],
        [boxed(drawer, boxes, int(place), network_input) for place in typical],
    )


def worst_and_typical(boxes: BoxPredictions) -> tuple[np.ndarray, np.ndarray]:
    """The positions of the boxes that fit worst, worst first, and of those around the median."""
    there = np.flatnonzero(~np.isnan(boxes.ious))
    order = there[np.argsort(boxes.ious[there], kind="stable")]
    middle = max(0, len(order) // 2 - SHOWN // 2)
    return order[:SHOWN], order[middle : middle + SHOWN]


def histogram(ious: np.ndarray) -> Chart:
    """A histogram of IoU."""
    counts, edges = np.histogram(ious[~np.isnan(ious)], bins=BINS, range=(0, 1))
    columns = [(float(edges[n]), float(edges[n + 1]), int(count)) for n, count in enumerate(counts)]
    return Chart(
        "test images", "IoU of the predicted and the true box", [], x_range=(0, 1), y_range=(0, max(1, counts.max())),
        whole_x=False, columns=columns,
    )  # fmt: skip


def boxed(drawer: Drawer, boxes: BoxPredictions, place: int, network_input: NetworkInput) -> Picture:
    """The picture of one prediction, with its boxes."""
    pixels = drawer.pixels(place)
    both = np.stack([boxes.true[place], boxes.predicted[place]])
    sizes = np.array([pixels.shape[:2]] * 2)
    true, predicted = (rectangle(corners, sizes[0]) for corners in boxes_in(both, sizes, network_input))
    return dataclasses.replace(
        drawer.captioned(place, thumbnail(pixels, side=SIDE)),
        true_box=true,
        predicted_box=predicted,
        iou=float(boxes.ious[place]),
    )


def rectangle(corners: np.ndarray, size: np.ndarray) -> Rectangle:
    """Converts left, top, right and bottom (4,) in pixels of an image of `size`, height and width, to shares of it."""
    left, top, right, bottom = (corners / [size[1], size[0], size[1], size[0]] * 100).round(2).tolist()
    return Rectangle(left, top, max(0.0, right - left), max(0.0, bottom - top))

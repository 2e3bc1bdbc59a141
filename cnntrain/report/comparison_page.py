"""A comparison of runs as a page: a sortable table, overlaid curves, and the images on which two runs disagree."""

from pathlib import Path

from cnntrain.errors import DataError
from cnntrain.evaluation.predictions import Predictions
from cnntrain.report.charts import Chart, Line
from cnntrain.report.comparison import Comparison, row_of
from cnntrain.report.page import render
from cnntrain.report.pictures import IN_GALLERY, Drawer, Picture
from cnntrain.report.run_page import load_data
from cnntrain.report.saved_run import SavedRun
from cnntrain.runtime.files import write_whole

LAID_OVER = 8  # how many runs' curves fit into one chart


def write_page(comparison: Comparison, path: Path) -> None:
    """Writes the page."""
    values = {
        "comparison": comparison,
        "rows": [row_of(run) for run in comparison.runs],
        "curves": laid_over(comparison.runs) if len(comparison.runs) <= LAID_OVER else [],
        "pictures_of_one": pictures_of_one(comparison),
    }
    write_whole(path, render("compare.html", values))


def laid_over(runs: list[SavedRun]) -> list[Chart]:
    """Training loss and validation accuracy of all runs."""
    charts = []
    for title, key in (("training loss", "loss"), ("validation accuracy", "val_accuracy")):
        lines = [
            Line(str(number), [(row["epoch"], row[key]) for row in run.history]) for number, run in enumerate(runs, 1)
        ]
        if any(value is not None for line in lines for _, value in line.points):
            charts.append(Chart(title, "epoch", lines))
    return charts


def pictures_of_one(comparison: Comparison) -> list[tuple[str, list[Picture]]]:
    """The images that only one of two runs gets right, as predicted by that run; none if the data are gone."""
    labeled, _ = load_data(comparison.runs[0]) if comparison.paired else (None, "")
    if labeled is None:
        return []
    sides = {"first": comparison.only_first, "second": comparison.only_second}
    try:
        return [
            (which, drawn(alone, Drawer(alone, labeled.train.table)))
            for which, alone in sides.items()
            if alone is not None and len(alone)
        ]
    except DataError:  # the data have changed
        return []


def drawn(alone: Predictions, drawer: Drawer) -> list[Picture]:
    """The first few pictures."""
    return [drawer.draw(place) for place in range(min(len(alone), IN_GALLERY))]

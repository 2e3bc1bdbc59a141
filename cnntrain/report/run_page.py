"""A run's page: report.html, one file that explains the run. Written by `cnntrain report RUN…` and after every run."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cnntrain.data.examples import LabeledImages
from cnntrain.data.input_spec import NetworkInput
from cnntrain.data.sources.file_source import FileSource
from cnntrain.errors import DataError
from cnntrain.report import confusion_matrix, sections
from cnntrain.report.boxes import box_fit
from cnntrain.report.configuration import settings_of
from cnntrain.report.gallery import Gallery, draw_gallery
from cnntrain.report.page import render
from cnntrain.report.saved_run import SavedRun, runs_at
from cnntrain.report.seen import seen_first
from cnntrain.report.times import phase_times
from cnntrain.runtime import backend
from cnntrain.runtime.files import write_whole
from cnntrain.runtime.terminal import Terminal

if TYPE_CHECKING:
    import keras


def report(paths: Sequence[Path]) -> None:
    """Writes the page of each run, or of each run in a multirun folder; raises DataError."""
    runs = [SavedRun.read(path) for path in runs_at(paths)]
    terminal = Terminal()
    for run in runs:
        labeled, missing = load_data(run)
        write_report(run, labeled=labeled, model=load_network(run), missing=missing)
        if missing:
            terminal.warning(f"{run.run_dir}: the page has no pictures: {missing}")
        terminal.line(f"{run.run_dir.report}")


def load_data(run: SavedRun) -> tuple[LabeledImages | None, str]:
    """The images that a run was tested on, or why they aren't available."""
    data = run.experiment.data
    if run.predictions_of("test") is None:
        return None, ""
    try:
        if isinstance(data, FileSource):
            network_input = NetworkInput.from_record(run.record["input"], str(run.run_dir.record))
            data = dataclasses.replace(data, background=network_input.background)
        data.check()
        backend.load()
        return data.load(), ""
    except DataError as error:
        return None, f"the data can't be read any more: {str(error).splitlines()[0]}"


def load_network(run: SavedRun) -> "keras.Model | None":
    """The network of the best epoch; None if the run has none yet."""
    from cnntrain.evaluation.evaluate import read_run

    return read_run(run.run_dir.path).load_model() if run.run_dir.model.is_file() else None


def write_report(
    run: SavedRun, *, labeled: LabeledImages | None, model: "keras.Model | None", missing: str = ""
) -> None:
    """Writes a run's report.html; what the run lacks is left out. `missing` says why there are no `labeled` images."""
    from cnntrain.report.network import layer_rows

    test = run.predictions_of("test")
    gallery = Gallery(missing=missing)
    if test is not None and labeled is not None:
        gallery = draw_gallery(run, labeled, model)
    values = {
        "run": run,
        "headline": sections.headline(run),
        "curves": sections.curves(run),
        "times": phase_times(run),
        "matrix": confusion_matrix.matrix(run),
        "confusions": confusion_matrix.commonest_confusions(run),
        "gallery": gallery,
        "box_fit": box_fit(run),
        "seen": seen_first(run, labeled) if labeled is not None else [],
        "calibration": sections.calibration(test, run.predictions_of("validation")),
        "class_counts": sections.class_counts(run),
        "origin": sections.origin(run),
        "settings": settings_of(run.experiment),
        "layers": layer_rows(model) if model is not None else [],
    }
    write_whole(run.run_dir.report, render("report.html", values))

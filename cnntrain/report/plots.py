"""The plots in a run folder: curves over epochs, and the confusion matrix."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cnntrain.runtime.files import whole_file
from cnntrain.runtime.fonts import drawable, font_families, has_glyphs
from cnntrain.runtime.wording import printable

LARGEST_LABELED = 30


def draw_curves(history: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Training and validation loss and accuracy over epochs, with a line where each phase begins."""
    from matplotlib.figure import Figure

    epochs = [row["epoch"] for row in history]
    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        axes.plot(epochs, [row[name] for row in history], label="training", marker="." if len(epochs) < 30 else None)
        checked = [row[f"val_{name}"] for row in history]
        if any(value != "" for value in checked):
            axes.plot(epochs, [math.nan if value == "" else value for value in checked], label="validation")
        for before, row in zip(history, history[1:], strict=False):
            if row["phase"] != before["phase"]:
                axes.axvline(row["epoch"] - 0.5, color="gray", linestyle=":")
                axes.text(row["epoch"] - 0.4, axes.get_ylim()[1], row["phase"], va="top", color="gray")
        axes.set(xlabel="epoch", ylabel=name)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=120)


def draw_confusion(confusion: Sequence[Sequence[int]], class_names: Sequence[str], path: Path) -> None:
    """The confusion matrix: color shows the share of the true class, with numbers if there is room."""
    from matplotlib.figure import Figure

    counts = np.array(confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(max(4.0, 0.45 * len(class_names) + 2), 20.0)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted", ylabel="true")
    if len(class_names) <= LARGEST_LABELED:
        places = range(len(class_names))
        labels, legend = axis_labels(class_names)
        axes.set_xticks(places, labels, rotation=90, family=font_families())
        axes.set_yticks(places, labels, family=font_families())
        if legend:
            figure.supxlabel(legend, fontsize=8, x=0.02, ha="left")
        for row, column in np.argwhere(counts):
            color = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=color, fontsize=8)
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=120)


def axis_labels(class_names: Sequence[str]) -> tuple[list[str], str]:
    """A label for each class, and a legend: if no font has a name's characters, the class's number is used
    instead."""
    labels, lines = [], []
    for number, name in enumerate(class_names):
        if has_glyphs(printable(name)):
            labels.append(drawable(name))
        else:
            labels.append(str(number))
            lines.append(f"{number}: {drawable(name)}")
    return labels, "\n".join(lines)

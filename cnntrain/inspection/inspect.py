"""`cnntrain inspect`: what is in the data, what is wrong with it, and what a network will see."""

import base64
import dataclasses
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.table import Table

from cnntrain.data.examples import Examples, LabeledImages
from cnntrain.data.sources.file_source import FileSource
from cnntrain.errors import ConfigError, DataError
from cnntrain.experiment import Experiment
from cnntrain.inspection.doctor import SPLITS, Diagnosis, examine
from cnntrain.runtime.files import write_whole
from cnntrain.runtime.fonts import drawable, font_families
from cnntrain.runtime.terminal import Terminal, cell
from cnntrain.runtime.wording import counted
from cnntrain.training.preparation import prepare

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cnntrain.data.input_spec import NetworkInput

BAR = 30  # the longest bar, in characters
CLASSES_SHOWN = 40
RAW_IMAGES = 24
AUGMENTED_IMAGES, DRAWS = 4, 8


def inspect(experiment: Experiment, *, out: Path | None) -> int:
    """Prints a summary of the data, and draws it to `out`, a .png or .html file.

    Returns the exit code: 0, or 3 if training would be pointless.
    """
    limit = getattr(experiment.data, "max_bad_fraction", 1.0)
    if out is not None and out.suffix.lower() not in (".png", ".html"):
        raise ConfigError(f"--out: expected a file that ends in .png or .html; received {out}")
    experiment, labeled, network_input = prepare(whatever_is_wrong(experiment), empty_classes=True)
    terminal = Terminal()
    terminal.line(f"{experiment.data.title()}: {len(labeled.class_names)} classes", style="bold")
    terminal.table(class_table(labeled))
    for line in facts(labeled, network_input):
        terminal.line(line)
    diagnoses = [*too_many_bad(labeled, limit), *examine(labeled)]
    for diagnosis in diagnoses:
        terminal.line(f"{'error' if diagnosis.pointless else 'warning'}: {diagnosis.text}", style="yellow")
    if not diagnoses:
        terminal.line("nothing is wrong with them, as far as can be seen")
    if out is not None:
        write(out, experiment, labeled, network_input, diagnoses)
        terminal.line(f"pictures: {out}")
    return DataError.exit_code if any(diagnosis.pointless for diagnosis in diagnoses) else 0


def whatever_is_wrong(experiment: Experiment) -> Experiment:
    """The experiment with any number of bad files allowed: they are to be shown."""
    if not isinstance(experiment.data, FileSource):
        return experiment
    return dataclasses.replace(experiment, data=dataclasses.replace(experiment.data, max_bad_fraction=1.0))


def too_many_bad(labeled: LabeledImages, limit: float) -> list[Diagnosis]:
    """A problem that would stop a run before training: more bad files than allowed."""
    bad, good = len(labeled.quarantined), len(labeled.train.table.labels)
    if bad <= limit * (bad + good):
        return []
    text = f"{bad:,} of {counted(bad + good, 'file')} can't be used, more than data.max_bad_fraction={limit:g}"
    return [Diagnosis(text, pointless=True)]


def class_table(labeled: LabeledImages) -> Table:
    """The number of examples per class and split, with a bar."""
    counts = {split: labeled.split(split).class_counts() for split in SPLITS}
    total = np.sum(list(counts.values()), axis=0)
    table = Table("class", *SPLITS, "")
    for column in table.columns[1:4]:
        column.justify = "right"
    for number in np.argsort(-total, kind="stable")[:CLASSES_SHOWN]:
        bar = "█" * max(min(1, total[number]), round(BAR * total[number] / total.max()))
        numbers = (f"{counts[split][number]:,}" for split in SPLITS)
        table.add_row(cell(labeled.class_names[number]), *numbers, bar)
    if len(total) > CLASSES_SHOWN:
        table.add_row(f"… {len(total) - CLASSES_SHOWN} more", "", "", "", "")
    table.add_row("all", *(f"{len(labeled.split(split)):,}" for split in SPLITS), "", style="bold")
    return table


def facts(labeled: LabeledImages, network_input: "NetworkInput") -> list[str]:
    """Sizes and formats of the images, and what the network does with them."""
    height, width, channels = labeled.image_shape
    color = "gray" if channels == 1 else "color"
    lines = [f"images: {height}×{width}, {color}"] if height else [f"images: of many sizes, {color}"]
    findings = labeled.train.table.findings
    if findings:
        formats = Counter(finding.format for finding in findings)
        sizes = np.array([(finding.height, finding.width) for finding in findings])
        low, middle, high = (np.percentile(sizes, q, axis=0, method="nearest") for q in (0, 50, 100))
        lines = [
            f"images: {color}; " + ", ".join(f"{count:,} {name}" for name, count in formats.most_common()),
            f"heights {low[0]} to {high[0]} (median {middle[0]}), widths {low[1]} to {high[1]} (median {middle[1]})",
        ]
    boxes = labeled.train.table.boxes
    if boxes is not None:
        there = boxes[boxes[:, 2] > 0]
        share = np.median(there[:, 2] * there[:, 3]) if len(there) else 0
        lines.append(f"boxes: {len(there):,} of {len(boxes):,} images have one; they cover {share:.0%} (median)")
    largest = max(np.bincount(labeled.test.labels)) / len(labeled.test) if len(labeled.test) else 0
    size = "×".join(map(str, network_input.shape))
    lines.append(f"the network gets {size}, resized by {network_input.resize}")
    if largest:
        lines.append(f"to name the largest class always would be right for {largest:.1%} of the test images")
    return lines


def write(
    out: Path,
    experiment: Experiment,
    labeled: LabeledImages,
    network_input: "NetworkInput",
    diagnoses: Sequence[Diagnosis],
) -> None:
    """Writes the pictures as one PNG, or as a page together with the text."""
    pages = {
        "Examples": picture_grid(*raw_images(labeled), columns=8),
        "What the network sees: each row is one image, drawn anew": picture_grid(
            *augmented_images(experiment, labeled, network_input), columns=DRAWS
        ),
    }
    if out.suffix.lower() == ".html":
        write_whole(out, page(experiment, labeled, network_input, diagnoses, pages))
        return
    from PIL import Image

    pictures = [Image.open(io.BytesIO(png(figure))) for figure in pages.values()]
    sheet = Image.new(
        "RGB", (max(p.width for p in pictures), sum(p.height for p in pictures)), (255, 255, 255)
    )
    top = 0
    for picture in pictures:
        sheet.paste(picture, (0, top))
        top += picture.height
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    write_whole(out, buffer.getvalue())


def raw_images(labeled: LabeledImages) -> "tuple[list[np.ndarray], list[str], np.ndarray | None]":
    """Some training images as they are stored, evenly over the classes, with their classes' names and boxes."""
    examples = labeled.train
    order = np.lexsort((np.arange(len(examples)), examples.labels))
    chosen = examples.rows[order[np.linspace(0, len(order) - 1, min(RAW_IMAGES, len(order))).astype(int)]]
    images = [examples.table.images.read(int(row)).numpy() for row in chosen]
    boxes = examples.table.boxes
    names = [labeled.class_names[label] for label in examples.table.labels[chosen]]
    return images, names, None if boxes is None else boxes[chosen]


def augmented_images(
    experiment: Experiment, labeled: LabeledImages, network_input: "NetworkInput"
) -> "tuple[list[np.ndarray], list[str], np.ndarray | None]":
    """A few training images as they look in several epochs, before the network's own scaling, with their boxes."""
    from cnntrain.report.seen import seen_batches

    examples = labeled.train
    rows = examples.rows[np.linspace(0, len(examples) - 1, min(AUGMENTED_IMAGES, len(examples))).astype(int)]
    has_boxes = labeled.has_boxes and not experiment.augmentation.mixes
    some = Examples(examples.table, rows)
    batches = seen_batches(experiment, some, network_input, shuffle=False, localization=has_boxes)
    drawn = [next(iter(batches.epoch(number))) for number in range(DRAWS)]
    places = [(draw, image) for image in range(len(rows)) for draw in range(DRAWS)]
    images = [np.clip(drawn[draw][0][image] / 255, 0, 1) for draw, image in places]
    boxes = np.array([drawn[draw][1]["box"][image] for draw, image in places]) if has_boxes else None
    names = [labeled.class_names[label] for label in examples.table.labels[rows]]
    return images, [names[image] if draw == 0 else "" for draw, image in places], boxes


def picture_grid(
    images: Sequence[np.ndarray], titles: Sequence[str], boxes: np.ndarray | None, *, columns: int
) -> "Figure":
    """Images (height, width, channels) side by side, each under its title, with boxes (n, 4) where there are some."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    rows = -(-len(images) // columns)
    figure = Figure(figsize=(columns * 1.5, rows * 1.7), layout="constrained")
    for axes, image, title in zip(figure.subplots(rows, columns, squeeze=False).flat, images, titles, strict=False):
        axes.imshow(image.squeeze(), cmap="gray" if image.shape[-1] == 1 else None)
        axes.set_title(drawable(title[:20]), fontsize=8, family=font_families())
    for axes, image, box in zip(figure.axes, images, boxes if boxes is not None else (), strict=False):
        height, width = image.shape[:2]
        y, x, high, wide = box * [height, width, height, width]
        if high:
            axes.add_patch(Rectangle((x - wide / 2 - 0.5, y - high / 2 - 0.5), wide, high, fill=False, color="red"))
    for axes in figure.axes:
        axes.axis("off")
    return figure


def png(figure: "Figure") -> bytes:
    """A figure as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    return buffer.getvalue()


def page(
    experiment: Experiment,
    labeled: LabeledImages,
    network_input: "NetworkInput",
    diagnoses: Sequence[Diagnosis],
    pages: dict[str, "Figure"],
) -> bytes:
    """The page as a self-contained file."""
    from cnntrain.report.page import render

    counts = np.stack([labeled.split(split).class_counts() for split in SPLITS], axis=1).tolist()
    values = {
        "title": experiment.data.title(),
        "splits": SPLITS,
        "classes": list(zip(labeled.class_names, counts, strict=True)),
        "facts": facts(labeled, network_input),
        "diagnoses": diagnoses,
        "pictures": [(heading, base64.b64encode(png(figure)).decode()) for heading, figure in pages.items()],
    }
    return render("inspect.html", values)

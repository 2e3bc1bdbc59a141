"""`cnntrain export RUN`: a trained network in a file that doesn't need cnntrain, compared with `predict`."""

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from cnntrain.data.examples import Examples
from cnntrain.errors import ConfigError, DataError
from cnntrain.evaluation.evaluate import TrainedRun, read_run
from cnntrain.evaluation.predict import as_examples, examine, list_files
from cnntrain.evaluation.tta import check_tta
from cnntrain.export.formats import FORMATS, Format
from cnntrain.runtime import backend
from cnntrain.runtime.files import whole_file, whole_folder
from cnntrain.runtime.terminal import Terminal

IMAGES = 100
LARGEST_DIFFERENCE = 1e-4


def export(
    run: Path, *, form: str, out: Path | None, images: Sequence[Path], force: bool, tta: str | None = None
) -> bool:
    """Exports a run's best network, then compares the export with `predict`; returns whether they agree.

    `tta`: the network predicts the mean over views of an image; see with_views.

    They agree if no probability, and no box as fractions of its image, differs by more than 1e-4 on the first 100 of
    `images`, or else of the run's own test images.
    """
    trained, chosen = read_run(run), FORMATS[form]
    check_tta(tta, boxes=trained.experiment.model.localization)
    chosen.check_packages()
    path = out or trained.run_dir.exported(chosen.file_name)
    check_target(path, chosen, force=force)
    with Console(stderr=True).status("loading TensorFlow and images") as status:
        examples = examples_to_compare(trained, images)
        from cnntrain.export.comparison import largest_difference
        from cnntrain.export.serving import serving_network

        serving = serving_network(
            trained.load_model(), trained.network_input, trained.class_names, trained.box_head, tta=tta
        )
        status.update(f"writing {path}")
        try:
            with whole_folder(path, replace=True) if chosen.is_folder else whole_file(path) as temporary:
                chosen.write(serving, temporary)
        except OSError as error:
            raise DataError(f"{path}: can't be written: {error}") from error
        status.update(f"comparing {path} with predict")
        difference = largest_difference(chosen.load(path), serving, examples)
    terminal = Terminal()
    terminal.line(f"{path}: {size_in_bytes(path) / 1e6:,.1f} MB")
    for note in notes(trained, form, serving.network.to_json()):
        terminal.line(note)
    text = f"largest difference from predict on {len(examples)} images: {difference:.1e}"
    if difference <= LARGEST_DIFFERENCE:
        terminal.line(text)
        return True
    print(f"{text}, more than {LARGEST_DIFFERENCE:g}: do not use {path}", file=sys.stderr)
    return False


def check_target(path: Path, chosen: Format, *, force: bool) -> None:
    """Raises ConfigError if the format can't be written there, or something would be overwritten."""
    suffix = Path(chosen.file_name).suffix
    if path.suffix != suffix and suffix:
        raise ConfigError(f"--out={path}: expected a name that ends in {suffix}")
    if os.path.lexists(path):
        if not force:
            raise ConfigError(f"{path}: is there already; --force replaces it, and --out names another place")
        replaceable = (path / "saved_model.pb").is_file() if chosen.is_folder else path.is_file()
        if not replaceable:
            raise ConfigError(f"{path}: is no earlier export, and --force replaces nothing else; choose another --out")
    parent = next(folder for folder in path.absolute().parents if folder.exists())
    if not (parent.is_dir() and os.access(parent, os.W_OK)):
        raise ConfigError(f"--out={path}: nothing can be written in {parent}; choose another place")


def examples_to_compare(trained: TrainedRun, images: Sequence[Path]) -> Examples:
    """The first of `images`, or of the run's test images, or else of another split; loads TensorFlow."""
    if images:
        names, problems = list_files(images)
        checked = examine(names[:IMAGES], trained, given=set(map(str, images))) if names else []
        problems += [f"{file.name}: {file.finding.reason}" for file in checked if file.finding.reason]
        if problems or not checked:
            raise DataError("\n".join(problems or ["--images: expected images in these folders; there are none"]))
        backend.load()
        return as_examples(checked, trained.class_names, upright=trained.network_input.orientation == "exif")
    try:
        trained.experiment.data.check()
        backend.load()
        labeled = trained.experiment.data.load()
    except DataError as error:
        raise DataError(f"{error}\nTo compare with other images than the run's own, name them: --images …") from error
    splits = (labeled.test, labeled.validation, labeled.train)
    examples = next(split for split in splits if len(split))
    return Examples(examples.table, examples.rows[:IMAGES])


def notes(trained: TrainedRun, form: str, network: str) -> list[str]:
    """What a user of the export needs to know; `network` is Keras's JSON."""
    found = []
    precision = trained.experiment.precision
    if precision != "float32":
        found.append(f"The network was trained in {precision}; the export, and predict here, compute in float32.")
    layers = sorted(set(re.findall(r"cnntrain>(\w+)", network)))
    if form == "keras" and layers:
        found.append(
            f"It has layers that Keras lacks ({', '.join(layers)}): import cnntrain.models.layers before it is loaded."
            " The other formats need no cnntrain."
        )
    return found


def size_in_bytes(path: Path) -> int:
    """The size of a file, or the total size of the files in a folder."""
    return sum(file.stat().st_size for file in (path, *path.rglob("*")) if file.is_file())

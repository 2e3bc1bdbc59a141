"""The verbs that begin with a trained network: what each takes on the command line."""

import argparse
import dataclasses
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from cnntrain.errors import ConfigError
from cnntrain.evaluation.tta import KINDS

if TYPE_CHECKING:
    from cnntrain.experiment import Experiment

EVALUATE = "evaluate a trained network on its data, or others: cnntrain evaluate RUN [data=…]"
PREDICT = "classify image files: cnntrain predict RUN|NAME IMAGE…"
SOUP = "average the weights of runs, never worse on validation: cnntrain soup RUN RUN… --out FOLDER"
EXPORT = "write a trained network for use without cnntrain: cnntrain export RUN --format onnx"


def evaluate(words: list[str]) -> int:
    """`cnntrain evaluate RUN [key=value…]`."""
    parser = argparse.ArgumentParser("cnntrain evaluate", description=EVALUATE)
    parser.add_argument("run", type=Path, metavar="RUN", help="a run's folder")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="other data, such as data=mnist")
    parser.add_argument("--config-dir", metavar="DIR", help="look for options in DIR/GROUP/*.yaml too")
    parser.add_argument(
        "--split", choices=("train", "validation", "test", "all"), default="test", help="default: test"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--draw", type=Path, metavar="FOLDER", help="write the pictures whose boxes fit worst, true and predicted"
    )
    add_tta(parser)
    options = parser.parse_intermixed_args(words)
    from cnntrain.cli.overrides import key_of
    from cnntrain.evaluation import evaluate

    trained = evaluate.read_run(options.run)
    if options.overrides:
        flags = ["--config-dir", options.config_dir] if options.config_dir else []
        trained = dataclasses.replace(trained, experiment=with_other_data([*flags, *options.overrides], options.run))
    own_data = not any(key_of(word).startswith("data") for word in options.overrides)
    evaluate.evaluate(
        trained, own_data=own_data, split=options.split, as_json=options.json, draw=options.draw, tta=options.tta
    )
    return 0


def with_other_data(words: list[str], run: Path) -> "Experiment":
    """The experiment of a run with other data; raises ConfigError for what evaluation does not use."""
    from cnntrain.cli import composition, overrides
    from cnntrain.experiment import parse

    request = overrides.read_request(words, verbs=[])
    prepared, problems = overrides.prepare(request)
    keys = [overrides.key_of(text) for text in request.overrides]
    strange = [key for key in keys if key not in ("data", "batch_size") and not key.startswith("data.")]
    problems += [f"{key}: evaluation takes data=…, data.KEY=… and batch_size=… only; leave it out" for key in strange]
    if "data.background" in keys:
        problems.append("data.background: the network was trained on another, which the run recorded; leave it out")
    if problems:
        raise ConfigError(*problems)
    return parse(composition.compose_over(run, request, prepared))


def predict(words: list[str]) -> int:
    """`cnntrain predict RUN|NAME IMAGE…`."""
    from cnntrain.models.base import Resize

    parser = argparse.ArgumentParser("cnntrain predict", description=PREDICT)
    parser.add_argument(
        "network", metavar="RUN|NAME", help="a run's folder, or a network that Keras trained on ImageNet: ResNet50"
    )
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="image files, or folders of them")
    parser.add_argument("--top", type=positive, default=3, metavar="K", help="classes for each image (default: 3)")
    form = parser.add_mutually_exclusive_group()
    for name in ("json", "csv"):
        text = f"print {name.upper()}, image by image"
        form.add_argument(f"--{name}", action="store_const", const=name, dest="form", default="table", help=text)
    parser.add_argument(
        "--resize", choices=get_args(Resize),
        help="how images come to size for a NAME (default: stretch); a RUN has its own way",
    )  # fmt: skip
    parser.add_argument(
        "--crop-box", type=float, nargs=4, metavar=("TOP", "LEFT", "BOTTOM", "RIGHT"),
        help="what --resize crop_and_resize takes, in fractions of the image",
    )  # fmt: skip
    parser.add_argument("--draw", type=Path, metavar="FOLDER", help="write the pictures with the boxes of a RUN")
    add_tta(parser)
    options = parser.parse_args(words)
    from cnntrain.evaluation import predict
    from cnntrain.evaluation.prediction_output import PredictionOutput

    predict.predict(
        options.network,
        options.images,
        resize=options.resize,
        crop_box=options.crop_box,
        output=PredictionOutput(options.top, options.form),
        draw=options.draw,
        tta=options.tta,
    )
    return 0


def export(words: list[str]) -> int:
    """`cnntrain export RUN`."""
    from cnntrain.export.formats import FORMATS

    parser = argparse.ArgumentParser("cnntrain export", description=EXPORT)
    parser.add_argument("run", type=Path, metavar="RUN", help="a run's folder")
    parser.add_argument("--format", choices=tuple(FORMATS), required=True, help="what to write")
    parser.add_argument("--out", type=Path, metavar="PATH", help="where to write it (default: RUN/export/…)")
    parser.add_argument(
        "--images", type=Path, nargs="+", default=(), metavar="IMAGE",
        help="compare with predict on these (default: the run's test images)",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace an earlier export")
    add_tta(parser)
    options = parser.parse_args(words)
    from cnntrain.export import export

    agrees = export(
        options.run, form=options.format, out=options.out, images=options.images, force=options.force,
        tta=options.tta,
    )  # fmt: skip
    return 0 if agrees else 1


def soup(words: list[str]) -> int:
    """`cnntrain soup RUN RUN… --out FOLDER`."""
    parser = argparse.ArgumentParser("cnntrain soup", description=SOUP)
    parser.add_argument(
        "runs", type=Path, nargs="+", metavar="RUN", help="runs of one network on the same data, or a multirun's folder"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="the new run's folder")
    options = parser.parse_args(words)
    from cnntrain.training.soup import make_soup

    make_soup(options.runs, out=options.out, command=shlex.join(["cnntrain", "soup", *words]))
    return 0


def add_tta(parser: argparse.ArgumentParser) -> None:
    """The flag for test-time augmentation."""
    parser.add_argument(
        "--tta", choices=KINDS,
        help="average over views: the image and its mirror image, or twelve of them with crops (default: the image)",
    )  # fmt: skip


def positive(text: str) -> int:
    """A whole number of at least 1, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1; received {text}")
    return number

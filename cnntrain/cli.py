"""The command line: one table of verbs; the first word is a verb, else `train`."""

import argparse
import dataclasses
import functools
import os
import shlex
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from cnntrain import __version__
from cnntrain.errors import CnntrainError, ConfigError, Stopped
from cnntrain.signals import StopRequests

if TYPE_CHECKING:
    from cnntrain.config import Experiment
    from cnntrain.overrides import Request

STOPPED_BY_SIGINT = 130
ISSUES = "please report it, with this text and the command, to the project's issues"


@dataclasses.dataclass(frozen=True)
class Verb:
    """A verb: what it does in a line, and the function that runs it on the words after it."""

    summary: str
    run: Callable[[list[str]], int]


def main(words: list[str] | None = None) -> int:
    """Runs a command line; the exit code."""
    words = sys.argv[1:] if words is None else words
    verb, rest = (words[0], words[1:]) if words and words[0] in VERBS else ("train", words)
    try:
        if words and words[0] in ("-h", "--help", "help"):
            return print_help()
        if words and words[0] == "--version":
            print(f"cnntrain {__version__}")
            return 0
        code = VERBS[verb].run(rest)
        sys.stdout.flush()  # here, where a reader that has gone is known for what it is
        return code
    except CnntrainError as error:
        return explain(error)
    except Stopped as stop:
        return stop.exit_code
    except KeyboardInterrupt:
        return STOPPED_BY_SIGINT
    except BrokenPipeError:  # the reader of our output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1 if verb == "train" else 0  # a run that ends so is not done
    except Exception:
        traceback.print_exc()
        print(f"\nThis is a mistake in cnntrain {__version__}: {ISSUES}.", file=sys.stderr)
        return 1


def explain(error: CnntrainError) -> int:
    """Prints a user's mistake; its exit code."""
    for line in str(error).splitlines():
        print(line, file=sys.stderr)
    return error.exit_code


def train(words: list[str]) -> int:
    """`cnntrain [train] key=value…`: checks every job's configuration, then runs them."""
    if any(word in ("-h", "--help", "--keys") for word in words):
        return print_help(keys="--keys" in words)
    from cnntrain import composition

    if any(word in ("-sc", "--shell-completion") for word in words):
        composition.complete(list(VERBS), words)
        return 0
    from cnntrain import multirun
    from cnntrain.config import parse

    request, overrides, experiments = checked(words)
    command = shlex.join(["cnntrain", "train", *words])
    known = [] if composition.has_sweeper(overrides) else experiments
    exit_codes = [0]

    def job(values: dict[str, Any], place: composition.Place) -> float | None:
        from cnntrain.run_dir import RunDir
        from cnntrain.train import run

        if place.multirun is not None and known[place.number or 0 :][:1] == [parse(values)]:
            multirun.record_once(place.multirun, known, command=command)
        claim = functools.partial(RunDir.create, place.folder, exact=place.exact)
        try:
            return run(parse(values), claim, command=command, requests=requests, job_number=place.number)
        except CnntrainError as error:
            exit_codes.append(explain(error))
            return None

    with StopRequests().heard() as requests:
        composition.run_jobs(request, overrides, job)
    return next((code for code in exit_codes if code), 0)


def resume(words: list[str]) -> int:
    """`cnntrain resume RUN [key=value…] [--force]`."""
    parser = argparse.ArgumentParser("cnntrain resume", description=VERBS["resume"].summary)
    parser.add_argument("run", type=Path, metavar="RUN", help="a run's folder, or that of a multirun")
    parser.add_argument(
        "changes", nargs="*", metavar="KEY=VALUE", help="what is to change, such as schedule.phases.all.epochs=60"
    )
    parser.add_argument("--force", action="store_true", help="go on although the result would not be the same")
    options = parser.parse_intermixed_args(words)
    from cnntrain import multirun, resuming

    command = shlex.join(["cnntrain", "resume", *words])
    with StopRequests().heard() as requests:
        going_on = resuming.GoingOn(options.changes, force=options.force, command=command, requests=requests)
        if multirun.is_one(options.run):
            return multirun.resume(options.run, going_on, explain)
        going_on.resume(options.run)
    return 0


def checked(words: list[str]) -> "tuple[Request, list[str], list[Experiment]]":
    """The request, Hydra's overrides and the experiment of each job; raises ConfigError with all that is wrong."""
    from cnntrain import composition, overrides
    from cnntrain.config import parse

    request = overrides.read_request(words, verbs=list(VERBS))
    prepared, problems = overrides.prepare(request)
    return request, prepared, composition.check(request, prepared, problems, parse=parse)


def inspect(words: list[str]) -> int:
    """`cnntrain inspect key=value… [--out FILE]`."""
    parser = argparse.ArgumentParser("cnntrain inspect", description=VERBS["inspect"].summary)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="what to look at, such as data=mnist")
    parser.add_argument("--out", type=Path, metavar="FILE", help="draw pictures too: a .png or .html file")
    options, others = parser.parse_known_args(words)
    experiment = only_experiment([*others, *options.overrides])
    from cnntrain import inspection

    return inspection.inspect(experiment, out=options.out)


def bench(words: list[str]) -> int:
    """`cnntrain bench key=value…`."""
    parser = argparse.ArgumentParser("cnntrain bench", description=VERBS["bench"].summary)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="what to time, such as data=mnist")
    options, others = parser.parse_known_args(words)
    experiment = only_experiment([*others, *options.overrides])
    from cnntrain import stage_speeds

    stage_speeds.bench(experiment)
    return 0


def only_experiment(words: list[str]) -> "Experiment":
    """The experiment of a command that takes no sweep and, of Hydra's flags, only those that name folders."""
    from cnntrain.overrides import VALUED

    request, _, experiments = checked(words)
    strange = [flag for flag in request.flags if flag.startswith("-") and flag not in (*VALUED, "-m", "--multirun")]
    if strange:
        raise ConfigError(f"{strange[0]}: no such flag; expected key=value, --config-dir DIR, or what --help names")
    if len(experiments) != 1:
        raise ConfigError(f"expected one configuration, without -m; received {len(experiments)}")
    return experiments[0]


def evaluate(words: list[str]) -> int:
    """`cnntrain evaluate RUN [key=value…]`."""
    parser = argparse.ArgumentParser("cnntrain evaluate", description=VERBS["evaluate"].summary)
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
    options = parser.parse_intermixed_args(words)
    from cnntrain import evaluation
    from cnntrain.overrides import key_of

    trained = evaluation.read_run(options.run)
    if options.overrides:
        flags = ["--config-dir", options.config_dir] if options.config_dir else []
        trained = dataclasses.replace(trained, experiment=with_other_data([*flags, *options.overrides], options.run))
    own_data = not any(key_of(word).startswith("data") for word in options.overrides)
    evaluation.evaluate(
        trained, own_data=own_data, split=options.split, as_json=options.json, draw=options.draw
    )
    return 0


def with_other_data(words: list[str], run: Path) -> "Experiment":
    """The experiment of a run with other data; raises ConfigError for what evaluation does not use."""
    from cnntrain import composition, overrides
    from cnntrain.config import parse

    request = overrides.read_request(words, verbs=list(VERBS))
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

    parser = argparse.ArgumentParser("cnntrain predict", description=VERBS["predict"].summary)
    parser.add_argument(
        "network", metavar="RUN|NAME", help="a run's folder, or a network that Keras trained on ImageNet: ResNet50"
    )
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="image files, or folders of them")
    parser.add_argument("--top", type=positive, default=3, metavar="K", help="so many classes an image (default: 3)")
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
    options = parser.parse_args(words)
    from cnntrain import prediction
    from cnntrain.answers import Answers

    prediction.predict(
        options.network,
        options.images,
        resize=options.resize,
        crop_box=options.crop_box,
        answers=Answers(options.top, options.form),
        draw=options.draw,
    )
    return 0


def export(words: list[str]) -> int:
    """`cnntrain export RUN`."""
    from cnntrain.export.formats import FORMATS

    parser = argparse.ArgumentParser("cnntrain export", description=VERBS["export"].summary)
    parser.add_argument("run", type=Path, metavar="RUN", help="a run's folder")
    parser.add_argument("--format", choices=tuple(FORMATS), required=True, help="what to write")
    parser.add_argument("--out", type=Path, metavar="PATH", help="where to write it (default: RUN/export/…)")
    parser.add_argument(
        "--images", type=Path, nargs="+", default=(), metavar="IMAGE",
        help="compare with predict on these (default: the run's test images)",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace an earlier export")
    options = parser.parse_args(words)
    from cnntrain.export import export

    agrees = export(
        options.run, form=options.format, out=options.out, images=options.images, force=options.force
    )
    return 0 if agrees else 1


def report(words: list[str]) -> int:
    """`cnntrain report RUN…`."""
    from cnntrain.report import verbs

    return verbs.report(words, VERBS["report"].summary)


def compare(words: list[str]) -> int:
    """`cnntrain compare RUN RUN…`."""
    from cnntrain.report import verbs

    return verbs.compare(words, VERBS["compare"].summary)


def models(words: list[str]) -> int:
    """`cnntrain models [NAME]`."""
    parser = argparse.ArgumentParser("cnntrain models", description=VERBS["models"].summary)
    parser.add_argument("name", nargs="?", metavar="NAME", help="show this model's story and layers")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--markdown", action="store_true", help="print the README's table of all models")
    options = parser.parse_args(words)
    if options.name and options.markdown:
        parser.error("--markdown is for all models; leave the name out")
    from cnntrain import gallery

    if options.name:
        gallery.show_one(options.name, as_json=options.json)
    else:
        gallery.show_all(as_json=options.json, as_markdown=options.markdown)
    return 0


def positive(text: str) -> int:
    """A whole number of at least 1, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1; received {text}")
    return number


def print_help(*, keys: bool = False) -> int:
    """The page of all verbs, examples and options, or that of all keys."""
    from cnntrain import help_page

    summaries = {name: entry.summary for name, entry in VERBS.items()}
    print(help_page.keys_page() if keys else help_page.front_page(summaries))
    return 0


VERBS = {
    "train": Verb("train a network: cnntrain [train] key=value…", train),
    "resume": Verb("go on with a stopped run, or with a finished one for longer: cnntrain resume RUN", resume),
    "models": Verb("the gallery of architectures; cnntrain models NAME shows one, layer by layer", models),
    "inspect": Verb("look at data before training: cnntrain inspect key=value… [--out page.html]", inspect),
    "bench": Verb("time each stage of the input, and the network: cnntrain bench key=value…", bench),
    "evaluate": Verb("measure a trained network on its data, or others: cnntrain evaluate RUN [data=…]", evaluate),
    "report": Verb("write a page that explains a run, report.html in its folder: cnntrain report RUN…", report),
    "compare": Verb("which run is better, and is it more than chance: cnntrain compare RUN RUN…", compare),
    "export": Verb("write a trained network for use without cnntrain: cnntrain export RUN --format onnx", export),
    "predict": Verb("classify image files: cnntrain predict RUN|NAME IMAGE…", predict),
}

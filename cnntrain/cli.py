"""The command line: one table of verbs; the first word is a verb, else `train`."""

import argparse
import dataclasses
import os
import shlex
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cnntrain import __version__
from cnntrain.errors import CnntrainError

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
        return VERBS[verb].run(rest)
    except CnntrainError as error:
        return report(error)
    except KeyboardInterrupt:
        return STOPPED_BY_SIGINT
    except BrokenPipeError:  # the reader of our output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception:
        traceback.print_exc()
        print(f"\nThis is a mistake in cnntrain {__version__}: {ISSUES}.", file=sys.stderr)
        return 1


def report(error: CnntrainError) -> int:
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
    from cnntrain.config import parse

    request = composition.read_request(words, verbs=list(VERBS))
    overrides, problems = composition.prepare(request)
    composition.check(request, overrides, problems, parse=parse)
    command = shlex.join(["cnntrain", "train", *words])
    exit_codes = [0]

    def job(values: dict[str, Any], run_dir: Path, exact: bool) -> float | None:
        from cnntrain.train import run

        try:
            return run(parse(values), run_dir, exact=exact, command=command)
        except CnntrainError as error:
            exit_codes.append(report(error))
            return None

    composition.run_jobs(request, overrides, job)
    return next((code for code in exit_codes if code), 0)


def evaluate(words: list[str]) -> int:
    """`cnntrain evaluate RUN`."""
    parser = argparse.ArgumentParser("cnntrain evaluate", description=VERBS["evaluate"].summary)
    parser.add_argument("run", type=Path, metavar="RUN", help="a run's folder")
    parser.add_argument("--split", choices=("train", "validation", "test"), default="test", help="default: test")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(words)
    from cnntrain import evaluation

    evaluation.evaluate(options.run, split=options.split, as_json=options.json)
    return 0


def predict(words: list[str]) -> int:
    """`cnntrain predict RUN IMAGE…`."""
    parser = argparse.ArgumentParser("cnntrain predict", description=VERBS["predict"].summary)
    parser.add_argument("run", type=Path, metavar="RUN", help="a run's folder")
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="image files, or folders of them")
    parser.add_argument("--top", type=positive, default=3, metavar="K", help="so many classes an image (default: 3)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(words)
    from cnntrain import prediction

    prediction.predict(options.run, options.images, top=options.top, as_json=options.json)
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
    "evaluate": Verb("measure a trained network on a split of its data", evaluate),
    "predict": Verb("classify image files with a trained network", predict),
}

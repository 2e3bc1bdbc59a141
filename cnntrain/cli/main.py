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
from typing import TYPE_CHECKING, Any, NamedTuple

from cnntrain import __version__
from cnntrain.cli import launch, parallel_jobs, run_verbs
from cnntrain.errors import CnntrainError, ConfigError, Stopped
from cnntrain.runtime import ranks
from cnntrain.runtime.signals import StopRequests

if TYPE_CHECKING:
    from cnntrain.cli.overrides import Request
    from cnntrain.experiment import Experiment

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
    from cnntrain.runtime.wording import printable_lines

    print(printable_lines(str(error)), file=sys.stderr)
    return error.exit_code


def train(words: list[str]) -> int:
    """`cnntrain [train] key=value…`: checks every job's configuration, then runs them."""
    if any(word in ("-h", "--help", "--keys") for word in words):
        return print_help(keys="--keys" in words)
    if any(word in ("-sc", "--shell-completion") for word in words):
        return complete(words)
    given = ["train", *words]
    words, flags = parallel_jobs.taken_out(words)
    request, overrides, experiments, reasons = checked(words)
    from cnntrain.checkpoints import multirun
    from cnntrain.cli import composition
    from cnntrain.experiment import parse

    for experiment in experiments:
        experiment.tracker.check()
    command = shlex.join(["cnntrain", *given])
    if flags.jobs > 1:
        print(*reasons, sep="\n", end="\n" if reasons else "")
        return run_at_once(request, overrides, experiments, flags, command=command)
    if (code := launch.needed(experiments, given)) is not None:
        return code
    known = [] if composition.has_sweeper(overrides) else experiments
    exit_codes = [0]

    def job(values: dict[str, Any], place: composition.Place) -> float | None:
        from cnntrain.runtime.run_dir import RunDir
        from cnntrain.training.preparation import wherever_started
        from cnntrain.training.run import run

        if place.multirun is not None and known[place.number or 0 :][:1] == [parse(values)]:
            multirun.record_once(place.multirun, list(map(wherever_started, known)), command=command)
        claim = functools.partial(RunDir.create, place.folder, exact=place.exact)
        if flags.stop_at_first_failure and any(exit_codes):
            print(f"{place.folder}: not run, because another job failed", file=sys.stderr)
            return None
        try:
            if place.exact:
                RunDir.refuse_occupied(place.folder)
            return run(
                parse(values), claim, command=command, requests=requests, job_number=place.number, reasons=reasons
            )
        except CnntrainError as error:
            if ranks.world() > 1:
                raise  # the others may be in the middle of this job
            exit_codes.append(explain(error))
            return None

    with StopRequests().heard() as requests:
        composition.run_jobs(request, overrides, job)
    return next((code for code in exit_codes if code), 0)


def run_at_once(
    request: "Request",
    overrides: list[str],
    experiments: "list[Experiment]",
    flags: "parallel_jobs.Flags",
    *,
    command: str,
) -> int:
    """Records a multirun's jobs and runs some at a time; returns the first exit code that is not 0."""
    from cnntrain.checkpoints import multirun
    from cnntrain.cli import composition
    from cnntrain.training.preparation import wherever_started

    if composition.has_sweeper(overrides):
        raise ConfigError("--jobs: needs to know all jobs beforehand; leave hydra/sweeper out")
    folder = composition.sweep_folder(request, overrides)
    if any(folder.glob("*/config.yaml")):
        raise ConfigError(f"hydra.sweep.dir={folder}: holds runs already; name a new folder, or resume that one")
    folder.mkdir(parents=True, exist_ok=True)
    multirun.record_once(folder, list(map(wherever_started, experiments)), command=command)
    print(f"{len(experiments)} jobs in {folder}, {flags.jobs} at a time")
    with StopRequests().heard() as requests:
        return parallel_jobs.run_jobs_of(folder, range(len(experiments)), flags, requests)


def resume(words: list[str]) -> int:
    """`cnntrain resume RUN [key=value…] [--force]`."""
    parser = argparse.ArgumentParser("cnntrain resume", description=VERBS["resume"].summary)
    parser.add_argument("run", type=Path, metavar="RUN", help="a run's folder, or that of a multirun")
    parser.add_argument(
        "changes", nargs="*", metavar="KEY=VALUE", help="what is to change, such as schedule.phases.all.epochs=60"
    )
    parser.add_argument("--force", action="store_true", help="resume even if the result would not be the same")
    parser.add_argument("--jobs", type=run_verbs.positive, default=1, metavar="N", help="of a multirun, N at a time")
    options = parser.parse_intermixed_args(words)
    from cnntrain.checkpoints import multirun
    from cnntrain.cli.resume_verb import GoingOn, resume_at_once, resume_multirun

    command = shlex.join(["cnntrain", "resume", *words])
    with StopRequests().heard() as requests:
        going_on = GoingOn(options.changes, force=options.force, command=command, requests=requests)
        if multirun.is_one(options.run):
            if options.jobs > 1:
                return resume_at_once(options.run, going_on, options.jobs)
            return resume_multirun(options.run, going_on, explain)
        return going_on.resume(options.run)


def complete(words: list[str]) -> int:
    """What a shell asks for when Tab is pressed."""
    from cnntrain.cli import composition

    composition.complete(list(VERBS), words)
    return 0


class Checked(NamedTuple):
    """A command line that holds: the request, Hydra's overrides, the experiment of each job, and why its network was
    chosen, if model=auto."""

    request: "Request"
    overrides: list[str]
    experiments: "list[Experiment]"
    reasons: list[str]


def checked(words: list[str]) -> Checked:
    """Reads a command line; raises ConfigError with all that is wrong."""
    from cnntrain.cli import mistyped_keys, overrides

    request = overrides.read_request(words, verbs=list(VERBS))
    if mistyped := mistyped_keys.problems_with_keys(request):
        raise ConfigError(*mistyped)
    from cnntrain.cli import composition  # loads Hydra, which takes longer than all the rest
    from cnntrain.experiment import parse

    prepared, problems = overrides.prepare(request)
    experiments = composition.check(request, prepared, problems, parse=parse)
    from cnntrain.cli import auto_model

    if any(map(auto_model.is_open, experiments)):
        return Checked(request, *auto_model.decide(request, prepared, experiments))
    return Checked(request, prepared, experiments, [])


def inspect(words: list[str]) -> int:
    """`cnntrain inspect key=value… [--out FILE]`, or `cnntrain inspect RUN… --labels [--out FILE]`."""
    parser = argparse.ArgumentParser("cnntrain inspect", description=VERBS["inspect"].summary)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="what to look at, such as data=mnist")
    parser.add_argument("--out", type=Path, metavar="FILE", help="draw pictures too: a .png or .html file")
    parser.add_argument(
        "--labels", action="store_true",
        help="name runs instead: rank images whose label looks wrong, by runs that did not train on them",
    )  # fmt: skip
    options, others = parser.parse_known_args(words)
    if options.labels:
        return inspect_labels([*others, *options.overrides], out=options.out)
    experiment = only_experiment([*others, *options.overrides])
    from cnntrain.inspection.inspect import inspect as inspect_data

    return inspect_data(experiment, out=options.out)


def inspect_labels(words: list[str], *, out: Path | None) -> int:
    """`cnntrain inspect RUN… --labels`."""
    strange = [word for word in words if word.startswith("-") or not Path(word).exists()]
    if strange or not words:
        received = strange[0] if strange else "none"
        raise ConfigError(f"--labels: expected folders of runs, or a multirun's; received {received}")
    from cnntrain.inspection.labels import rank_labels

    return rank_labels([Path(word) for word in words], out=out)


def bench(words: list[str]) -> int:
    """`cnntrain bench key=value…`."""
    parser = argparse.ArgumentParser("cnntrain bench", description=VERBS["bench"].summary)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="what to time, such as data=mnist")
    options, others = parser.parse_known_args(words)
    experiment = only_experiment([*others, *options.overrides])
    from cnntrain.inspection import stage_speeds

    stage_speeds.bench(experiment)
    return 0


def only_experiment(words: list[str]) -> "Experiment":
    """The experiment of a command that takes no sweep and, of Hydra's flags, only those that name folders."""
    from cnntrain.cli.overrides import VALUED

    request, _, experiments, reasons = checked(words)
    strange = [flag for flag in request.flags if flag.startswith("-") and flag not in (*VALUED, "-m", "--multirun")]
    if strange:
        raise ConfigError(f"{strange[0]}: no such flag; expected key=value, --config-dir DIR, or what --help names")
    if len(experiments) != 1:
        raise ConfigError(f"expected one configuration, without -m; received {len(experiments)}")
    for line in reasons:
        print(line)
    return experiments[0]


def report(words: list[str]) -> int:
    """`cnntrain report RUN…`."""
    from cnntrain.cli import report_verbs

    return report_verbs.report(words, VERBS["report"].summary)


def compare(words: list[str]) -> int:
    """`cnntrain compare RUN RUN…`."""
    from cnntrain.cli import report_verbs

    return report_verbs.compare(words, VERBS["compare"].summary)


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
    from cnntrain.inspection import gallery

    if options.name:
        gallery.show_one(options.name, as_json=options.json)
    else:
        gallery.show_all(as_json=options.json, as_markdown=options.markdown)
    return 0


def print_help(*, keys: bool = False) -> int:
    """The page of all verbs, examples and options, or that of all keys."""
    from cnntrain.cli import help_page

    summaries = {name: entry.summary for name, entry in VERBS.items()}
    print(help_page.keys_page() if keys else help_page.front_page(summaries))
    return 0


VERBS = {
    "train": Verb("train a network: cnntrain [train] key=value…", train),
    "launch": Verb(launch.LAUNCH, launch.launch),
    "resume": Verb("resume a stopped run, or extend a finished one: cnntrain resume RUN", resume),
    "models": Verb("the gallery of architectures; cnntrain models NAME shows one, layer by layer", models),
    "inspect": Verb("look at data before training: cnntrain inspect key=value… [--out page.html]", inspect),
    "bench": Verb("time each stage of the input, and the network: cnntrain bench key=value…", bench),
    "evaluate": Verb(run_verbs.EVALUATE, run_verbs.evaluate),
    "report": Verb("write a page that explains a run, report.html in its folder: cnntrain report RUN…", report),
    "compare": Verb("which run is better, and is it more than chance: cnntrain compare RUN RUN…", compare),
    "export": Verb(run_verbs.EXPORT, run_verbs.export),
    "soup": Verb(run_verbs.SOUP, run_verbs.soup),
    "predict": Verb(run_verbs.PREDICT, run_verbs.predict),
}

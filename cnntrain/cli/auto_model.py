"""`model=auto`: from what the command line says to an ordinary configuration."""

import dataclasses
import shlex
from typing import NamedTuple

from cnntrain.cli import composition
from cnntrain.cli.overrides import Request, key_of
from cnntrain.errors import ConfigError, DataError
from cnntrain.experiment import Experiment, parse
from cnntrain.inspection import auto
from cnntrain.models.keras_weights import weights_file
from cnntrain.runtime import backend, ranks


class Decision(NamedTuple):
    """The overrides that say what was chosen, the experiments that they describe, and the reasons in three lines."""

    overrides: list[str]
    experiments: list[Experiment]
    reasons: list[str]


def is_open(experiment: Experiment) -> bool:
    """Whether an experiment leaves its network to us."""
    return getattr(experiment.model, "backbone", None) == "auto"


def decide(request: Request, overrides: list[str], experiments: list[Experiment]) -> Decision:
    """Looks at the data, and chooses the network; raises ConfigError if the jobs need more than one choice."""
    first = experiments[0]
    if not all(map(is_open, experiments)) or any(kind(each) != kind(first) for each in experiments):
        raise ConfigError("model=auto: chooses once for all jobs; expected a sweep that changes neither model nor data")
    first.data.check()
    backend.load()
    facts = auto.Facts.of(first.data.load())
    minutes = first.limits.minutes or auto.MINUTES
    own_schedule = any(key_of(text) == "schedule" for text in overrides)
    slowness, seconds = ranks.agreed_number(auto.slowness()), 0.0
    unreachable: list[auto.Candidate] = []
    for candidate in auto.candidates(facts):
        if own_schedule and candidate.schedule:
            continue
        words = rewritten(overrides, candidate)
        seconds = auto.expected_seconds(candidate, composed(request, words), facts, slowness=slowness)
        if seconds > 60 * minutes:
            continue
        if ranks.agreed_number(auto.reachable(candidate)):
            return Decision(
                words,
                composition.check(request, words, [], parse=parse),
                reasons(candidate, facts, seconds=seconds, minutes=minutes, unreachable=unreachable),
            )
        unreachable.append(candidate)
    raise nothing_found(facts, unreachable, seconds=seconds, minutes=minutes)


def kind(experiment: Experiment) -> object:
    """What must be the same in all jobs: the data but for the fold, and the limits."""
    return dataclasses.replace(experiment.data, fold=0), experiment.limits


def rewritten(overrides: list[str], candidate: auto.Candidate) -> list[str]:
    """The overrides with the candidate's words; those of the user win."""
    given = {key_of(text.lstrip("+")) for text in overrides}
    kept = [text for text in overrides if key_of(text.lstrip("+")) not in ("model", "model.backbone")]
    words = [word for word in candidate.words if key_of(word) not in given - {"model", "model.backbone"}]
    return [*kept, *(word if "." not in key_of(word) else f"++{word}" for word in words)]


def composed(request: Request, overrides: list[str]) -> Experiment:
    """The experiment of the first job."""
    values, _ = composition.compose(request, next(composition.jobs(request, overrides)))
    return parse(values)


def reasons(
    candidate: auto.Candidate, facts: auto.Facts, *, seconds: float, minutes: float, unreachable: list[auto.Candidate]
) -> list[str]:
    """What was chosen and why, in three lines."""
    names = list(dict.fromkeys(str(each.backbone) for each in unreachable))
    beyond = f"; the weights of {', '.join(names)} can't be reached" if names else ""
    about = f"about {max(1, round(seconds / 60))} of at most {minutes:g} minutes"
    return [
        f"model=auto: {facts.text()}",
        f"model=auto: {candidate.title}: {why(candidate, facts)}, {about}{beyond}",
        f"model=auto: the same as {shlex.join(candidate.words)}",
    ]


def why(candidate: auto.Candidate, facts: auto.Facts) -> str:
    """The reason in a few words."""
    if candidate.backbone is None:
        return "small images learn as well from scratch" if facts.per_class >= auto.ENOUGH else "no transfer fits"
    if facts.small:
        return f"less than {auto.ENOUGH} small images per class learn better by transfer"
    return f"the best on ImageNet ({candidate.accuracy:.3f}) that fits"


def nothing_found(
    facts: auto.Facts, unreachable: list[auto.Candidate], *, seconds: float, minutes: float
) -> ConfigError | DataError:
    """The error if no candidate fits."""
    if not unreachable:
        return ConfigError(
            f"model=auto: {facts.text()}: even the quickest network takes about {seconds / 60:.0f} minutes here,"
            f" more than {minutes:g}; raise limits.minutes, or choose a model yourself (cnntrain models)"
        )
    best = unreachable[0]
    file = weights_file(str(best.backbone), (*best.image_size, 3), include_top=False)
    return DataError(
        f"model=auto: {facts.text()}: photos need a network that was trained on ImageNet, and the weights of none that"
        f" fits {minutes:g} minutes can be reached.\nGet {file.address}\nand put it at {file.path}\nOr name a network"
        " that you have (model.weights=FILE), or train from scratch, such as model=resnet18"
    )

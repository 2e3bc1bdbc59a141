"""The pages of `cnntrain --help` and `cnntrain train --keys`, made from conf/ and the settings themselves."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

EXAMPLES = (
    ("cnntrain", "LeNet-5 on scikit-learn's digits: nothing to download"),
    ("cnntrain model=lenet5 data=mnist", "choose an option from each group"),
    ("cnntrain data=folder data.path=photos", "your own images, one folder per class"),
    ("cnntrain optimizer=sgd optimizer.learning_rate=0.1", "change any value"),
    ("cnntrain -m model=lenet5 seed=1,2,3", "one run for each combination"),
    ("cnntrain -m data.folds=5 data.fold=0,1,2,3,4", "cross-validation"),
    ("cnntrain experiment=digits_on_canvas", "what a digit is, and where: classes and boxes"),
    ("cnntrain tracker=mlflow,tensorboard", "other programs keep the run's numbers and pictures too"),
    ("cnntrain experiment=smoke", "two steps of everything, to see that it works"),
    ("cnntrain … --cfg job", "show the configuration, don't train"),
    ("cnntrain resume RUN", "resume a run that was stopped"),
    ("cnntrain evaluate RUN --split validation", "evaluate a trained network"),
    ("cnntrain report RUN", "a page that explains a run (each run ends by writing one)"),
    ("cnntrain compare RUN RUN", "which is better, and is it more than chance"),
    ("cnntrain predict RUN photo.jpg", "classify images"),
    ("cnntrain predict ResNet50 photo.jpg", "with Keras's weights, by ImageNet's classes"),
    ("cnntrain export RUN --format onnx", "use the network elsewhere"),
)
FLAGS = (
    ("-m, --multirun", "run all combinations of comma-separated values"),
    ("--jobs N", "run N jobs of a multirun at a time, each with its share of the cores and its own GPU"),
    ("--stop-at-first-failure", "end a multirun when a job fails"),
    ("--cfg job", "print the configuration that would run"),
    ("--config-dir DIR", "look for options in DIR/GROUP/*.yaml too"),
    ("hydra.run.dir=PATH", "the run's folder (default: outputs/DATE/TIME-MODEL-DATA)"),
    ("-sc install=bash", "print what `eval` needs for completion: eval \"$(cnntrain -sc install=bash)\""),
)


def front_page(verbs: Mapping[str, str]) -> str:
    """Verbs, examples, groups and their options."""
    lines = ["cnntrain trains image classifiers from configuration files.", ""]
    lines += ["usage: cnntrain [VERB] …        (no verb: train)", ""]
    lines += section("verbs", verbs.items())
    lines += section("examples", EXAMPLES)
    lines += ["groups and their options (GROUP=OPTION):"]
    for group, names in groups().items():
        lines.append(f"  {group:<14}{wrapped(', '.join(names), 14)}")
    lines += ["", *section("flags of train", FLAGS)]
    lines += ["cnntrain train --keys lists every key; cnntrain VERB --help explains a verb."]
    return "\n".join(lines)


def section(title: str, rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    """A titled list of two columns."""
    rows = list(rows)
    width = max(len(name) for name, _ in rows) + 2
    yield f"{title}:"
    for name, text in rows:
        yield f"  {name:<{width}}{text}"
    yield ""


def groups() -> dict[str, list[str]]:
    """The shipped options of each group."""
    folders = sorted(path for path in shipped().iterdir() if path.is_dir())
    return {folder.name: sorted(file.stem for file in folder.glob("*.yaml")) for folder in folders}


def shipped() -> Path:
    """The folder of shipped YAML files."""
    from cnntrain.cli.overrides import conf_dir

    return conf_dir()


def wrapped(text: str, indent: int) -> str:
    """Text in lines of at most 100 columns, those after the first indented."""
    import textwrap

    return f"\n{' ' * (indent + 2)}".join(textwrap.wrap(text, 100 - indent))


def keys_page() -> str:
    """Every key with its default and what it takes, by group."""
    from cnntrain.experiment import CHOICES, Experiment
    from cnntrain.optimization.schedule import Phase
    from cnntrain.settings import fields_of, settings_of

    lines = ["usage: cnntrain [train] GROUP=OPTION… KEY=VALUE…", "", "top level:"]
    annotations = {name: kind for name, kind in fields_of(Experiment).items() if name not in (*CHOICES, "schedule")}
    nested: dict[str, Any] = {name: kind for name, kind in annotations.items() if dataclasses.is_dataclass(kind)}
    lines += key_lines(Experiment, "", [name for name in annotations if name not in nested])
    nested |= {f"tracker.{name}": settings_of(kind) for name, kind in fields_of(nested.pop("tracker")).items()}
    nested["schedule.phases.NAME"] = Phase
    for prefix, settings in nested.items():
        lines += ["", f"{prefix}:", *key_lines(settings, f"{prefix}.", list(fields_of(settings)))]
    for group, (key, classes) in CHOICES.items():
        base = next(iter(classes.values())).__mro__[-2]
        common = list(fields_of(base))
        lines += ["", f"{group}, all:", *key_lines(base, f"{group}.", [name for name in common if name != key])]
        for name, cls in classes.items():
            own = [field for field in fields_of(cls) if field not in common]
            if own:
                lines += [f"{group}, {key} {name}:", *key_lines(cls, f"{group}.", own)]
    return "\n".join(lines)


def key_lines(cls: type, prefix: str, names: list[str]) -> Iterator[str]:
    """A line for each key: its full name, default, and what it takes."""
    from cnntrain.settings import describe, fields_of, has_default

    defaults = {
        field.name: field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        for field in dataclasses.fields(cls)
    }
    for name in names:
        default = "null" if defaults[name] is None else str(defaults[name]) if has_default(cls, name) else "required"
        yield f"  {prefix + name:<48} {default:<12} {describe(fields_of(cls)[name])}"

"""Hydra: from the words of a command line to one configuration a job, checked before anything runs.

Hydra runs callbacks and writes files before our code is asked. So every job's configuration is composed and
parsed first (`check`), and only then does Hydra run the jobs (`run_jobs`).
"""

import contextlib
import itertools
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from cnntrain.cli.overrides import (
    OVERRIDE,
    PRIMARY,
    Request,
    accepted,
    conf_dir,
    group_names,
    key_of,
    options,
    quote,
    quoted,
)
from cnntrain.did_you_mean import unknown
from cnntrain.errors import ConfigError
from cnntrain.runtime.yaml_file import Bomb, read_yaml

Parsed = TypeVar("Parsed")
COMPOSING = ("train", "inspect", "bench")  # the verbs that take key=value


def check(
    request: Request, overrides: list[str], problems: list[str], *, parse: Callable[[Mapping[str, Any]], Parsed]
) -> list[Parsed]:
    """Composes and parses the configuration of every job; raises one ConfigError with all that is wrong."""
    refuse_bombs(request)
    parsed = []
    problems = [*problems, *wrong_defaults(request)]
    found: dict[str, None] = dict.fromkeys(problems)
    for job in jobs(request, overrides):
        try:
            values, hydra_values = compose(request, job)
        except ConfigError as error:
            found.update(dict.fromkeys(error.problems if not problems else ()))
            continue
        found.update(dict.fromkeys(code_in(values, hydra_values)))
        try:
            parsed.append(parse(values))
        except ConfigError as error:
            found.update(dict.fromkeys(error.problems))
    if found:
        raise ConfigError(*found)
    return parsed


def jobs(request: Request, overrides: list[str]) -> Iterator[list[str]]:
    """The overrides of each job; a sweep by another sweeper counts as one job, without what is swept."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed = OverridesParser.create().parse_overrides(overrides)
    sweeps = [item for item in parsed if item.is_sweep_override()]
    fixed = [item.input_line or "" for item in parsed if not item.is_sweep_override()]
    if not request.multirun or has_sweeper(overrides):
        yield fixed
        return
    choices = [[f"{item.get_key_element()}={value}" for value in item.sweep_string_iterator()] for item in sweeps]
    for combination in itertools.product(*choices):
        yield [*fixed, *combination]


def has_sweeper(overrides: list[str]) -> bool:
    """Whether another sweeper than Hydra's own makes the jobs up as it goes."""
    return any(text.lstrip("+").startswith("hydra/sweeper=") for text in overrides)


def compose(request: Request, overrides: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The plain values of a configuration, and Hydra's own; runs nothing. Raises ConfigError."""
    import hydra
    import yaml
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    search = [f"hydra.searchpath=[{quote(f'file://{request.config_dir}')}]"] if request.config_dir else []
    try:
        with hydra.initialize_config_dir(str(request.folders[0]), version_base="1.3", job_name="cnntrain"):
            config = hydra.compose(request.config_name, [*search, *overrides], return_hydra_config=True)
        hydra_values = OmegaConf.to_container(config["hydra"], resolve=False)
        return plain(config), cast(dict[str, Any], hydra_values)
    except (HydraException, OmegaConfBaseException, yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(explain(error)) from error


def compose_over(run: Path, request: Request, overrides: list[str]) -> dict[str, Any]:
    """The configuration that a run recorded, with other values: data=OPTION replaces its whole group.

    Raises ConfigError.
    """
    recorded = Request(config_path=run.resolve(), config_name="config")
    if not any(key_of(text) == "data" for text in overrides):
        return compose(recorded, overrides)[0]
    of_data = [text for text in overrides if key_of(text).startswith("data")]
    others = [text for text in overrides if text not in of_data]
    return compose(recorded, others)[0] | {"data": compose(request, of_data)[0]["data"]}


def changed(values: Mapping[str, Any], words: list[str]) -> dict[str, Any]:
    """A plain configuration with KEY=VALUE words put into it; raises ConfigError for other words."""
    import copy

    from hydra.core.override_parser.overrides_parser import OverridesParser

    result = copy.deepcopy(dict(values))
    groups = group_names([conf_dir()])
    for word in words:
        key, equals, value = word.lstrip("+").partition("=")
        if not equals or word.startswith(("-", "~")) or key.startswith("hydra"):
            raise ConfigError(f"{word}: expected KEY=VALUE, such as schedule.phases.all.epochs=60")
        if key in groups:
            raise ConfigError(f"{word}: a run keeps its options; expected the full key of a value, {key}.…=…")
        text = quoted(key, value, multirun=False)
        if not accepted(text, multirun=False):
            raise ConfigError(f"{word}: can't be read; expected KEY=VALUE")
        *path, last = key.split(".")
        place = result
        for name in path:
            place = place.setdefault(name, {})
            if not isinstance(place, dict):
                raise ConfigError(f"{word}: {name} is a value and has no keys below it")
        place[last] = OverridesParser.create().parse_override(text).value()
    return result


def plain(config: Any) -> dict[str, Any]:
    """A composed configuration without Hydra's part, interpolations resolved, as dicts and lists."""
    from omegaconf import OmegaConf, open_dict

    config = config.copy()
    with open_dict(config):
        config.pop("hydra", None)
    return cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))


def explain(error: Exception) -> str:
    """Hydra's message without its frame, and its search path, which is not the user's business."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    kept = list(itertools.takewhile(lambda line: "Config search path" not in line and "full_key" not in line, lines))
    return "; ".join(line.strip() for line in kept) or type(error).__name__


def wrong_defaults(request: Request) -> list[str]:
    """What the defaults lists of the user's own YAML files name that does not exist."""
    problems = []
    for path in own_files(request):
        try:
            content = read_yaml(path)
        except ValueError as error:
            problems.append(str(error))
            continue
        for item in content.get("defaults", ()) if isinstance(content, dict) else ():
            for key, option in item.items() if isinstance(item, dict) else ():
                group = re.sub(r"^(override |optional )*/?", "", str(key)).partition("@")[0]
                names = options(request.folders, group)
                for name in option if isinstance(option, list) else [option]:
                    if isinstance(name, str) and "$" not in name and names and name not in names:
                        problems.append(unknown(f"{path}: defaults: {group}: no such option {name!r}", name, names))
    return problems


def refuse_bombs(request: Request) -> None:
    """Raises ConfigError for a YAML file of the user's own folders that Hydra would unfold without an end."""
    for folder in (request.config_dir, request.config_path):
        for path in folder.rglob("*.yaml") if folder else ():
            try:
                read_yaml(path)
            except Bomb as error:
                raise ConfigError(str(error)) from error
            except ValueError:
                continue  # said where the file is used


def own_files(request: Request) -> list[Path]:
    """The YAML files of the user's own folders that this command line takes part of."""
    folders = [folder for folder in (request.config_dir, request.config_path) if folder]
    chosen = [OVERRIDE.fullmatch(text) for text in request.overrides]
    wanted = [f"{match['key'].strip()}/{match['value']}.yaml" for match in chosen if match]
    wanted.append(f"{request.config_name}.yaml")
    return [folder / name for folder in folders for name in wanted if (folder / name).is_file()]


def code_in(values: Any, hydra_values: dict[str, Any]) -> list[str]:
    """Settings that would make Hydra run or write something of a YAML file's choosing."""
    targets = [key for key in keys_of(values) if key.endswith("_target_")]
    found = [f"{key}: YAML files can't name code to run; remove it" for key in targets]
    if hydra_values.get("callbacks"):
        found.append("hydra.callbacks: would run code; remove it")
    for key in ("job_logging", "hydra_logging"):
        if hydra_values.get(key) and set(hydra_values[key]) & {"handlers", "formatters", "filters", "loggers"}:
            found.append(f"hydra.{key}: could write to any file; remove it (a run has its own log.txt)")
    for key in ("sweeper", "launcher"):
        target = str((hydra_values.get(key) or {}).get("_target_", ""))
        if target and not target.startswith(("hydra._internal.core_plugins.", "hydra_plugins.")):
            found.append(f"hydra.{key}._target_: expected one of Hydra's plugins; received {target}")
    return found


def keys_of(values: Any, prefix: str = "") -> Iterator[str]:
    """The full keys of nested mappings."""
    if isinstance(values, Mapping):
        for key, value in values.items():
            yield f"{prefix}{key}"
            yield from keys_of(value, f"{prefix}{key}.")
    elif isinstance(values, list):
        for number, value in enumerate(values):
            yield from keys_of(value, f"{prefix}{number}.")


@dataclass(frozen=True)
class Place:
    """Where a job's run goes: `exact` says that the folder was named outright.

    Of a multirun: the folder of all its jobs, and the number of this one.
    """

    folder: Path
    exact: bool
    multirun: Path | None = None
    number: int | None = None


def sweep_folder(request: Request, overrides: list[str]) -> Path:
    """The folder of a multirun's jobs, as Hydra would name it now."""
    import hydra

    first = next(jobs(request, overrides))
    search = [f"hydra.searchpath=[{quote(f'file://{request.config_dir}')}]"] if request.config_dir else []
    with hydra.initialize_config_dir(str(request.folders[0]), version_base="1.3", job_name="cnntrain"):
        config = hydra.compose(request.config_name, [*search, *first], return_hydra_config=True)
    return Path(config.hydra.sweep.dir).expanduser().absolute()


def run_jobs(request: Request, overrides: list[str], job: Callable[[dict[str, Any], Place], Any]) -> None:
    """Lets Hydra run `job` once, or once for each job of a multirun, with its values and place.

    Also serves Hydra's own --cfg, --info and completion.
    """
    import hydra
    from hydra.core.hydra_config import HydraConfig

    started = []

    def task(config: Any) -> Any:
        started.append(True)
        hydra_config = HydraConfig.get()
        folder = Path(hydra_config.runtime.output_dir)
        place = Place(folder, any(item.startswith("hydra.run.dir=") for item in hydra_config.overrides.hydra))
        if hydra_config.mode is not None and hydra_config.mode.name == "MULTIRUN":
            place = Place(folder, True, Path(hydra_config.sweep.dir).absolute(), int(hydra_config.job.num))
        try:
            return job(plain(config), place)
        finally:
            with contextlib.suppress(OSError):
                folder.rmdir()  # Hydra made it; it is empty when the job failed at its start

    os.environ["HYDRA_FULL_ERROR"] = "1"  # exceptions come to us, instead of a traceback and exit code 1
    sys.argv = ["cnntrain", *request.arguments(overrides)]
    try:
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=PRIMARY)(task)()
    except OSError as error:
        if started:
            raise
        raise ConfigError(f"hydra.run.dir: the run's folder can't be made: {error}") from error


def complete(verbs: list[str], words: list[str]) -> None:
    """Shell completion: Hydra's, which knows no verbs, for a line without its verb; and the verbs."""
    line = os.environ.get("COMP_LINE", "")
    typed = line.split()
    if len(typed) > 1 and typed[1] in verbs and (len(typed) > 2 or line.endswith(" ")):
        if typed[1] not in COMPOSING:
            return  # paths: the shell's own completion
        line = line.replace(f" {typed[1]}", "", 1)
        os.environ["COMP_LINE"], os.environ["COMP_POINT"] = line, str(len(line))
    elif any(word.startswith("query=") for word in words) and len(typed) <= 2 and not line.endswith(" "):
        print("\n".join(verb for verb in verbs if verb.startswith(typed[1] if len(typed) == 2 else "")))
    run_jobs(Request(flags=words), [], lambda *_: None)

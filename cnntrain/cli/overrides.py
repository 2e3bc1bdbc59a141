"""A command line's overrides, made such that Hydra takes them: checked options, quoted values.

Hydra reports one mistake at a time, and its grammar refuses many paths.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

from cnntrain.did_you_mean import unknown
from cnntrain.errors import ConfigError

PRIMARY = "train"
TOGETHER = ("tracker",)  # groups of whose options several are chosen at once
# Hydra's options that take a value of their own, as separate words
VALUED = {
    "--config-dir": "config_dir",
    "-cd": "config_dir",
    "--config-path": "config_path",
    "-cp": "config_path",
    "--config-name": "config_name",
    "-cn": "config_name",
    "--cfg": "other",
    "-c": "other",
    "--package": "other",
    "-p": "other",
    "--experimental-rerun": "rerun",
}
OVERRIDE = re.compile(r"(?P<sign>[+~]{0,2})(?P<key>[^=]+?)(?P<equals>=(?P<value>.*))?", re.DOTALL)


def conf_dir() -> Path:
    """The shipped YAML files: inside an installed package, or at the top of a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


@dataclass
class Request:
    """A command line, taken apart."""

    overrides: list[str] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)
    config_dir: Path | None = None
    config_path: Path | None = None
    config_name: str = PRIMARY
    multirun: bool = False

    @property
    def folders(self) -> list[Path]:
        """Where group options are looked up."""
        primary = self.config_path or conf_dir()
        return [primary, *([self.config_dir] if self.config_dir else [])]

    def arguments(self, overrides: list[str]) -> list[str]:
        """The command line for Hydra."""
        return [*self.flags, *overrides]


def read_request(words: list[str], *, verbs: list[str]) -> Request:
    """Sorts words into overrides and Hydra's flags; raises ConfigError for a word that is neither."""
    request = Request()
    remaining = iter(words)
    for word in remaining:
        name, _, inline = word.partition("=")
        if name in VALUED and word.startswith("-"):
            value = inline if "=" in word else next(remaining, None)
            if value is None:
                raise ConfigError(f"{name}: expected a value after it")
            place_flag(request, name, value)
        elif word.startswith("-"):
            request.flags.append(word)
            request.multirun |= word in ("-m", "--multirun")
        elif OVERRIDE.fullmatch(word) and ("=" in word or word.startswith("~")):
            request.overrides.append(word)
        else:
            raise ConfigError(
                unknown(f"{word}: expected key=value, such as batch_size=64, or a verb as first word", word, verbs)
            )
    return request


def place_flag(request: Request, name: str, value: str) -> None:
    """Records one of Hydra's flags that take a value."""
    kind = VALUED[name]
    if kind == "rerun":
        raise ConfigError("--experimental-rerun: ignores what the command line says; use -cp RUN -cn config")
    if kind in ("config_dir", "config_path"):
        folder = Path(value).expanduser().resolve()
        if not folder.is_dir():
            raise ConfigError(f"{name}: expected a folder of YAML files; {folder} is none")
        setattr(request, kind, folder)
        value = str(folder)
    elif kind == "config_name":
        request.config_name = value
    request.flags += [name, value]


def prepare(request: Request) -> tuple[list[str], list[str]]:
    """The overrides as Hydra is to see them, and the problems with group options among them.

    Values are set whether or not the key stands in a YAML file, since parsing checks keys better than Hydra;
    values that its grammar refuses are quoted. Several options at once, A,B or [A,B], become a list.
    """
    groups = {group: options(request.folders, group) for group in group_names(request.folders)}
    prepared, problems = [], []
    for text in request.overrides:
        match = OVERRIDE.fullmatch(text)
        if match is None:
            continue
        key, value = match["key"].strip(), match["value"]
        group = key.partition("@")[0]
        if group in groups:
            names = options_chosen(group, value, multirun=request.multirun)
            if group in TOGETHER and len(names) > 1:
                text = f"{key}=[{','.join(names)}]"
            wrong = wrong_options(group, value, groups[group], multirun=request.multirun)
            problems += wrong
            if not wrong:
                prepared.append(text.lstrip("+"))
        elif match["sign"].startswith("~") or group == "hydra" or group.startswith(("hydra.", "hydra/")):
            prepared.append(quoted(match["sign"] + key, value, multirun=request.multirun))
        else:
            prepared.append(quoted(f"++{key}", value, multirun=request.multirun))
    unreadable = [text for text in prepared if not accepted(text, multirun=True)]
    problems += [f"{text.lstrip('+')}: can't be read; expected KEY=VALUE or GROUP=OPTION" for text in unreadable]
    return [text for text in prepared if text not in unreadable], problems


def options_chosen(group: str, value: str | None, *, multirun: bool) -> list[str]:
    """The options that an override of a group names."""
    several = multirun or group in TOGETHER
    return option_names(value.strip("[]") if value and group in TOGETHER else value, several)


def wrong_options(group: str, value: str | None, valid: list[str], *, multirun: bool) -> list[str]:
    """A text for each option that a group does not have."""
    several = multirun or group in TOGETHER
    hint = " (several options need -m)" if not several and "," in (value or "") else ""
    names = options_chosen(group, value, multirun=multirun)
    return [unknown(f"{group}={name}: no such option{hint}", name, valid) for name in names if name not in valid]


def key_of(text: str) -> str:
    """The key of an override, or the group whose option it chooses."""
    match = OVERRIDE.fullmatch(text)
    return match["key"].strip().partition("@")[0] if match else text


def option_names(value: str | None, several: bool) -> list[str]:
    """The options that a group override chooses; none for null, lists and sweep functions."""
    if value is None or value in ("null", "") or value[0] in "[({" or "(" in value:
        return []
    return [name.strip() for name in value.split(",")] if several else [value.strip()]


def group_names(folders: list[Path]) -> list[str]:
    """The config groups, one a folder."""
    found = {
        path.relative_to(folder).as_posix() for folder in folders for path in folder.rglob("*") if path.is_dir()
    }
    return sorted(found)


def options(folders: list[Path], group: str) -> list[str]:
    """The options of a group, one a YAML file."""
    return sorted({path.stem for folder in folders for path in (folder / group).glob("*.yaml")})


def quoted(key: str, value: str | None, *, multirun: bool) -> str:
    """An override whose value Hydra's grammar takes, each element of a sweep for itself."""
    if value is None:
        return key
    text = f"{key}={value}"
    if accepted(text, multirun):
        return text
    values = split_at_commas(value) if multirun else [value]
    escaped = [item if accepted(f"{key}={item}", False) else quote(item) for item in values]
    return f"{key}={','.join(escaped)}"


def quote(value: str) -> str:
    """A value as Hydra's quoted string."""
    escaped = re.sub(r"(\\*)'", lambda match: match[1] * 2 + r"\'", value)
    trailing = re.search(r"\\*$", escaped)
    return f"'{escaped}{trailing[0] if trailing else ''}'"


def split_at_commas(value: str) -> list[str]:
    """The parts of a value between commas that stand in no bracket and in no quotes."""
    return re.findall(r"(?:\[[^\]]*\]|\{[^}]*\}|\([^)]*\)|'[^']*'|\"[^\"]*\"|[^,])+", value)


def accepted(text: str, multirun: bool) -> bool:
    """Whether Hydra's grammar reads an override, as one value unless sweeps are wanted."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        override = OverridesParser.create().parse_override(text)
    except HydraException:
        return False
    return multirun or not override.is_sweep_override()

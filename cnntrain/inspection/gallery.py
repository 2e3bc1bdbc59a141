"""The model gallery: every architecture with its size and cost, and one network layer by layer."""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from cnntrain.did_you_mean import unknown
from cnntrain.errors import ConfigError
from cnntrain.models import MODELS, Architecture
from cnntrain.models.cost import multiply_adds
from cnntrain.runtime import backend
from cnntrain.runtime.terminal import Terminal

if TYPE_CHECKING:
    import keras

HEADINGS = ("model", "architecture", "year", "parameters", "multiply-adds", "input", "paper", "pretrained")
NUMBERS = ("year", "parameters", "multiply-adds")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """The gallery's facts about a model in its published configuration.

    Sizes are those of the network at inference: auxiliary outputs, which only help training, are left
    out. `parameters` includes moving statistics; `multiply_adds` is for one image of `image_size` (height,
    width), in convolutions and dense layers.
    """

    name: str
    title: str
    year: int
    paper: str
    parameters: int
    trainable_parameters: int
    multiply_adds: int
    image_size: tuple[int, int]
    channels: int
    classes: int
    pretrained: bool

    def cells(self) -> tuple[str, ...]:
        """One text for each heading in HEADINGS."""
        size = "×".join(map(str, (*self.image_size, self.channels)))
        weights = "ImageNet" if self.pretrained else ""
        counts = millions(self.parameters), millions(self.multiply_adds)
        return (self.name, self.title, str(self.year), *counts, size, self.paper, weights)


def show_all(*, as_json: bool, as_markdown: bool) -> None:
    """Prints an entry for every model."""
    with building("all models") as status:
        entries = []
        for number, name in enumerate(MODELS, start=1):
            status(f"building {name}, {number} of {len(MODELS)}")
            entries.append(entry(MODELS[name](name=name)))
    if as_json:
        print(json.dumps([asdict(one) for one in entries], indent=2))
    elif as_markdown:
        print(markdown(entries))
    else:
        table = Table(*HEADINGS[:1])
        for heading in HEADINGS[1:]:
            table.add_column(heading, justify="right" if heading in NUMBERS else "left", overflow="fold")
        for one in entries:
            table.add_row(*one.cells())
        Terminal().table(table)


def show_one(name: str, *, as_json: bool) -> None:
    """Prints a model's description and layers, or its entry as JSON."""
    if name not in MODELS:
        raise ConfigError(unknown(f"{name}: no such model", name, MODELS))
    architecture = MODELS[name](name=name)
    with building(name):
        network = build_without_weights(architecture)
        facts = entry(architecture)
    if as_json:
        print(json.dumps([asdict(facts)], indent=2))
        return
    terminal = Terminal()
    terminal.line(f"{facts.title} ({facts.year}), {facts.paper}", style="bold")
    terminal.console.print(f"\n{architecture.story}\n", markup=False)
    terminal.table(layer_table(network))
    terminal.line(
        f"{facts.trainable_parameters:,} trainable parameters, {facts.parameters:,} with moving statistics;"
        f" {facts.multiply_adds:,} multiply-adds an image"
    )
    auxiliary = network.count_params() - facts.parameters
    if auxiliary:
        terminal.line(f"The auxiliary outputs, which only help training, have {auxiliary:,} more parameters.")


@contextmanager
def building(what: str) -> Iterator[Callable[[str], None]]:
    """A line on a terminal that says what is being built; yields the function that changes it."""
    with Console(stderr=True).status(f"loading TensorFlow to build {what}") as status:
        backend.load()
        import keras

        yield status.update
    keras.backend.clear_session()


def build_without_weights(architecture: Architecture) -> "keras.Model":
    """The network in its published configuration: shapes only, no memory for weights."""
    import keras

    shape = (*architecture.default_image_size, architecture.published_channels)
    with keras.StatelessScope(initialize_variables=False):
        return architecture.build(shape, architecture.published_class_count)


def entry(architecture: Architecture) -> Entry:
    """The gallery's entry for a model."""
    import keras

    network = build_without_weights(architecture)
    if isinstance(network.output, dict):
        network = keras.Model(network.input, network.output["class"])
    return Entry(
        name=architecture.name,
        title=architecture.title,
        year=architecture.year,
        paper=architecture.paper,
        parameters=network.count_params(),
        trainable_parameters=sum(math.prod(variable.shape) for variable in network.trainable_variables),
        multiply_adds=sum(map(multiply_adds, network.layers)),
        image_size=architecture.default_image_size,
        channels=architecture.published_channels,
        classes=architecture.published_class_count,
        pretrained=architecture.pretrained,
    )


def layer_table(network: "keras.Model") -> Table:
    """The layers of a network, with output shapes as (height, width, maps)."""
    table = Table("layer", "type", "output")
    table.add_column("parameters", justify="right")
    table.add_column("multiply-adds", justify="right")
    for layer in network.layers:
        shape = "×".join(map(str, layer.output.shape[1:]))
        counts = (f"{count:,}" if count else "" for count in (layer.count_params(), multiply_adds(layer)))
        table.add_row(layer.name, type(layer).__name__, shape, *counts)
    return table


def markdown(entries: Sequence[Entry]) -> str:
    """The gallery as the README's table."""
    rows = [HEADINGS, tuple("---:" if heading in NUMBERS else "---" for heading in HEADINGS)]
    for one in entries:
        name, title, *others, paper, weights = one.cells()
        rows.append((f"`{name}`", title, *others, f"[paper]({paper})", weights))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def millions(count: int) -> str:
    """A count in millions, to three digits or to the million."""
    number = count / 1e6
    digits = max(0, 2 - math.floor(math.log10(number)))
    return f"{number:,.{digits}f} M"

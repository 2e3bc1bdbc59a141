"""Line charts as plain geometry, drawn as SVG by a template: text stays text, and colors follow the page."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

WIDTH, HEIGHT = 460, 250
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 14, 36
TICKS = 5


@dataclass(frozen=True)
class Line:
    """A named line through points (x, y); a y of None interrupts it."""

    name: str
    points: Sequence[tuple[float, float | None]]


@dataclass(frozen=True)
class Mark:
    """A vertical line at x with a label; `kind` determines its style: `phase` or `best`."""

    x: float
    text: str
    kind: str


@dataclass(frozen=True)
class Chart:
    """Lines over a shared x axis; with `logarithmic`, the y axis is logarithmic.

    `columns` stand on the x axis: each has a from, a to and a height.
    """

    title: str
    x_label: str
    lines: Sequence[Line]
    marks: Sequence[Mark] = ()
    logarithmic: bool = False
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    whole_x: bool = True
    diagonal: bool = False
    dots: bool = False
    columns: Sequence[tuple[float, float, float]] = ()
    width: int = field(default=WIDTH, init=False)
    height: int = field(default=HEIGHT, init=False)
    left: int = field(default=LEFT, init=False)
    top: int = field(default=TOP, init=False)
    bottom: int = field(default=HEIGHT - BOTTOM, init=False)
    right: int = field(default=WIDTH - RIGHT, init=False)

    def paths(self) -> list[tuple[str, str]]:
        """Each line's name and SVG path."""
        return [(line.name, self._path(line)) for line in self.lines]

    def circles(self) -> list[tuple[float, float]]:
        """The positions of all points."""
        return [(self.x(x), self.y(y)) for line in self.lines for x, y in line.points if y is not None]

    def rectangles(self) -> list[tuple[float, float, float, float]]:
        """Left, top, width and height of each column."""
        edges = [(self.x(low), self.x(high), self.y(value)) for low, high, value in self.columns]
        return [(left, top, round(right - left - 1, 1), round(self.bottom - top, 1)) for left, right, top in edges]

    def x_ticks(self) -> list[tuple[float, str]]:
        """Positions and texts on the x axis."""
        low, high = self._x_bounds()
        found = ticks(low, high)
        return [(self.x(value), f"{value:g}") for value in found if not self.whole_x or value == int(value)]

    def y_ticks(self) -> list[tuple[float, str]]:
        """Positions and texts on the y axis."""
        low, high = self._y_bounds()
        if self.logarithmic:
            exponents = range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1)
            return [(self.y(10.0**exponent), f"{10.0**exponent:g}") for exponent in exponents]
        return [(self.y(value), f"{value:g}") for value in ticks(low, high)]

    def x(self, value: float) -> float:
        """The position of a value on the x axis."""
        low, high = self._x_bounds()
        return round(self.left + (value - low) / (high - low) * (self.right - self.left), 1)

    def y(self, value: float) -> float:
        """The position of a value on the y axis."""
        low, high = self._y_bounds()
        scaled = math.log10(value) if self.logarithmic else value
        return round(self.bottom - (scaled - low) / (high - low) * (self.bottom - self.top), 1)

    def _path(self, line: Line) -> str:
        commands, pen = [], "M"
        for x, y in line.points:
            if y is None or (self.logarithmic and y <= 0):
                pen = "M"
                continue
            commands.append(f"{pen}{self.x(x)} {self.y(y)}")
            pen = "L"
        return "".join(commands)

    def _x_bounds(self) -> tuple[float, float]:
        return self.x_range or spread([x for line in self.lines for x, _ in line.points])

    def _y_bounds(self) -> tuple[float, float]:
        values = [y for line in self.lines for _, y in line.points if y is not None]
        if self.logarithmic:
            exponents = [math.log10(value) for value in values if value > 0] or [0.0]
            return spread([math.floor(min(exponents)), math.ceil(max(exponents))])
        return self.y_range or spread(values)


def spread(values: Sequence[float]) -> tuple[float, float]:
    """The range of values, widened if they are all equal."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def ticks(low: float, high: float) -> list[float]:
    """About five round numbers between two values."""
    rough = (high - low) / TICKS
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough)
    first = math.ceil(low / step - 1e-9)
    return [round(number * step, 10) for number in range(first, math.floor(high / step + 1e-9) + 1)]

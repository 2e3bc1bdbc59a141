"""Renders pages from templates: everything that does not come from the template is escaped."""

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnntrain.runtime.terminal import duration
from cnntrain.runtime.wording import printable

if TYPE_CHECKING:
    from jinja2 import Environment


@functools.cache
def environment() -> "Environment":
    """The templates in this package, autoescaped; an undefined name is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    found = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {
        "percent": lambda share: f"{100 * share:.2f} %",
        "whole_percent": whole_percent,
        "points": lambda share: f"{100 * share:+.2f}",
        "count": lambda number: f"{number:,.0f}",
        "decimals": lambda number: f"{number:.4f}",
        "duration": duration,
        "sentence": lambda text: text[:1].upper() + text[1:],
        "printable": lambda text: printable(str(text)),
    }
    return found


def whole_percent(share: float) -> str:
    """A share in whole percent; a nonzero share is never shown as 0."""
    return "under 1 %" if 0 < share < 0.005 else f"{100 * share:.0f} %"


def render(template: str, values: dict[str, Any]) -> bytes:
    """Renders a page; bytes in names that aren't valid text are escaped."""
    return environment().get_template(template).render(values).encode(errors="backslashreplace")

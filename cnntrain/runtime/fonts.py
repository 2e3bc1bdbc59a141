"""Names in any script in pictures: which fonts can draw them, and what to show if none can."""

import functools

from cnntrain.runtime.wording import printable


def drawable(text: str) -> str:
    """A name as shown in a figure: never as a formula, and with characters that no font has escaped."""
    shown = "".join(c if has_glyphs(c) else c.encode("unicode_escape").decode() for c in printable(text))
    return shown.replace("$", r"\$")


def has_glyphs(text: str) -> bool:
    """Whether the fonts that figures use can draw all of a text."""
    return text.isascii() or set(map(ord, text)) <= frozenset().union(*characters_of_fonts().values())


@functools.cache
def font_families() -> list[str]:
    """Matplotlib's own font, then fonts on this machine that are likely to have the characters it lacks."""
    from matplotlib import font_manager

    wanted = ("CJK", "Noto Sans", "WenQuanYi", "Hiragino", "PingFang", "SimHei", "Yu Gothic", "Malgun", "Arial Unicode")
    names = font_manager.fontManager.get_font_names()
    return ["DejaVu Sans", *sorted(name for name in names if any(word in name for word in wanted))]


@functools.cache
def characters_of_fonts() -> dict[str, frozenset[int]]:
    """The code points in each of these fonts, by file."""
    from matplotlib import font_manager

    files = map(font_manager.findfont, font_families())
    return {file: frozenset(font_manager.get_font(file).get_charmap()) for file in files}


def font_file(text: str) -> str | None:
    """The file of a font that has all characters in a text, or None."""
    return next((file for file, known in characters_of_fonts().items() if set(map(ord, text)) <= known), None)

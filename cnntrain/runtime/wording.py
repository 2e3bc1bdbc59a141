"""How numbers and names are put into words."""

import unicodedata

JOINERS = "\u200c\u200d"  # for letters in some scripts, and for emoji
HARMFUL = ("Cc", "Cf", "Cs", "Zl", "Zp")  # Unicode categories: control, format (including bidirectional), line ends


def counted(number: int, one: str, many: str | None = None) -> str:
    """A number of things: `1 epoch`, `2,000 epochs`; `many` if the plural doesn't just add an s."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def printable(text: str) -> str:
    """A name from the data, for display: terminal control characters, bidirectional characters and bytes that aren't
    valid text are escaped."""
    if text.isascii() and text.isprintable():
        return text
    decoded = text.encode(errors="surrogateescape").decode(errors="backslashreplace")
    return "".join(map(harmless, decoded))


def printable_lines(text: str) -> str:
    """The same for a message, which keeps its own line ends."""
    return "\n".join(map(printable, text.split("\n")))


def harmless(character: str) -> str:
    """A character, or its escape."""
    if character in JOINERS or unicodedata.category(character) not in HARMFUL:
        return character
    return character.encode("unicode_escape").decode()

"""How numbers and names are put into words."""

import unicodedata

JOINERS = "\u200c\u200d"  # of letters in some scripts, and of emoji
HARMFUL = ("Cc", "Cf", "Cs", "Zl", "Zp")  # Unicode's categories: control, format (bidirectional too), line ends


def counted(number: int, one: str, many: str | None = None) -> str:
    """A number of things: `1 epoch`, `2,000 epochs`; `many` where the plural is more than an s."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def printable(text: str) -> str:
    """A name that data gave, for people: what steers a terminal or turns text around, and bytes that are no text, as
    escapes."""
    if text.isascii() and text.isprintable():
        return text
    decoded = text.encode(errors="surrogateescape").decode(errors="backslashreplace")
    return "".join(map(harmless, decoded))


def printable_lines(text: str) -> str:
    """The same for a message, whose own line ends stay."""
    return "\n".join(map(printable, text.split("\n")))


def harmless(character: str) -> str:
    """A character, or its escape."""
    if character in JOINERS or unicodedata.category(character) not in HARMFUL:
        return character
    return character.encode("unicode_escape").decode()

"""How numbers are put into words."""


def counted(number: int, one: str, many: str | None = None) -> str:
    """A number of things: `1 epoch`, `2,000 epochs`; `many` where the plural is more than an s."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"

"""The classes of ImageNet's challenges, in the order that Keras's weights have them."""

from pathlib import Path

CLASSES = Path(__file__).with_name("imagenet_classes.txt")


def imagenet_classes() -> dict[str, str]:
    """The 1,000 names, such as tabby, by WordNet's number, such as n02123045."""
    lines = CLASSES.read_text(encoding="utf-8").splitlines()
    return dict(line.split(" ") for line in lines if not line.startswith("#"))

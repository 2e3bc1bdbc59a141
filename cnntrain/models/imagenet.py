"""The classes of the ImageNet challenge, in the order used by Keras's weights."""

from pathlib import Path

CLASSES = Path(__file__).with_name("imagenet_classes.txt")


def imagenet_classes() -> dict[str, str]:
    """The 1,000 names, such as tabby, by WordNet ID, such as n02123045."""
    lines = CLASSES.read_text(encoding="utf-8").splitlines()
    return dict(line.split(" ") for line in lines if not line.startswith("#"))

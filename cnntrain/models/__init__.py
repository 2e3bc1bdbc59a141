"""The gallery: one file an architecture, and one dict that names them all."""

from cnntrain.models.base import Architecture
from cnntrain.models.lenet5 import LeNet5

MODELS: dict[str, type[Architecture]] = {
    "lenet5": LeNet5,
}

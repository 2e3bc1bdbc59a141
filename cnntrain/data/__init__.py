"""From labelled images on disk to batches: sources, splits, and the one tf.data chain."""

from cnntrain.data.annotations import Annotations
from cnntrain.data.base import Examples, LabelledImages, Source
from cnntrain.data.csv_file import CsvFile
from cnntrain.data.digits import Digits
from cnntrain.data.digits_on_canvas import DigitsOnCanvas
from cnntrain.data.folder import Folder
from cnntrain.data.idx import Idx
from cnntrain.data.tfds import Tfds

SOURCES: dict[str, type[Source]] = {
    "digits": Digits,
    "digits_on_canvas": DigitsOnCanvas,
    "tfds": Tfds,
    "folder": Folder,
    "csv": CsvFile,
    "annotations": Annotations,
    "idx": Idx,
}

__all__ = ["SOURCES", "Examples", "LabelledImages", "Source"]

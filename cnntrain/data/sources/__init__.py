"""Sources of labeled images: folders, tables, annotation files, data sets."""

from cnntrain.data.examples import Examples, LabeledImages
from cnntrain.data.sources.annotations import Annotations
from cnntrain.data.sources.base import Source
from cnntrain.data.sources.csv_file import CsvFile
from cnntrain.data.sources.digits import Digits
from cnntrain.data.sources.digits_on_canvas import DigitsOnCanvas
from cnntrain.data.sources.folder import Folder
from cnntrain.data.sources.idx import Idx
from cnntrain.data.sources.tfds import Tfds

SOURCES: dict[str, type[Source]] = {
    "digits": Digits,
    "digits_on_canvas": DigitsOnCanvas,
    "tfds": Tfds,
    "folder": Folder,
    "csv": CsvFile,
    "annotations": Annotations,
    "idx": Idx,
}

__all__ = ["SOURCES", "Examples", "LabeledImages", "Source"]

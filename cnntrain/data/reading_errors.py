"""Files that can't be read even though their check found nothing wrong."""

import contextlib
from collections.abc import Iterator

import tensorflow as tf

from cnntrain.data.examples import Table
from cnntrain.errors import DataError


@contextlib.contextmanager
def unreadable_file_named(table: Table) -> Iterator[None]:
    """If a file can't be read inside the block, raises a DataError that names it: TensorFlow doesn't name it."""
    try:
        yield
    except tf.errors.ResourceExhaustedError:
        raise  # out of memory: no file is to blame
    except tf.errors.OpError as error:
        found = table.images.find_unreadable()
        if found is None:
            raise
        row, reason = found
        raise DataError(
            f"{table.names[row]}: {reason}, although the check before the start found it good.\n"
            f"If the file has changed since, start again: it will be left out. Else save it anew, or remove it"
        ) from error

"""TensorBoard: event files in the run folder."""

import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from cnntrain.trackers.base import Row, Status, TrackedRun, numbers

if TYPE_CHECKING:
    from tensorboard.compat.proto.summary_pb2 import Summary

FOLDER = "tensorboard"


@dataclass(frozen=True, kw_only=True)
class TensorBoard:
    """Events in the folder `tensorboard` of a run; there are no settings."""

    packages: ClassVar[Sequence[str]] = ("tensorboard",)

    def build(self) -> "TensorBoardTracker":
        """A tracker for one run."""
        return TensorBoardTracker()

    def next_command(self, folder: Path) -> tuple[str, str]:
        """The command that shows the run."""
        return f"tensorboard --logdir {shlex.quote(str(folder / FOLDER))}", "curves and pictures in TensorBoard"


class TensorBoardTracker:
    """Writes one event file.

    A resumed run rewrites it, with the epochs of its history: there is no other way to remove events, and
    only some readers can skip an epoch that occurs twice.
    """

    def begin(self, run: TrackedRun, tracker_run: str | None) -> None:
        """Starts the event file with the configuration."""
        self.run = run
        self.start_file(time.time())

    def start_file(self, began: float) -> None:
        """Starts a new event file in place of the existing ones."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.plugins.hparams.summary_v2 import hparams_pb
        from tensorboard.plugins.text.summary_v2 import text_pb

        folder = self.run.folder / FOLDER
        folder.mkdir(exist_ok=True)
        for path in folder.glob("events.out.tfevents.*"):
            path.unlink()
        self.file = folder / f"events.out.tfevents.{time.time_ns()}.cnntrain"
        self.written: list[Row] = []
        configuration = {name: plain(value) for name, value in self.run.configuration.items()}
        self.append(
            [
                Event(wall_time=began, file_version="brain.Event:2"),
                event(hparams_pb(configuration, trial_id=self.run.name, start_time_secs=began), 0, began),
                event(text_pb("configuration", table(configuration)), 0, began),
                event(text_pb("run", table(self.run.facts)), 0, began),
            ]
        )

    def log(self, history: Sequence[Row]) -> None:
        """Adds the last epoch; if others are missing or differ, writes all of them."""
        from tensorboard.plugins.scalar.summary_v2 import scalar_pb

        now = time.time()
        if list(history[:-1]) != self.written:
            self.start_file(now - sum(row["seconds"] for row in history))
        new = history[len(self.written) :]
        events = []
        for place, row in enumerate(new, 1):
            ended = now - sum(later["seconds"] for later in new[place:])
            events += [event(scalar_pb(name, value), row["epoch"], ended) for name, value in scalars(row)]
        self.append(events)
        self.written = [dict(row) for row in history]

    def result(self, metrics: Mapping[str, float], *, epoch: int) -> None:
        """Writes a scalar for each number."""
        from tensorboard.plugins.scalar.summary_v2 import scalar_pb

        self.append([event(scalar_pb(name, value), epoch, time.time()) for name, value in metrics.items()])

    def finish(self, status: Status, pictures: Sequence[Path], *, epoch: int) -> None:
        """Writes the pictures, and how the run ended."""
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.plugins.hparams import api_pb2
        from tensorboard.plugins.hparams.summary import session_end_pb

        outcome = api_pb2.STATUS_SUCCESS if status == "finished" else api_pb2.STATUS_FAILURE
        ending = Summary.FromString(session_end_pb(outcome).SerializeToString())  # TensorFlow's own class
        summaries = [*map(picture_summary, pictures), ending]
        self.append([event(summary, epoch, time.time()) for summary in summaries])

    def append(self, events: Sequence[Any]) -> None:
        """Appends events to the file at once: TensorBoard's own writer would use a thread."""
        from tensorboard.summary.writer.record_writer import RecordWriter

        with open(self.file, "ab") as file:
            writer = RecordWriter(file)
            for each in events:
                writer.write(each.SerializeToString())


def event(summary: "Summary", step: int, wall_time: float) -> Any:
    """A summary at a step."""
    from tensorboard.compat.proto.event_pb2 import Event

    return Event(wall_time=wall_time, step=step, summary=summary)


def scalars(row: Row) -> Iterator[tuple[str, float]]:
    """The numbers of an epoch, except the epoch number itself."""
    return ((name, value) for name, value in numbers(row).items() if name != "epoch")


def picture_summary(path: Path) -> "Summary":
    """A picture, exactly as in its file."""
    from PIL import Image
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.image.metadata import create_summary_metadata
    from tensorboard.util.tensor_util import make_tensor_proto

    with Image.open(path) as image:
        width, height = image.size
    content = [str(width).encode(), str(height).encode(), path.read_bytes()]
    metadata = create_summary_metadata(display_name=None, description="", converted_to_tensor=True)
    tensor = make_tensor_proto(content, dtype="string")
    return Summary(value=[Summary.Value(tag=path.stem, tensor=tensor, metadata=metadata)])


def plain(value: object) -> bool | int | float | str:
    """A configuration value in a form that TensorBoard accepts."""
    return value if isinstance(value, bool | int | float | str) else "null" if value is None else str(value)


def table(values: Mapping[str, object]) -> str:
    """A table in Markdown."""
    rows = (f"| {name} | {str(value).replace('|', '&#124;')} |" for name, value in values.items())
    return "\n".join(["| | |", "|---|---|", *rows])

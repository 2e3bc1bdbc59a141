"""What a resumed run starts from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnntrain.checkpoints.checkpoint import Found
from cnntrain.checkpoints.run_state import progress_of
from cnntrain.errors import DataError

if TYPE_CHECKING:
    from cnntrain.data.examples import LabeledImages

FORCE = "--force goes on nevertheless; the result is then not that of a run that was never stopped"


@dataclass(frozen=True)
class Resumed:
    """A resumed run: what was recorded of it, the checkpoint (None: it starts over), and what is new."""

    recorded: Mapping[str, Any]
    found: Found | None
    changes: Sequence[str]
    warnings: Sequence[str]
    force: bool

    def check_data(self, labeled: "LabeledImages") -> None:
        """Raises DataError if the data are not the same as when the run began."""
        fingerprint = labeled.train.table.fingerprint()
        if self.found is None or self.force or fingerprint == self.recorded["data_fingerprint"]:
            return
        was, now = self.recorded["class_counts"]["train"], labeled.train.class_counts().tolist()
        raise DataError(
            f"the data are not those that the run began with: {sum(now):,} training images, {sum(was):,} before, in"
            f" {len(now)} classes, {len(was)} before; contents differ, too, if the numbers don't.\n{FORCE}"
        )

    def record(self, now: Mapping[str, Any]) -> dict[str, Any]:
        """run.json of a resumed run: how it began, what it is now, and when it was resumed."""
        if self.found is None:
            return dict(now)
        began = {key: self.recorded[key] for key in ("command", "started", "job") if key in self.recorded}
        resumption = {
            "command": now["command"],
            "time": now["started"],
            "after": progress_of(self.found).place(),
            "changes": list(self.changes),
        }
        return {**now, **began, "resumed": [*self.recorded.get("resumed", []), resumption]}

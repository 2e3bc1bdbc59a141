"""The check of image files before use: each file is examined once, and the result is cached until it changes."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields, replace

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cnntrain.data.image_files.examine import Finding
from cnntrain.data.image_files.workers import LATE, Job, examine_all
from cnntrain.runtime.files import cache_folder, write_whole

VERSION = 1  # of the cache: other versions are not read
COMPANIONS = frozenset(
    ".txt .csv .tsv .json .jsonl .xml .yaml .yml .md .html .ini .db .log .npy .npz .mat .pdf .zip .py".split()
)
Stamp = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Checked:
    """A file that was checked: its name, what it is, and where to read it (the file, or its conversion)."""

    name: str
    path: str
    size_bytes: int
    finding: Finding

    @property
    def companion(self) -> bool:
        """Whether neither name nor content is an image's, as with notes and annotations next to images."""
        return not self.finding.format and os.path.splitext(self.name)[1].lower() in COMPANIONS


class Memory:
    """The findings about the files below a root, by name, each with its file's size and time at the check."""

    def __init__(self, root: str):
        key = hashlib.blake2b(os.fsencode(os.path.abspath(root)), digest_size=8).hexdigest()
        self.path = cache_folder() / "checks" / f"{key}.json"
        self.records: dict[str, tuple[Stamp, Finding]] = {}
        self.changed = False

    def load(self) -> None:
        """Reads the findings of an earlier run; ignores them if they can't be read."""
        try:
            content = json.loads(self.path.read_bytes())
        except (OSError, ValueError):
            return
        names = [field.name for field in fields(Finding)]
        if content.get("version") == VERSION and content.get("fields") == names:
            for name, size, time, *values in content["files"]:
                self.records[name] = ((size, time), Finding(**dict(zip(names, values, strict=True))))

    def recall(self, name: str, stamp: Stamp) -> Finding | None:
        """The finding about a file, unless the file has changed since."""
        known = self.records.get(name)
        return known[1] if known and known[0] == stamp else None

    def add(self, name: str, stamp: Stamp, finding: Finding) -> None:
        """Remembers a finding, unless it is that a file took too long, since a busy machine may be to blame."""
        if not finding.reason.startswith(LATE):
            self.records[name] = (stamp, finding)
            self.changed = True

    def save(self) -> None:
        """Writes all findings if there are new ones."""
        if self.changed:
            names = [field.name for field in fields(Finding)]
            files = [(name, *stamp, *astuple(finding)) for name, (stamp, finding) in self.records.items()]
            content = {"version": VERSION, "fields": names, "files": files}
            write_whole(self.path, json.dumps(content, separators=(",", ":")).encode())


def check_files(
    root: str,
    names: Sequence[str],
    *,
    max_pixels: int,
    background: tuple[int, int, int],
    remember: bool = True,
) -> list[Checked]:
    """Examines each file that has no finding yet; returns the outcome for all, in the order of `names`.

    Names are relative to the root. Files that TensorFlow would misread are converted into the cache folder.
    """
    memory = Memory(root)
    if remember:
        memory.load()
    files = [File(name, os.path.join(os.path.abspath(root), name), background) for name in names]
    findings = [memory.recall(file.name, file.stamp) for file in files]
    unknown = [
        number
        for number, (file, finding) in enumerate(zip(files, findings, strict=True))
        if finding is None or file.is_stale(finding, max_pixels=max_pixels)
    ]
    try:
        with progress_bar("checking images", len(unknown)) as progress:

            def done(position: int, finding: Finding) -> None:
                number = unknown[position]
                findings[number] = finding
                memory.add(files[number].name, files[number].stamp, finding)
                progress.advance(progress.task_ids[0])

            examine_all([files[number].job() for number in unknown], done, max_pixels=max_pixels)
    finally:
        if remember:
            memory.save()
    pairs = zip(files, findings, strict=True)
    return [file.outcome(finding, max_pixels=max_pixels) for file, finding in pairs if finding is not None]


class File:
    """A file to check, as it is now."""

    __slots__ = ("name", "path", "background", "stamp")

    def __init__(self, name: str, path: str, background: tuple[int, int, int]):
        self.name = name
        self.path = path
        self.background = background
        self.stamp = stamp_of(path)

    @property
    def converted(self) -> str:
        """The path of its conversion, if it needs one."""
        said = repr((os.fsencode(self.path), self.stamp, self.background)).encode()
        key = hashlib.blake2b(said, digest_size=16).hexdigest()
        return str(cache_folder() / "converted" / key[:2] / f"{key}.png")

    def job(self) -> Job:
        """The job for a worker."""
        return Job(self.path, self.converted, self.background)

    def is_stale(self, finding: Finding, *, max_pixels: int) -> bool:
        """Whether the finding is no longer enough: the limit has been raised, or the conversion is gone."""
        if finding.reason:
            return False
        if not finding.decoded:
            return finding.width * finding.height <= max_pixels
        return finding.convert and not os.path.exists(self.converted)

    def outcome(self, finding: Finding, *, max_pixels: int) -> Checked:
        """The finding, checked against the pixel limit."""
        if not finding.reason and finding.width * finding.height > max_pixels:
            size = f"{finding.width}×{finding.height} pixels"
            finding = replace(finding, reason=f"{size}, more than data.max_pixels={max_pixels}")
        path = self.converted if finding.convert else self.path
        return Checked(self.name, path, self.stamp[0], finding)


def stamp_of(path: str) -> Stamp:
    """A file's size in bytes and modification time in nanoseconds."""
    try:
        status = os.stat(path)
    except OSError:  # a broken link, which the worker will report
        return -1, 0
    return status.st_size, status.st_mtime_ns


def progress_bar(text: str, total: int) -> Progress:
    """A transient progress bar, on standard error: results go to standard output."""
    console = Console(stderr=True)
    columns = (TextColumn(text), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    hidden = not total or not console.is_terminal
    progress = Progress(*columns, console=console, transient=True, disable=hidden)
    progress.add_task("", total=total)
    return progress

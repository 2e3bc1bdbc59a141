"""Terminal output for a run: a header, a live progress bar, a line per epoch, and a final table."""

import datetime
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich import console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from cnntrain.runtime.wording import counted, printable, printable_lines

CLASSES_SHOWN = 20
FEW_EPOCHS = 20  # up to this many epochs in a phase, each has a line
PLAIN_WIDTH = 1000  # a file or a pipe has no width for wrapping


class Console(console.Console):
    """Rich's console, which by default exits with code 1 if the reader closes the pipe."""

    def on_broken_pipe(self) -> None:
        """Leaves it to the command line, where this is not an error."""
        raise BrokenPipeError


def cell(text: str) -> str:
    """A text in the form that rich's tables show unchanged."""
    return escape(printable(text))


class Terminal:
    """Prints to standard output; plain lines and no bar if that is not a terminal.

    All permanent lines also go to the run's log. Long phases show only some epochs, unless `every_epoch` is set.
    `quiet`: nothing is printed.
    """

    def __init__(self, log: Path | None = None, *, every_epoch: bool = True, quiet: bool = False):
        self.console = Console(highlight=False, quiet=quiet)
        if not self.console.is_terminal:
            self.console.width = PLAIN_WIDTH
        self.log = log
        self.every_epoch = every_epoch

    def line(self, text: str, *, style: str | None = None) -> None:
        """A permanent line."""
        text = printable_lines(text)
        self.console.print(escape(text), style=style, soft_wrap=True)
        self._log(text)

    def warning(self, text: str) -> None:
        """A line about something that the user should look at."""
        self.line(f"warning: {text}", style="yellow")

    def table(self, table: Table) -> None:
        """A permanent table."""
        self.console.print(table)
        if self.log is not None:
            with open(self.log, "a", encoding="utf-8") as file:
                Console(file=file, width=PLAIN_WIDTH).print(table)

    def header(self, facts: Mapping[str, str]) -> None:
        """A summary of what is about to run."""
        table = Table.grid(padding=(0, 2))
        for name, value in facts.items():
            table.add_row(f"[bold]{cell(name)}[/bold]", cell(value))
        self.table(table)

    @contextmanager
    def epoch_bar(self, label: str, steps: int) -> Iterator["EpochBar"]:
        """A transient progress bar over the steps of an epoch."""
        progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[metrics]}"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        with progress:
            yield EpochBar(progress, label, steps)

    @contextmanager
    def bar(self, label: str, total: int) -> Iterator[Callable[[int], None]]:
        """A transient progress bar over a number of images; yields the function that advances it."""
        progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        with progress:
            task = progress.add_task(cell(label), total=total)
            yield lambda count: progress.advance(task, count)

    @contextmanager
    def working(self, what: str) -> Iterator[None]:
        """A transient spinner for work without progress information."""
        if not self.console.is_terminal:
            yield
            return
        with self.console.status(cell(what)):
            yield

    def epoch(self, row: Mapping[str, Any], *, epochs: int, best: bool) -> None:
        """The line of a finished epoch."""
        width = len(str(epochs))
        text = f"{row['phase']} {row['epoch']:>{width}}/{epochs}"
        for name in ("loss", "accuracy", "val_loss", "val_accuracy", "val_mean_iou"):
            if row.get(name, "") != "":
                text += f"  {name} {row[name]:.4f}"
        text += f"  {row['learning_rate']:.2g}  {row['images_per_second']:,.0f} images/s  {duration(row['seconds'])}"
        text += "  *" if best else ""
        if best or self.every_epoch or epochs <= FEW_EPOCHS or row["epoch"] in (1, epochs) or not row["epoch"] % 10:
            self.line(text)
        else:
            self._log(text)

    def result(self, metrics: Mapping[str, Any], title: str) -> None:
        """The metrics of a split, and per-class metrics if there are few classes."""
        low, high = metrics["accuracy_interval"]
        table = Table(title=title, title_justify="left", title_style="bold")
        for heading in ("", "precision", "recall", "f1", "images"):
            table.add_column(heading, justify="left" if not heading else "right")
        classes = metrics["classes"]
        if len(classes) <= CLASSES_SHOWN:
            for name, values in classes.items():
                numbers = [f"{values[key]:.3f}" for key in ("precision", "recall", "f1")]
                table.add_row(cell(name), *numbers, str(values["support"]))
            self.table(table)
        text = f"{title}: accuracy {metrics['accuracy']:.4f} (95 % interval {low:.4f} to {high:.4f})"
        if "top_5_accuracy" in metrics:
            text += f", top-5 {metrics['top_5_accuracy']:.4f}"
        if "mean_iou" in metrics:
            text += f", mean IoU {metrics['mean_iou']:.4f}"
            text += f", right with an IoU of 0.5 {metrics['accuracy_iou_50']:.4f}"
            text += f", of 0.75 {metrics['accuracy_iou_75']:.4f}"
        self.line(f"{text}, loss {metrics['loss']:.4f}, {counted(metrics['examples'], 'image')}", style="bold")

    def next_commands(self, run: Path, more: Sequence[tuple[str, str]]) -> None:
        """Suggested next commands for a finished run, with what they do, and `more` of them."""
        folder = shlex.quote(str(run))
        commands = [
            (f"cnntrain predict {folder} IMAGE…", "classify images"),
            (f"cnntrain evaluate {folder} --split validation", "measure another split"),
            (f"cnntrain compare {folder} RUN", "is another run better?"),
        ]
        self.console.print("next:")
        for command, meaning in [*commands, *more]:  # not a table, which would truncate what is to be copied
            self.console.print(f"  {escape(command)}  [dim]# {escape(meaning)}[/dim]", soft_wrap=True)

    def _log(self, text: str) -> None:
        if self.log is not None:
            with open(self.log, "a", encoding="utf-8") as file:
                file.write(text + "\n")


class EpochBar:
    """The live progress bar of one epoch."""

    def __init__(self, progress: Progress, label: str, steps: int):
        self.progress = progress
        self.task = progress.add_task(cell(label), total=steps, metrics="")

    def update(self, done: int, metrics: Mapping[str, float], *, images_per_second: float) -> None:
        """Moves the bar."""
        shown = [f"{name} {metrics[name]:.4f}" for name in ("loss", "accuracy", "mean_iou") if name in metrics]
        text = "  ".join([*shown, f"{images_per_second:,.0f} images/s"])
        self.progress.update(self.task, completed=done, metrics=text)


def duration(seconds: float) -> str:
    """A human-readable time span."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    return str(datetime.timedelta(seconds=round(seconds)))

"""A comparison of runs on the terminal."""

from rich.markup import escape
from rich.table import Table

from cnntrain.report.comparison import Comparison, row_of
from cnntrain.runtime.terminal import Terminal, duration
from cnntrain.runtime.wording import printable

NAMED = 5


def show(comparison: Comparison) -> None:
    """Prints runs, groups of runs, and whether they differ."""
    terminal = Terminal()
    terminal.table(table_of_runs(comparison))
    if comparison.differing:
        terminal.table(table_of_settings(comparison))
    if comparison.differing:
        terminal.table(table_of_settings(comparison))
    if comparison.groups:
        terminal.table(table_of_groups(comparison))
    if comparison.paired is not None:
        found = comparison.paired
        terminal.line(
            f"of {found.examples:,} test images both get {found.both:,} right, neither {found.neither:,},"
            f" the first alone {found.only_first:,}, the second alone {found.only_second:,}"
        )
        for which, alone in (("first", comparison.only_first), ("second", comparison.only_second)):
            if alone is not None and len(alone):
                names = ", ".join(printable(str(name)) for name in alone.names[:NAMED])
                terminal.line(f"  the {which} alone: {names}{', …' if len(alone) > NAMED else ''}")
    for text in (comparison.groups_verdict(), comparison.verdict()):
        if text:
            terminal.line(text, style="bold")


def table_of_runs(comparison: Comparison) -> Table:
    """One run per row, numbered if the settings table refers to the numbers."""
    table = Table("", "run")
    for heading in ("accuracy", "95 % interval", "loss", "best epoch", "training", "parameters"):
        table.add_column(heading, justify="right")
    for place, run in enumerate(comparison.runs):
        row = row_of(run)
        tested = row["accuracy"] is not None
        table.add_row(
            str(place + 1),
            escape(printable(row["run"])),
            f"{row['accuracy']:.4f}" if tested else "",
            "{:.4f} to {:.4f}".format(*row["accuracy_interval"]) if tested else "",
            f"{row['loss']:.4f}" if tested else "",
            f"{row['best_epoch']} of {row['epochs']}" if row["best_epoch"] else "",
            duration(row["seconds"]),
            f"{row['parameters']:,}" if row["parameters"] else "",
        )
    return table


def table_of_settings(comparison: Comparison) -> Table:
    """One row per setting in which runs differ, with each run's value; runs are identified by number."""
    table = Table("setting", *(str(place + 1) for place in range(len(comparison.runs))))
    for key, column in comparison.differing.items():
        table.add_row(escape(printable(key)), *(escape(printable(value)) for value in column))
    return table


def table_of_groups(comparison: Comparison) -> Table:
    """One group of runs per row."""
    keys = list(comparison.groups[0].values)
    table = Table(*(escape(printable(key)) for key in keys))
    for heading in ("runs", "mean accuracy", "deviation"):
        table.add_column(heading, justify="right")
    for group in comparison.groups:
        deviation = "" if group.deviation is None else f"{group.deviation:.4f}"
        values = (escape(printable(value)) for value in group.values.values())
        table.add_row(*values, str(len(group.runs)), f"{group.mean:.4f}", deviation)
    return table

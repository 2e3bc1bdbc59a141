"""The verbs `report` and `compare` on the command line."""

import argparse
import json
from pathlib import Path

from cnntrain.errors import ConfigError


def report(words: list[str], summary: str) -> int:
    """`cnntrain report RUN…`."""
    parser = argparse.ArgumentParser("cnntrain report", description=summary)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="a run's folder, or a multirun's")
    options = parser.parse_args(words)
    from cnntrain.report import run_page

    run_page.report(options.runs)
    return 0


def compare(words: list[str], summary: str) -> int:
    """`cnntrain compare RUN RUN…`."""
    parser = argparse.ArgumentParser("cnntrain compare", description=summary)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="a run's folder, or a multirun's")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write a page too: an .html file")
    options = parser.parse_args(words)
    if options.out is not None and options.out.suffix.lower() != ".html":
        raise ConfigError(f"--out: expected a file that ends in .html; received {options.out}")
    from cnntrain.report.comparison import comparison_of
    from cnntrain.report.saved_run import SavedRun, runs_at

    folders = runs_at(options.runs)
    if len(folders) < 2:
        received = ", ".join(map(str, folders))
        raise ConfigError(f"expected two runs or more, or a multirun's folder; received {received}")
    comparison = comparison_of([SavedRun.read(folder) for folder in folders])
    if options.json:
        print(json.dumps(comparison.as_json()))
    else:
        from cnntrain.report.comparison_tables import show

        show(comparison)
    if options.out is not None:
        from cnntrain.report.comparison_page import write_page

        write_page(comparison, options.out)
    return 0

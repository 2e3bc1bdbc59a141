"""The verbs `report` and `compare` on the command line."""

import argparse
from pathlib import Path


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
    from cnntrain.report import comparison

    comparison.compare(options.runs, as_json=options.json, out=options.out)
    return 0

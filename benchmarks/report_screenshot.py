"""python benchmarks/report_screenshot.py RUN

Opens a run's report.html in Chromium and writes what a window shows to report.jpg beside this file: the picture in
the README. Without a run it trains the default one first, in a temporary folder.
"""

import argparse
import io
import shutil
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

from cnntrain.cli.main import main

WINDOW = 1000, 1500


def screenshot(page: Path, folder: Path) -> Image.Image:
    """What a window of Chromium shows of a page."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("no Chromium is installed (Debian: apt-get install chromium)")
    picture = folder / "page.png"
    flags = ["--headless", "--no-sandbox", "--hide-scrollbars", f"--user-data-dir={folder / 'profile'}"]
    size = ",".join(map(str, WINDOW))
    command = [chromium, *flags, f"--window-size={size}", f"--screenshot={picture}", page.absolute().as_uri()]
    subprocess.run(command, check=True, capture_output=True)
    return Image.open(io.BytesIO(picture.read_bytes())).convert("RGB")


def default_run(folder: Path) -> Path:
    """A finished run of the default configuration."""
    if main([f"hydra.run.dir={folder}"]):
        raise SystemExit("the default run failed")
    return folder


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?", metavar="RUN", help="a run's folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        run = options.run or default_run(Path(temporary) / "run")
        picture = screenshot(run / "report.html", Path(temporary))
        picture.save(Path(__file__).with_name("report.jpg"), quality=82)

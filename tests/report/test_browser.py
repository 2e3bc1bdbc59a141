"""The page in a real browser: Chromium, where it is installed."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ACTIONS = """
<script>
const found = {};
const rows = (table) => Array.from(table.tBodies[0].rows).filter((row) => !row.hidden);
const [classes] = document.querySelectorAll("#classes table");
const recall = classes.tHead.rows[0].cells[2];
const recalls = () => rows(classes).map((row) => Number(row.cells[2].dataset.value));
recall.querySelector("button").click();
found.ascending = [recall.getAttribute("aria-sort"), recalls()];
recall.querySelector("button").click();
found.descending = [recall.getAttribute("aria-sort"), recalls()];
const settings = document.querySelector("#configuration table");
const field = document.querySelector("#configuration input[type=search]");
field.value = "LEARNING_rate";
field.dispatchEvent(new Event("input"));
found.filtered = rows(settings).map((row) => row.cells[0].textContent);
const link = document.querySelector(".matrix a");
const cell = document.querySelector(link.getAttribute("href"));
found.before = getComputedStyle(cell).display;
location.hash = link.getAttribute("href");
found.after = getComputedStyle(cell).display;
found.pictures = Array.from(cell.querySelectorAll("img")).map((image) => [image.naturalWidth > 0, image.alt]);
found.unnamed = Array.from(document.images).filter((image) => !image.alt).length;
found.loaded = performance.getEntriesByType("resource").map((entry) => entry.name.slice(0, 5));
found.wide = document.documentElement.scrollWidth > window.innerWidth;
found.dark = getComputedStyle(document.body).backgroundColor;
const pre = document.createElement("pre");
pre.id = "found";
pre.textContent = JSON.stringify(found);
document.body.append(pre);
</script>
</body>
"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page of a finished run on the digits, which acts on itself when it is opened and notes what it sees."""
    from cnntrain.cli.main import main

    folder = tmp_path_factory.mktemp("browser")
    assert main(["schedule.phases.all.epochs=1", f"hydra.run.dir={folder / 'run'}"]) == 0
    text = (folder / "run" / "report.html").read_text()
    (folder / "acting.html").write_text(text.replace("</body>", ACTIONS))
    return folder / "acting.html"


def opened(page, tmp_path, *flags):
    """What the page noted, and what the browser complained about."""
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}", *flags]
    command += ["--enable-logging=stderr", "--virtual-time-budget=5000", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    noted = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert noted, done.stderr
    return json.loads(noted[1].replace("&gt;", ">").replace("&lt;", "<").replace("&amp;", "&")), done.stderr


def test_tables_sort_and_filter_and_cells_lead_to_their_pictures(page, tmp_path):
    found, complaints = opened(page, tmp_path, "--window-size=1100,900")
    assert "CONSOLE" not in complaints
    direction, recalls = found["ascending"]
    assert (direction, recalls) == ("ascending", sorted(recalls))
    assert found["descending"] == ["descending", sorted(recalls, reverse=True)]
    assert len(recalls) == 10 and len(np.unique(recalls)) > 1
    assert found["filtered"] and all("learning_rate" in key for key in found["filtered"])
    assert (found["before"], found["after"]) == ("none", "block")
    assert found["pictures"] and all(drawn and text for drawn, text in found["pictures"])
    assert found["unnamed"] == 0
    assert set(found["loaded"]) <= {"data:"}
    assert found["dark"] == "rgb(255, 255, 255)"


def test_it_fits_a_phone_and_turns_dark(page, tmp_path):
    dark = ["--blink-settings=preferredColorScheme=0"]
    found, complaints = opened(page, tmp_path, "--window-size=500,900", *dark)
    assert (found["wide"], "CONSOLE" in complaints) == (False, False)
    assert found["dark"] == "rgb(20, 23, 26)"

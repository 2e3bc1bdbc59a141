"""The wheel carries the YAML files, ImageNet's classes and the page's templates, and runs without the checkout."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_wheel_runs_without_the_checkout(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        wheel.extractall(tmp_path / "installed")
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); import cnntrain.cli.main as c;"
        " assert c.__file__.startswith(sys.path[0]); sys.exit(c.main(sys.argv[1:]))"
    )
    words = ["experiment=smoke", f"hydra.run.dir={tmp_path / 'run'}"]
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "installed"), *words], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "metrics.json").is_file()
    assert "</html>" in (tmp_path / "run" / "report.html").read_text()
    assert (tmp_path / "installed" / "cnntrain" / "models" / "imagenet_classes.txt").is_file()

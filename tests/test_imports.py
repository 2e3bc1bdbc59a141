"""Imports point one way; reading the settings loads no TensorFlow."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "cnntrain"
MODULES = sorted(PACKAGE.rglob("*.py"))


def room(module: str) -> str:
    """The first part of a module's name below cnntrain: `data` for cnntrain.data.images."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def imported_rooms(path: Path) -> set[str]:
    """The rooms that a file imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("cnntrain"):
            below = node.module != "cnntrain"
            found |= {room(node.module if below else f"cnntrain.{name.name}") for name in node.names}
        elif isinstance(node, ast.Import):
            found |= {room(name.name) for name in node.names if name.name.startswith("cnntrain")}
    return found


def rooms_of(folder: str) -> set[str]:
    """All rooms that the files of a folder import, without the folder itself."""
    return set().union(*(imported_rooms(path) for path in (PACKAGE / folder).glob("*.py"))) - {folder}


def test_models_and_data_never_import_each_other():
    assert "data" not in rooms_of("models")
    assert "models" not in rooms_of("data")


@pytest.mark.parametrize("leaf", ["errors", "files", "settings", "download"])
def test_leaves_import_nothing_of_the_package(leaf):
    assert imported_rooms(PACKAGE / f"{leaf}.py") <= {"errors", "files"}


def test_the_configuration_knows_nothing_of_what_runs():
    assert imported_rooms(PACKAGE / "config.py") <= {
        "data", "models", "optimizers", "phases", "trackers", "settings", "errors",
    }  # fmt: skip


def test_trackers_know_a_run_by_its_folder_only():
    assert rooms_of("trackers") <= {"run_dir", "settings", "errors"}


def test_only_the_command_line_and_composition_know_hydra():
    knowing = {path.name for path in MODULES if "hydra" in {name.split(".")[0] for name in all_imports(path)}}
    assert knowing == {"composition.py", "overrides.py"}


def all_imports(path: Path) -> set[str]:
    """The full names of all modules that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
    return found


def test_reading_the_settings_loads_neither_tensorflow_nor_keras():
    code = "import sys, cnntrain.experiment; print([m for m in ('tensorflow', 'keras', 'sklearn') if m in sys.modules])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert output.stdout.strip() == "[]"

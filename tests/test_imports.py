"""Imports point one way, room by room; what must be quick loads nothing slow."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "cnntrain"
MODULES = {
    ".".join(("cnntrain", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}

# what each room may import, beside itself
FLOOR = {"settings", "did_you_mean", "errors", ""}  # "" is cnntrain itself: its version
BELOW = FLOOR | {"runtime"}
CORE = BELOW | {"models", "data", "trackers", "optimization"}
ARROWS = {
    "": set(),
    "errors": set(),
    "did_you_mean": set(),
    "settings": {"did_you_mean"},
    "runtime": FLOOR,
    "models": BELOW,
    "data": BELOW,
    "trackers": BELOW,
    "optimization": BELOW,
    "experiment": CORE,
    "evaluation": CORE | {"experiment"},
    "report": CORE | {"experiment", "evaluation"},
    "checkpoints": CORE | {"experiment"},
    "training": CORE | {"experiment", "evaluation", "report", "checkpoints"},
    "export": CORE | {"experiment", "evaluation"},
    "inspection": CORE | {"experiment", "evaluation", "report", "training"},
    "cli": CORE | {"experiment", "evaluation", "report", "checkpoints", "training", "export", "inspection"},
    "__main__": {"cli"},
}


def imported(path: Path) -> set[str]:
    """The full names of all modules that a file imports: at its top, inside a function, or for types only."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{name.name}" for name in node.names}
            found |= {name if name in MODULES else node.module for name in names}
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
    return found


def room(module: str) -> str:
    """The first part of a module's name below cnntrain: `data` for cnntrain.data.images."""
    return (module.split(".") + [""])[1]


@pytest.mark.parametrize("module", MODULES)
def test_a_room_imports_only_rooms_below_it(module):
    rooms = {room(name) for name in imported(MODULES[module]) if name.split(".")[0] == "cnntrain"}
    assert rooms <= ARROWS[room(module)] | {room(module)}


def test_no_file_imports_itself_by_way_of_others():
    arrows = {module: imported(path) & set(MODULES) - {module} for module, path in MODULES.items()}
    while leaves := {module for module, targets in arrows.items() if not targets}:
        arrows = {module: targets - leaves for module, targets in arrows.items() if module not in leaves}
    assert arrows == {}


def test_the_rules_name_every_room_and_no_other():
    assert set(map(room, MODULES)) == set(ARROWS)


def test_only_two_files_know_hydra():
    knowing = {module for module, path in MODULES.items() if "hydra" in {name.split(".")[0] for name in imported(path)}}
    assert knowing == {"cnntrain.cli.composition", "cnntrain.cli.overrides"}


def test_reading_the_settings_loads_neither_tensorflow_nor_keras():
    code = "import sys, cnntrain.experiment; print([m for m in ('tensorflow', 'keras', 'sklearn') if m in sys.modules])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert output.stdout.strip() == "[]"


def test_a_mistyped_key_is_answered_before_anything_slow_loads():
    code = (
        "import sys; from cnntrain.cli.main import main; code = main(['optimizer.learning_rte=1', 'batch_sze=32']);"
        "print(code, [m for m in ('hydra', 'yaml', 'pydantic', 'rich', 'tensorflow') if m in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert output.stdout.strip() == "2 []"
    assert output.stderr.count("did you mean") == 2

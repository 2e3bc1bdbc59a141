"""What a result depends on beside its configuration: versions, code, machine, time."""

import datetime
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import cnntrain

PACKAGES = ("tensorflow", "keras", "tensorflow-datasets", "numpy", "hydra-core")


def provenance() -> dict[str, Any]:
    """Versions, the state of the code's and of the working folder's git, the machine, and the time."""
    return {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cnntrain": cnntrain.__version__,
        "versions": {name: version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "git": git_state(Path(__file__).parent),
        "machine": {"platform": platform.platform(), "cores": os.cpu_count()},
    }


def version(package: str) -> str | None:
    """A package's version, None where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def git_state(folder: Path) -> dict[str, Any] | None:
    """The commit that the folder's files belong to, and whether tracked files differ from it."""
    try:
        command = ["git", "-C", str(folder)]
        tracked = subprocess.run([*command, "ls-files", "--error-unmatch", "__init__.py"], capture_output=True)  # noqa: S603
        commit = subprocess.run([*command, "rev-parse", "HEAD"], capture_output=True, text=True)  # noqa: S603
        changes = subprocess.run([*command, "status", "--porcelain", "-uno"], capture_output=True, text=True)  # noqa: S603
    except OSError:
        return None
    if tracked.returncode or commit.returncode:
        return None
    return {"commit": commit.stdout.strip(), "changed": bool(changes.stdout.strip())}

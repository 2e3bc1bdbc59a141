"""What a result depends on besides its configuration: versions, code, machine, time."""

import datetime
import hashlib
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cnntrain
from cnntrain.runtime.machine import usable_cores

PACKAGE = Path(__file__).parents[1]
PACKAGES = ("tensorflow", "keras", "tensorflow-datasets", "numpy", "hydra-core")
DECISIVE = ("tensorflow", "keras", "numpy")  # the packages that compute


def provenance() -> dict[str, Any]:
    """Versions, the git state of the code and of the working folder, the machine, and the time."""
    return {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cnntrain": cnntrain.__version__,
        "versions": {name: version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "git": git_state(PACKAGE),
        "code": code_fingerprint(),
        "machine": {
            "platform": platform.platform(),
            "processor": processor_name(),
            "cores": os.cpu_count(),
            "usable_cores": len(usable_cores()),  # sums are divided among them, which affects rounding
        },
    }


def decisive_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The differences between two provenances that may change a run's results, in words."""
    found = [
        f"{name} is {now['versions'].get(name)}, was {versions_of(before).get(name)}"
        for name in DECISIVE
        if now["versions"].get(name) != versions_of(before).get(name)
    ]
    if now["code"] != before.get("code"):
        commit, commit_before = ((each.get("git") or {}).get("commit", "unknown")[:12] for each in (now, before))
        found.append(
            f"cnntrain's own code is that of version {now['cnntrain']}, commit {commit},"
            f" was that of {before.get('cnntrain')}, commit {commit_before}"
        )
    return found


def versions_of(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """The versions in a record of any age."""
    return record.get("versions") or {}


def other_machine(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """The differences between machines that may change the last bits of results, in words, if there are any."""
    machine, machine_before = now["machine"], before.get("machine") or {}
    found = [
        f"{key.replace('_', ' ')} {machine[key]}, was {machine_before.get(key)}"
        for key in ("processor", "usable_cores")
        if machine[key] != machine_before.get(key)
    ]
    return "; ".join(found) or None


def code_fingerprint() -> str:
    """A hash of cnntrain's own source files."""
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def processor_name() -> str:
    """The processor's name as reported by Linux, or else the type of machine."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def version(package: str) -> str | None:
    """A package's version, None if it is not installed."""
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

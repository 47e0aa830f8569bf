"""The manifest of an experiment: versions, machine, and the facts about its task."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunebench.harness.experiments import registry
from prunebench.harness.processes.local import cores

if TYPE_CHECKING:
    from prunebench.harness.experiments.agentspec import AgentSpec
    from prunebench.harness.experiments.config import ExperimentConfig

_PACKAGES = (
    *("prunebench", "torch", "torchvision", "torch-pruning", "botorch", "gpytorch", "stable-baselines3", "gymnasium"),
    *("scikit-learn", "scipy", "numpy", "pandas", "cmaes", "optuna"),
)


def new(config: ExperimentConfig, facts: dict[str, Any]) -> dict[str, Any]:
    """The manifest of a new experiment, without any session yet.

    Args:
        config: of the experiment.
        facts: what :func:`prunebench.envs.tasks.preparation.prepare` returned.
    """
    return {
        "threads": config.threads,
        "task": facts,
        "sessions": [],
    }


def session(config: ExperimentConfig, command: str, jobs: int | None, engine: str = "local") -> dict[str, Any]:
    """One call of the command that ran something: code and machine may be others than the last time."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "jobs": jobs,
        "engine": engine,
        "runs": len(config.runs()),
        **origin(config.agents),
    }


def origin(agents: Iterable[AgentSpec] = ()) -> dict[str, Any]:
    """Code and machine that numbers are made with: versions of packages, those of ``agents`` too, git and machine."""
    return {
        "versions": {"python": platform.python_version()} | _versions() | registry.versions(agents),
        "git": _git(Path(__file__).resolve().parents[2]),
        "machine": {"platform": platform.platform(), "processor": _processor(), "cores": cores()},
    }


def differences(before: dict[str, Any], now: dict[str, Any], cost: str) -> list[str]:
    """What decides numbers and is not the same in the facts about a task, in words; ``cost`` is what is limited."""
    # What a network computes; of older experiments the hash of its file is known.
    network = "network_sha256" if "network_sha256" in before.keys() & now.keys() else "network_version"
    keys = ("weights_sha256", network, "data_sha256", f"{cost}_sha256", "splits")
    changed = [key.partition("_")[0] for key in keys if before.get(key) != now.get(key)]
    return [*changed, *(["method"] if before.get("method", 1) != now.get("method", 1) else [])]


def changes(content: dict[str, Any]) -> list[str]:
    """What differs between the sessions of a manifest: numbers made with several states of code are not alike."""
    return [
        key
        for key in ("versions", "git", "machine")
        if any(s[key] != content["sessions"][0][key] for s in content["sessions"])
    ]


def own_versions(content: dict[str, Any]) -> list[str]:
    """The versions of prunebench that a manifest's sessions were made by, in their order."""
    found = (session["versions"].get("prunebench") for session in content["sessions"])
    return [version for version in dict.fromkeys(found) if version is not None]


def _versions() -> dict[str, str | None]:
    return {package: _version(package) for package in _PACKAGES}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git(root: Path) -> dict[str, Any] | None:
    """Revision and dirty flag of the repository that ``root`` is the top of; None where there is no such thing.

    Files under ``results/`` do not make it dirty: results are no code, and their settings are recorded beside them.
    """
    try:
        if Path(_git_output(root, "rev-parse", "--show-toplevel")).resolve() != root:
            return None
        dirty = _git_output(root, "status", "--porcelain", "--", ".", ":(exclude)results") != ""
        return {"revision": _git_output(root, "rev-parse", "HEAD"), "dirty": dirty}
    except (OSError, subprocess.CalledProcessError):
        return None


def _git_output(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _processor() -> str:
    """The processor's name; Python knows it on few systems."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()

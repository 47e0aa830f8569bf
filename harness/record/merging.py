"""Copies the runs of several experiments of one task into a new one."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from prunebench.envs.files import draft_of
from prunebench.harness.errors import ConfigError
from prunebench.harness.experiments import config as configs
from prunebench.harness.files import write_json, write_text
from prunebench.harness.record import joined
from prunebench.harness.record.store import Experiment


def merge(parts: Sequence[Experiment], folder: Path, command: str) -> Experiment:
    """Write an experiment that has the runs of several; those stay as they are.

    Args:
        parts: of one task. The first one's settings and, of equal runs, its copies are taken.
        folder: of the new experiment.
        command: as it was typed.

    Returns:
        What was copied.

    Raises:
        ConfigError: there are not two, they are of different tasks, finished copies of a run contradict each other, or
            the folder holds something; nothing was written.
        StoreError: a file that this needs is damaged; nothing was written.
    """
    if len(parts) < 2:
        raise ConfigError(f"expected at least two experiments to merge, found {len(parts)}")
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ConfigError(f"out {str(folder)!r} exists: expected a new or an empty folder")
    for other in parts[1:]:
        if told := joined.differences(parts[0], other):
            both = f"{str(parts[0].folder)!r} and {str(other.folder)!r}"
            raise ConfigError(f"{both} are not of one task: {'; '.join(told)}")
    found = joined.join(parts)
    draft = draft_of(folder)
    try:
        _write(found, Experiment(draft, found.config), command)
        draft.replace(folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return found


def _write(found: Experiment, made: Experiment, command: str) -> None:
    for (agent, seed), run in found.copies.items():
        target = made.run(agent, seed).folder
        target.mkdir(parents=True, exist_ok=True)
        for path in sorted(run.folder.glob(f"seed-{seed}.*")):  # the status first: lines may still be added
            shutil.copy2(path, target)
    write_text(made.yaml_path, configs.to_yaml(made.config, command, found.origin))
    write_json(made.manifest_path, found.manifest())


def told(found: Experiment) -> list[str]:
    """What became of runs that several folders hold, a line for each folder whose copies were taken."""
    counts = Counter((run.agent, run.seed) for part in found.parts for run in part.runs())
    kept = {
        part.folder: [run.name for which, run in found.copies.items() if counts[which] > 1 and run == part.run(*which)]
        for part in found.parts
    }
    return [
        f"in several folders, taken with its times from {folder}: {', '.join(names)}"
        for folder, names in kept.items()
        if names
    ]

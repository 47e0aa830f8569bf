"""The files of an experiment: where each lies, and how it is written.

experiment.yaml                              the configuration and the command that made it
manifest.json                                versions, machine, hashes, facts about the task
runs/<network>/<agent>/seed-<k>.jsonl        a line per evaluation (harness.journal)
runs/<network>/<agent>/seed-<k>.json         the run's status
runs/<network>/<agent>/seed-<k>.finetune.json            what became of its incumbent by fine-tuning (harness.finetune)
runs/<network>/<agent>/seed-<k>.finetuned.safetensors    the weights
tables/                                      rebuilt from the above
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envs import models
from harness import config as configs
from harness.agentspec import folder_name
from harness.config import SCHEMA, ExperimentConfig
from harness.errors import ConfigError, StoreError
from harness.journal import Journal, Line, read, sync_folder

Status = dict[str, Any]
"""A run's status as JSON-able values:

status: waiting (never begun, not on disk), running (or interrupted), done, failed.
attempts: how often it was begun.
nondeterministic: a dict for every time that a replay failed: the file its lines were kept in, and the reason.
error: None, or type, message and traceback.
incumbent: index of a line, None while there is none.
test: accuracy and loss of the incumbent on the test split, or None.
notes: what the agent left about its search (see :class:`agents.base.Agent`), or None.
latency: of the incumbent's network, measured when all runs had ended (absent before that): seconds and dense_seconds
    (of the dense network) per batch, images of the batch, threads.
seconds: setup (before the search), closing (of the agent, after its last evaluation).
"""

_NOTHING_YET: Status = {
    "attempts": 0,
    "nondeterministic": [],
    "error": None,
    "incumbent": None,
    "test": None,
    "notes": None,
    "seconds": {},
}


def write_text(path: Path, text: str) -> None:
    """Write a file so that a reader finds the old text or the new one, whatever happens."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with draft.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write ``content`` and the schema's version, atomically."""
    write_text(path, json.dumps({"schema": SCHEMA, **content}, indent=2) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """What :func:`write_json` wrote.

    Raises:
        StoreError: there is no such file, or it is damaged or another version's.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise StoreError(f"{path}: expected version {SCHEMA} of the files")
    return content


@dataclass(frozen=True)
class Run:
    """One run of an experiment: an agent (its label) and a seed, and its files."""

    folder: Path
    agent: str
    seed: int

    @property
    def name(self) -> str:
        """As it is shown."""
        return f"{self.agent} seed {self.seed}"

    @property
    def status_path(self) -> Path:
        """``seed-<k>.json``."""
        return self.folder / f"seed-{self.seed}.json"

    @property
    def lines_path(self) -> Path:
        """``seed-<k>.jsonl``."""
        return self.folder / f"seed-{self.seed}.jsonl"

    @property
    def finetune_path(self) -> Path:
        """``seed-<k>.finetune.json``."""
        return self.folder / f"seed-{self.seed}.finetune.json"

    @property
    def finetuned_weights_path(self) -> Path:
        """``seed-<k>.finetuned.safetensors``."""
        return self.folder / f"seed-{self.seed}.finetuned.safetensors"

    @property
    def finetune_state_path(self) -> Path:
        """``seed-<k>.finetune.partial``, the state of fine-tuning while it goes on."""
        return self.folder / f"seed-{self.seed}.finetune.partial"

    def finetuned(self) -> Status | None:
        """What became of the incumbent by fine-tuning (see :mod:`harness.finetune`); None where it was never begun."""
        return read_json(self.finetune_path) if self.finetune_path.exists() else None

    def status(self) -> Status:
        """The status; ``waiting`` where the run was never begun."""
        return read_json(self.status_path) if self.status_path.exists() else {"status": "waiting", **_NOTHING_YET}

    def write_status(self, status: Status) -> None:
        """Replace the status."""
        write_json(self.status_path, {"agent": self.agent, "seed": self.seed} | status)

    def lines(self) -> list[Line]:
        """The evaluations so far; needs no lock."""
        return read(self.lines_path)

    def open(self) -> Journal:
        """The evaluations, to be added to; raises StoreError while another process does."""
        return Journal(self.lines_path)


@dataclass(frozen=True)
class Experiment:
    """An experiment's folder and its configuration."""

    folder: Path
    config: ExperimentConfig

    @property
    def yaml_path(self) -> Path:
        """The configuration."""
        return self.folder / "experiment.yaml"

    @property
    def manifest_path(self) -> Path:
        """Versions, machine, hashes, facts."""
        return self.folder / "manifest.json"

    @property
    def tables_folder(self) -> Path:
        """Tables, all of them rebuilt from the other files."""
        return self.folder / "tables"

    @property
    def figures_folder(self) -> Path:
        """Figures, likewise."""
        return self.folder / "figures"

    def run(self, agent: str, seed: int) -> Run:
        """One run; the agent by its label."""
        return Run(self.folder / "runs" / models.slug(self.config.task.model) / folder_name(agent), agent, seed)

    def runs(self) -> list[Run]:
        """Every run, seed by seed, so that an unfinished experiment compares as many agents as it can."""
        return [self.run(agent.label, seed) for seed in range(self.config.seeds) for agent in self.config.agents]


def load(folder: Path) -> Experiment:
    """The experiment in a folder.

    Raises:
        ConfigError: there is none.
        StoreError: its configuration is damaged.
    """
    path = folder / "experiment.yaml"
    if not path.is_file():
        near = sorted(str(other.parent) for other in Path("results").rglob("experiment.yaml"))
        hint = f"; experiments here: {', '.join(near)}" if near else ""
        raise ConfigError(f"out {str(folder)!r} holds no experiment (no experiment.yaml){hint}")
    return Experiment(folder, configs.read_yaml(path)[0])


def meet(folder: Path, wanted: ExperimentConfig) -> Experiment | None:
    """The experiment that a folder holds already, with the seeds asked for; None where there is none yet.

    Raises:
        ConfigError: the folder holds something else, or the experiment differs in more than its seeds.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    if not (folder / "experiment.yaml").is_file():
        raise ConfigError(f"out {str(folder)!r} exists and is no experiment: expected a new or an empty folder")
    existing = load(folder)
    if changes := configs.differences(existing.config, wanted):
        raise ConfigError(
            f"the experiment in {str(folder)!r} has other settings ({'; '.join(changes)}): only seeds can be added; "
            "name another folder with --out"
        )
    return Experiment(folder, wanted if wanted.seeds > existing.config.seeds else existing.config)

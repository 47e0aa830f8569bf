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

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, ValidationError

from envs import models
from harness import config as configs
from harness.agentspec import folder_name
from harness.config import SCHEMA, ExperimentConfig
from harness.errors import ConfigError, DamagedError, StoreError
from harness.journal import Journal, Line, first_fault, free_name, make_folder, read, sync_folder

Status = dict[str, Any]
"""A run's status as JSON-able values:

status: waiting (never begun, not on disk), running (or interrupted), done, failed, timeout; damaged where the file, or
    that of the lines, is not what was written.
attempts: how often it was begun.
failures: how often it failed: interruptions do not count.
notices: what had to be mended when the run's files were opened, a sentence each.
nondeterministic: a dict for every time that a replay failed: the file its lines were kept in, and the reason.
error: None, or type, message and traceback.
lines: how many there are, once it is done.
incumbent: index of a line, None while there is none.
test: accuracy and loss of the incumbent on the test split, or None.
notes: what the agent left about its search (see :class:`agents.base.Agent`), or None.
latency: of the incumbent's network, measured when all runs had ended (absent before that): seconds and dense_seconds
    (of the dense network) per batch, images of the batch, threads.
seconds: setup (before the search), closing (of the agent, after its last evaluation).
"""

_DRAFT, _LOCK = ".tmp", ".lock"  # what may be left behind, and means nothing
ENDED = ("done", "failed", "timeout")
"""States in which a run has come to an end."""
_NOTHING_YET: Status = {
    "attempts": 0,
    "failures": 0,
    "notices": [],
    "nondeterministic": [],
    "error": None,
    "incumbent": None,
    "test": None,
    "notes": None,
    "seconds": {},
}


class _Problem(BaseModel):
    type: str
    message: str
    traceback: str


class _Score(BaseModel):
    accuracy: float
    loss: float


class _StatusFile(BaseModel):
    """What a status is checked against when it is read; see :data:`Status`."""

    model_config = ConfigDict(strict=True)
    status: Literal["waiting", "running", "done", "failed", "timeout"]
    attempts: int
    failures: int
    notices: list[str]
    nondeterministic: list[dict[str, str]]
    error: _Problem | None
    lines: int | None = None
    incumbent: int | None
    test: _Score | None
    notes: dict[str, Any] | None
    latency: dict[str, float] | None = None
    seconds: dict[str, float]


def write_text(path: Path, text: str) -> None:
    """Write a file so that a reader finds the old text or the new one, whatever happens."""
    make_folder(path.parent)
    draft = path.with_name(f".{path.name}.{os.getpid()}{_DRAFT}")
    try:
        with draft.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write ``content`` and the schema's version, atomically."""
    write_text(path, json.dumps({"schema": SCHEMA, **content}, indent=2) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """What :func:`write_json` wrote.

    Raises:
        DamagedError: there is no such file, or it is damaged.
        StoreError: it is another version's.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, RecursionError) as error:  # other errors of the system may pass
        raise DamagedError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict) or "schema" not in content:
        raise DamagedError(f"{path} is not what was written: expected an object with a schema")
    if content["schema"] != SCHEMA:
        raise StoreError(f"{path}: written in version {content['schema']} of the files; this is version {SCHEMA}")
    return content


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock on an experiment's folder while its configuration and manifest are changed.

    The lock is the kernel's and goes with the process that holds it; a run's lines have one of their own. It is on a
    file: a network file system may lock files for all machines, but folders for one.
    """
    handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


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
    def log_path(self) -> Path:
        """``seed-<k>.log``: what the run's process printed; absent where it printed nothing."""
        return self.folder / f"seed-{self.seed}.log"

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
        """The status; ``waiting`` where the run was never begun, ``damaged`` where the file cannot be used."""
        if not self.status_path.exists():
            return {"status": "waiting", **_NOTHING_YET}
        try:
            return _checked(self.status_path, _NOTHING_YET | read_json(self.status_path))
        except DamagedError as error:
            return _damaged(error)

    def checked(self) -> Status:
        """The status; ``damaged`` also where the lines are, or where some of a finished run's are missing."""
        status = self.status()
        try:
            count = len(self.lines())
            if status["status"] == "done" and count != status.get("lines", count):
                raise DamagedError(f"{self.lines_path} has {count} lines, expected {status['lines']}")
        except DamagedError as error:
            return _damaged(error)
        return status

    def mended(self) -> Status:
        """The status, to go on from: a damaged file is kept beside and the run counts as never begun."""
        status = self.status()
        return status if status["status"] != "damaged" else self.begin_status_afresh(status)

    def begin_status_afresh(self, status: Status) -> Status:
        """Keep the file of a damaged ``status`` beside; the run counts as never begun."""
        aside = free_name(self.status_path, "damaged")
        self.status_path.replace(aside)
        notice = f"{status['error']['message']}; kept as {aside.name}"
        return {"status": "waiting", **_NOTHING_YET, "notices": [notice]}

    def busy(self) -> bool:
        """Whether some process is doing this run."""
        if not self.lines_path.exists():
            return False
        with self.lines_path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def write_status(self, status: Status) -> None:
        """Replace the status."""
        write_json(self.status_path, {"agent": self.agent, "seed": self.seed} | status)

    def amend_status(self, status: Status) -> None:
        """Replace the status of a run that nobody is doing; what had to be mended for that is among its notices.

        Raises:
            BusyError: somebody is.
        """
        with self.open() as journal:
            self.write_status(status | {"notices": [*status["notices"], *journal.notices]})

    def lines(self) -> list[Line]:
        """The evaluations so far; needs no lock."""
        return read(self.lines_path)

    def open(self) -> Journal:
        """The evaluations, to be added to; raises BusyError while another process does."""
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

    def manifest(self) -> dict[str, Any]:
        """What the manifest says.

        Raises:
            DamagedError: it is not there, or damaged.
        """
        content = read_json(self.manifest_path)
        if not isinstance(content.get("task"), dict) or not isinstance(content.get("sessions", []), list):
            raise DamagedError(f"{self.manifest_path} is not what was written: expected facts about the task")
        return content

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
        network = quote(models.slug(self.config.task.model), safe="")
        return Run(self.folder / "runs" / _inside(network) / _inside(folder_name(agent)), agent, seed)

    def runs(self) -> list[Run]:
        """Every run, seed by seed, so that an unfinished experiment compares as many agents as it can."""
        return [self.run(agent.label, seed) for seed in range(self.config.seeds) for agent in self.config.agents]


def _inside(name: str) -> str:
    """A name without separators that cannot lead out of a folder either."""
    return name.replace(".", "%2E") if not name.strip(".") else name


def _checked(path: Path, status: Status) -> Status:
    try:
        _StatusFile.model_validate(status)
    except ValidationError as error:
        raise DamagedError(f"{path} is not what was written: {first_fault(error)}") from error
    return status


def _damaged(error: StoreError) -> Status:
    reason = {"type": "DamagedError", "message": str(error), "traceback": ""}
    return {"status": "damaged", **_NOTHING_YET, "error": reason}


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
        raise ConfigError(f"folder {str(folder)!r} holds no experiment (no experiment.yaml){hint}")
    return Experiment(folder, configs.read_yaml(path)[0])


def _left_behind(path: Path) -> bool:
    """Whether it is of a command that was killed before it had written anything, or of one that is just beginning."""
    return path.name == _LOCK or (path.name.startswith(".") and path.suffix == _DRAFT)


def meet(folder: Path, wanted: ExperimentConfig) -> Experiment | None:
    """The experiment that a folder holds already, with the seeds asked for; None where there is none yet.

    Raises:
        ConfigError: the folder holds something else, or the experiment differs in more than its seeds.
    """
    if not folder.exists() or (folder.is_dir() and all(map(_left_behind, folder.iterdir()))):
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

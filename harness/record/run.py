"""One run of an experiment and its files."""

from __future__ import annotations

import fcntl
from dataclasses import dataclass
from pathlib import Path

from prunebench.harness.errors import DamagedError
from prunebench.harness.files import free_name, read_json, write_json
from prunebench.harness.record.journal import Journal, Line, read
from prunebench.harness.record.status import NOTHING_YET, Status, checked, damaged


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
        """What became of the incumbent by fine-tuning (see :mod:`prunebench.harness.running.finetune`); None where it
        was never begun."""
        return read_json(self.finetune_path) if self.finetune_path.exists() else None

    def status(self) -> Status:
        """The status; ``waiting`` where the run was never begun, ``damaged`` where the file cannot be used."""
        if not self.status_path.exists():
            return {"status": "waiting", **NOTHING_YET}
        try:
            return checked(self.status_path, NOTHING_YET | read_json(self.status_path))
        except DamagedError as error:
            return damaged(error)

    def read(self) -> tuple[Status, list[Line]]:
        """Status and lines, each file read once. ``damaged``, and no lines, where either file is, or where some of a
        finished run's lines are missing."""
        status = self.status()
        try:
            lines = self.lines()
            if status["status"] == "done" and len(lines) != status.get("lines", len(lines)):
                raise DamagedError(f"{self.lines_path} has {len(lines)} lines, expected {status['lines']}")
        except DamagedError as error:
            return damaged(error), []
        return status, [] if status["status"] == "damaged" else lines

    def checked(self) -> Status:
        """The status of :meth:`read`."""
        return self.read()[0]

    def mended(self) -> Status:
        """The status, to go on from: a damaged file is kept beside and the run counts as never begun."""
        status = self.status()
        return status if status["status"] != "damaged" else self.begin_status_afresh(status)

    def begin_status_afresh(self, status: Status) -> Status:
        """Keep the file of a damaged ``status`` beside; the run counts as never begun."""
        aside = free_name(self.status_path, "damaged")
        self.status_path.replace(aside)
        notice = f"{status['error']['message']}; kept as {aside.name}"
        return {"status": "waiting", **NOTHING_YET, "notices": [notice]}

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

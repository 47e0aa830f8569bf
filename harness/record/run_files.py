"""One run of an experiment and its files."""

from __future__ import annotations

import fcntl
from dataclasses import dataclass
from pathlib import Path

from prunebench.harness.errors import DamagedError, StoreError
from prunebench.harness.files import free_name, write_json
from prunebench.harness.record import journal
from prunebench.harness.record import status as statuses
from prunebench.harness.record.journal import Journal, Line
from prunebench.harness.record.status import FinetuneStatus, Status


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

    def finetuned(self) -> FinetuneStatus | None:
        """What became of the incumbent by fine-tuning; None where it was never begun."""
        return statuses.read(FinetuneStatus, self.finetune_path) if self.finetune_path.exists() else None

    def _status(self) -> Status:
        """The status; raises DamagedError where the file cannot be used."""
        return statuses.read(Status, self.status_path) if self.status_path.exists() else Status(status="waiting")

    def status(self) -> Status:
        """The status; ``waiting`` where the run was never begun, ``damaged`` where the file cannot be used."""
        try:
            return self._status()
        except DamagedError as error:
            return Status.damaged(error)

    def read(self) -> tuple[Status, list[Line]]:
        """Status and lines, each file read once.

        ``damaged``, and no lines, where either file is, or where some of a finished run's lines are missing.
        """
        found = self.status()
        try:
            lines = self.lines()
            if found.state == "done" and found.lines not in (len(lines), None):
                raise DamagedError(f"{self.lines_path} has {len(lines)} lines, expected {found.lines}")
            if found.state == "done" and any(not 0 <= c.evaluation < len(lines) for c in found.confirmed):
                raise DamagedError(f"{self.status_path} confirms evaluations beyond the {len(lines)} that there are")
        except DamagedError as error:
            return Status.damaged(error), []
        return found, [] if found.state == "damaged" else lines

    def checked(self) -> Status:
        """The status of :meth:`read`."""
        return self.read()[0]

    def mended(self) -> Status:
        """The status, to go on from: a damaged file is kept beside and the run counts as never begun."""
        try:
            return self._status()
        except DamagedError as error:
            return self.begin_status_afresh(error)

    def begin_status_afresh(self, why: StoreError) -> Status:
        """Keep a file that cannot be used beside; the run counts as never begun."""
        aside = free_name(self.status_path, "damaged")
        self.status_path.replace(aside)
        return Status(status="waiting", notices=[f"{why}; kept as {aside.name}"])

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
        write_json(self.status_path, {"agent": self.agent, "seed": self.seed} | status.content())

    def amend_status(self, status: Status) -> None:
        """Replace the status of a run that nobody is doing; what had to be mended for that is among its notices.

        Raises:
            BusyError: somebody is.
        """
        with self.open() as lines:
            status.notices = [*status.notices, *lines.notices]
            self.write_status(status)

    def write_finetuned(self, status: FinetuneStatus) -> None:
        """Replace what became of the incumbent by fine-tuning."""
        content = status.model_dump(by_alias=True)
        write_json(self.finetune_path, {"agent": self.agent, "seed": self.seed} | content)

    def lines(self) -> list[Line]:
        """The evaluations so far; needs no lock."""
        return journal.read(self.lines_path)

    def open(self) -> Journal:
        """The evaluations, to be added to; raises BusyError while another process does."""
        return Journal(self.lines_path)

"""What became of a run: its status, as it stands in ``seed-<k>.json``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from prunebench.harness.errors import DamagedError, StoreError
from prunebench.harness.record.journal import first_fault

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
notes: what the agent left about its search (see :class:`prunebench.agents.base.Agent`), or None.
latency: of the incumbent's network, measured when all runs had ended (absent before that): seconds and dense_seconds
    (of the dense network) per batch, images of the batch, threads.
seconds: setup (before the search), closing (of the agent, after its last evaluation).
"""

ENDED = ("done", "failed", "timeout")
"""States in which a run has come to an end."""
NOTHING_YET: Status = {
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


def checked(path: Path, status: Status) -> Status:
    """The status that was read from a file; raises DamagedError unless it is one."""
    try:
        _StatusFile.model_validate(status)
    except ValidationError as error:
        raise DamagedError(f"{path} is not what was written: {first_fault(error)}") from error
    return status


def damaged(error: StoreError) -> Status:
    """The status of a run whose files are not what was written."""
    reason = {"type": "DamagedError", "message": str(error), "traceback": ""}
    return {"status": "damaged", **NOTHING_YET, "error": reason}

"""The statuses of a run and of its fine-tuning: ``seed-<k>.json`` and ``seed-<k>.finetune.json``."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
)

from prunebench.harness.errors import DamagedError, StoreError, in_one_line, plain
from prunebench.harness.files import first_fault, read_json

if TYPE_CHECKING:
    from prunebench.envs.environment.channel_pruning import FinalScore

ENDED = ("done", "failed", "timeout")
"""States in which a run has come to an end."""


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)


class Problem(_Part):
    """Why something failed; as a string the type and the message, which is one line."""

    type: str
    message: str
    traceback: str = ""

    @field_validator("traceback", mode="before")
    @classmethod
    def _plain(cls, value: object) -> object:
        return plain(value) if isinstance(value, str) else value

    @classmethod
    def of(cls, error: BaseException) -> Self:
        """The problem that an exception is."""
        details = "".join(traceback.format_exception(error))
        return cls(type=type(error).__name__, message=in_one_line(error), traceback=details)

    def __str__(self) -> str:
        return f"{self.type}: {self.message}"


class TestScore(_Part):
    """Accuracy and loss on the test split.

    ``hits`` says on which images (:mod:`prunebench.envs.environment.hits`); absent on disk where it was not kept.
    """

    __test__ = False  # no test class

    accuracy: float
    loss: float
    hits: str | None = None

    @classmethod
    def of(cls, tested: FinalScore) -> Self:
        """What an evaluator says."""
        return cls(**tested._asdict())

    @model_serializer(mode="wrap")
    def _known(self, content: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in content(self).items() if value is not None}


class Confirmed(_Part):
    """What a policy scored on the confirm split: accuracy and loss.

    ``evaluation`` is the index of its line, ``seconds`` say where the time went, as the evaluator does.
    """

    evaluation: int
    accuracy: float
    loss: float
    seconds: dict[str, float]


class Latency(_Part):
    """Seconds per batch of the incumbent's network and of the dense one, with images of the batch and threads."""

    dense_seconds: float
    images: int
    threads: int
    seconds: float


class Status(BaseModel):
    """A run's status. Values that are set are checked as those that are read.

    Attributes:
        state: ``status`` on disk: waiting (never begun, not on disk), running (or interrupted), done, failed, timeout;
            damaged, which is not written either, where this file, or that of the lines, is not what was written.
        attempts: how often it was begun.
        gpu: the GPUs that its process saw, as CUDA_VISIBLE_DEVICES names them; absent on disk where nobody chose any.
        failures: how often it failed: interruptions do not count.
        notices: what had to be mended when the run's files were opened, a sentence each.
        nondeterministic: for every time that a replay failed the file its lines were kept in, and the reason.
        error: why it failed, or None.
        lines: how many there are, once it is done; absent on disk before.
        confirmed: the best policies of the search that were scored again, the best first
            (:func:`prunebench.harness.record.journal.candidates`); absent on disk where there are none.
        incumbent: index of a line, None while there is none.
        test: of the incumbent, or None.
        notes: what the agent left about its search (see :class:`prunebench.agents.base.Agent`), or None.
        latency: of the incumbent's network, measured when all runs had ended; absent on disk before.
        seconds: setup (before the search), closing (of the agent, after its last evaluation).
    """

    model_config = ConfigDict(strict=True, validate_assignment=True)
    attempts: int = 0
    gpu: str | None = None
    failures: int = 0
    notices: list[str] = []
    nondeterministic: list[dict[str, str]] = []
    error: Problem | None = None
    confirmed: list[Confirmed] = []
    incumbent: int | None = None
    test: TestScore | None = None
    notes: dict[str, Any] | None = None
    seconds: dict[str, float] = {}
    state: Literal["waiting", "running", "done", "failed", "timeout", "damaged"] = Field(alias="status")
    lines: int | None = None
    latency: Latency | None = None

    @classmethod
    def damaged(cls, error: StoreError) -> Self:
        """The status of a run whose files are not what was written."""
        return cls(status="damaged", error=Problem(type="DamagedError", message=str(error)))

    def content(self) -> dict[str, Any]:
        """As it is written."""
        absent = {name for name in ("gpu", "lines", "latency", "confirmed") if getattr(self, name) in (None, [])}
        return self.model_dump(by_alias=True, exclude=absent)


class FinetuneStatus(BaseModel):
    """What became of a run's incumbent by fine-tuning. Values that are set are checked as those that are read.

    Attributes:
        state: ``status`` on disk: running (or interrupted), done, failed.
        settings: epochs, learning_rate, batch_size, momentum, weight_decay, device (absent in those of older versions).
        channels: of the network that is trained, the incumbent's.
        test: afterwards, or None.
        seconds: of the process that finished it, from the first image to the test split; None before.
        error: why it failed, or None.
    """

    model_config = ConfigDict(strict=True, validate_assignment=True)
    state: Literal["running", "done", "failed"] = Field(alias="status")
    settings: dict[str, Any]
    channels: list[int]
    test: TestScore | None = None
    seconds: float | None = None
    error: Problem | None = None

    def changes(self, settings: dict[str, Any]) -> list[str]:
        """Which settings are others here, in words; older versions did not say the device."""
        said = {"device": settings["device"]} | self.settings
        keys = [key for key in settings if said.get(key) != settings[key]]
        return [f"{key.replace('_', '-')} is {said.get(key)}, not {settings[key]}" for key in keys]


_Any = TypeVar("_Any", Status, FinetuneStatus)


def read(kind: type[_Any], path: Path) -> _Any:
    """The status in a file.

    Raises:
        DamagedError: the file is not what was written.
        StoreError: it is another version's.
    """
    try:
        status = kind.model_validate(read_json(path))
    except ValidationError as error:
        raise DamagedError(f"{path} is not what was written: {first_fault(error)}") from error
    if status.state == "damaged":
        raise DamagedError(f"{path} is not what was written: status: 'damaged' is never written")
    return status

"""What is wrong with the files of an experiment, as far as they tell by themselves: without a network or an image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunebench.envs.environment.hits import unpacked
from prunebench.harness.errors import DamagedError
from prunebench.harness.files import read_json
from prunebench.harness.record.journal import candidates, incumbent

if TYPE_CHECKING:
    from prunebench.harness.experiments.config import ExperimentConfig
    from prunebench.harness.record.journal import Line
    from prunebench.harness.record.run_files import Run
    from prunebench.harness.record.status import Status, TestScore

_LONGEST = 60  # characters of a value that are shown


@dataclass(frozen=True)
class Finding:
    """Something on disk that is not what it should be.

    Attributes:
        file: where it stands.
        field: which of the file's entries.
        says: what stands there.
        found: what should.
    """

    file: Path
    field: str
    says: str
    found: str

    @classmethod
    def of(cls, file: Path, field: str, says: Any, found: Any) -> Finding:
        """A finding about any values; of two lists of one length only the first entry that differs is told."""
        if isinstance(says, list) and isinstance(found, list) and len(says) == len(found):
            for number, (one, other) in enumerate(zip(says, found, strict=True)):
                if one != other:
                    return cls.of(file, f"{field}[{number}]", one, other)
        return cls(file, field, _shown(says), _shown(found))

    def __str__(self) -> str:
        return f"{self.file}: {self.field}: says {self.says}, found {self.found}"


def _shown(value: Any) -> str:
    text = str(value) or "nothing"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."


def line_field(line: Line, field: str) -> str:
    """How an entry of a line is named."""
    return f"line {line.index + 1}, {field}"


def of_run(
    run: Run, status: Status, lines: Sequence[Line], splits: dict[str, int], config: ExperimentConfig
) -> Iterator[Finding]:
    """What does not agree within the files of a run that is done.

    Args:
        run: whose files they are.
        status: as it was read.
        lines: as they were read.
        splits: images of the ``reward``, the ``test`` and perhaps the ``confirm`` split.
        config: of the experiment.
    """
    best = incumbent(lines, status.confirmed)
    if len(lines) > (most := config.search_evaluations):
        yield Finding.of(run.lines_path, "lines", len(lines), f"at most {most} evaluations")
    yield from _of_lines(run, lines, splits["reward"])
    yield from _of_confirmed(run.status_path, status, candidates(lines, config.task.confirm), splits)
    yield from _of_status(run, status, best, splits["test"])
    yield from _of_finetuning(run, best)


def _of_lines(run: Run, lines: Sequence[Line], images: int) -> Iterator[Finding]:
    first: dict[tuple[int, ...], Line] = {}
    for line in lines:
        yield from _whole_images(run.lines_path, line_field(line, "accuracy"), line.accuracy, images)
        before = first.setdefault(tuple(line.channels), line)
        expected = {
            "repeat_of": None if before is line else before.index,
            "accuracy": before.accuracy,  # a repeat is not scored again
            "loss": before.loss,
        }
        for field, value in expected.items():
            if not _equal(getattr(line, field), value):
                yield Finding.of(run.lines_path, line_field(line, field), getattr(line, field), value)


def _equal(one: Any, other: Any) -> bool:
    """Whether values are the same; a number that is none is the same as another."""
    return one == other or (one != one and other != other)


def _of_confirmed(file: Path, status: Status, best: Sequence[Line], splits: dict[str, int]) -> Iterator[Finding]:
    """That the best policies were confirmed, and no others."""
    says, found = [again.evaluation for again in status.confirmed], [line.index for line in best]
    if says != found:
        yield Finding.of(file, "confirmed", says, found)
    for number, again in enumerate(status.confirmed if "confirm" in splits else []):
        yield from _whole_images(file, f"confirmed[{number}].accuracy", again.accuracy, splits["confirm"])


def _whole_images(file: Path, field: str, accuracy: float, images: int) -> Iterator[Finding]:
    """An accuracy is a number of images that were right, over all."""
    right = round(accuracy * images)
    if accuracy != right / images:
        yield Finding.of(file, field, accuracy, f"{right / images}, the next of {images} images' accuracies")


def _of_status(run: Run, status: Status, best: Line | None, images: int) -> Iterator[Finding]:
    content, file = read_json(run.status_path), run.status_path
    expected = {"agent": run.agent, "seed": run.seed, "incumbent": None if best is None else best.index}
    yield from (Finding.of(file, key, content.get(key), v) for key, v in expected.items() if content.get(key) != v)
    if (status.test is None) != (best is None):
        yield Finding.of(file, "test", status.test, "no incumbent" if best is None else "an incumbent")
    if status.test is not None:
        yield from _of_test(file, status.test, images)


def _of_test(file: Path, test: TestScore, images: int) -> Iterator[Finding]:
    yield from _whole_images(file, "test.accuracy", test.accuracy, images)
    if test.hits is None:
        return
    try:
        right = int(unpacked(test.hits, images).sum())
    except ValueError as error:
        yield Finding.of(file, "test.hits", test.hits, error)
        return
    if right != round(test.accuracy * images):
        yield Finding.of(file, "test.hits", f"{right} images right", f"{round(test.accuracy * images)} by the accuracy")


def _of_finetuning(run: Run, best: Line | None) -> Iterator[Finding]:
    """What was trained on is the incumbent's network; its own scores are not checked."""
    try:
        tuned = run.finetuned()
    except DamagedError as error:
        yield Finding.of(run.finetune_path, "file", "something else", error)
        return
    if tuned is None or tuned.state != "done":
        return
    if best is None or tuned.channels != best.channels:
        yield Finding.of(run.finetune_path, "channels", tuned.channels, best and best.channels)
    if tuned.test is None:
        yield Finding.of(run.finetune_path, "test", None, "a score, since it is done")

"""Scores that were made again, beside those on disk: which of them count as the same."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import NamedTuple

from prunebench.envs.environment.channel_pruning import FinalScore
from prunebench.envs.environment.hits import unpacked
from prunebench.harness.record.findings import Finding


class Tolerance(NamedTuple):
    """By how much a score may differ: images on which it is right, and the loss, relative."""

    images: int
    loss: float


EXACT = Tolerance(0, 1e-12)
"""Where the arithmetic is that of the runs."""
ELSEWHERE = Tolerance(2, 1e-4)
"""On another kind of processor, or with other versions of the libraries, whose sums are rounded in other places."""


@dataclass(frozen=True)
class Rescored:
    """One network on one split.

    Attributes:
        file: that holds its score.
        field: of the file, to which ``accuracy``, ``loss`` and ``hits`` are added.
        images: of the split.
        says: as recorded; what an older version did not record is NaN or None.
        found: as it was made again.
        rounding: relative, of the loss, where it was scored with as many threads as there were.
    """

    file: Path
    field: str
    images: int
    says: FinalScore
    found: FinalScore
    rounding: float = 0.0

    @property
    def loss_apart(self) -> float:
        """Relative; NaN where it was not recorded."""
        return abs(self.says.loss - self.found.loss) / max(abs(self.says.loss), 1e-12)

    def findings(self, same: Tolerance) -> Iterator[Finding]:
        """What differs by more than a tolerance."""
        if abs(self.says.accuracy - self.found.accuracy) * self.images > same.images + 1e-6:
            yield Finding.of(self.file, f"{self.field}accuracy", self.says.accuracy, self.found.accuracy)
        if self.loss_apart > max(same.loss, self.rounding):
            yield Finding.of(self.file, f"{self.field}loss", self.says.loss, self.found.loss)
        if self.says.hits is not None and self.found.hits is not None:
            yield from self._hits(self.says.hits, self.found.hits, same)

    def _hits(self, says: str, found: str, same: Tolerance) -> Iterator[Finding]:
        try:
            apart = int((unpacked(says, self.images) != unpacked(found, self.images)).sum())
        except ValueError as error:
            yield Finding.of(self.file, f"{self.field}hits", says, error)
            return
        if apart > same.images:
            yield Finding.of(self.file, f"{self.field}hits", says, f"{found}, {apart} of {self.images} images apart")


@dataclass
class Checked:
    """What making everything again has shown.

    Attributes:
        hashes: weights, network or data are not those that the manifest names.
        findings: what else is wrong and is no score.
        scores: of the dense network and the incumbents.
        evaluations: how many policies were realised again.
        incumbents: how many were scored again.
    """

    hashes: list[Finding] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    scores: list[Rescored] = field(default_factory=list)
    evaluations: int = 0
    incumbents: int = 0

    @property
    def strangers(self) -> bool:
        """Whether these are other weights or data altogether: a hash differs, and not one loss is as recorded."""
        return bool(self.hashes) and not any(score.loss_apart <= ELSEWHERE.loss for score in self.scores)

    def all_findings(self) -> list[Finding]:
        """Those about scores too."""
        scores = [finding for score in self.scores for finding in score.findings(self.tolerance)]
        return [*self.hashes, *self.findings, *scores]

    @property
    def tolerance(self) -> Tolerance:
        """The stricter one where most losses are as recorded to the last digits: then all of them must be."""
        apart = [score.loss_apart for score in self.scores if not math.isnan(score.loss_apart)]
        return EXACT if apart and median(apart) <= EXACT.loss else ELSEWHERE

    def in_words(self) -> str:
        """What was tolerated, and why."""
        if self.tolerance is EXACT:
            return "most losses are as recorded to the last digits, so no difference was tolerated"
        return (
            f"losses differ in their last digits, as on another kind of machine: {ELSEWHERE.images} images of a split "
            f"and {ELSEWHERE.loss:g} of a loss were tolerated"
        )

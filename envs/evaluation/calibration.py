"""Computes once per network, data and criterion: the order of channels, and factorised least-squares problems."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prunebench.envs.data.batches import Batches
from prunebench.envs.evaluation.reconstruction import Tensors, factorise, gram_matrices, reconstructed_units
from prunebench.envs.progress import Progress, silent
from prunebench.envs.pruning.criteria import Scores, channel_scores, ranks
from prunebench.envs.pruning.network import PrunableNetwork


@dataclass(frozen=True)
class Calibration:
    """Channel scores and least-squares problems, as plain content that can be kept on disk.

    Attributes:
        scores: importance of every prunable layer's channels.
        problems: tensors of :func:`prunebench.envs.evaluation.reconstruction.factorise` by unit name; empty where
            nothing is refitted.
    """

    scores: list[Scores]
    problems: dict[str, Tensors]

    def content(self) -> dict[str, Any]:
        """Tensors in plain containers."""
        return {"scores": [torch.from_numpy(score) for score in self.scores], "problems": self.problems}

    @classmethod
    def from_content(cls, content: dict[str, Any]) -> Calibration:
        """The inverse of :meth:`content`; other entries are ignored."""
        return cls([np.asarray(score) for score in content["scores"]], content["problems"])


def calibrate(
    network: PrunableNetwork,
    batches: Batches,
    *,
    importance: str,
    least_squares: bool,
    seed: int,
    progress: Progress = silent,
) -> Calibration:
    """Score the channels; collect and factorise the Gram matrices where layers are to be refitted.

    Args:
        network: the dense network.
        batches: calibration images.
        importance: a name in :data:`prunebench.envs.choices.CRITERIA`.
        least_squares: whether layers are refitted.
        seed: of sampled positions, and of the ``random`` criterion.
        progress: see :mod:`prunebench.envs.progress`.

    Raises:
        TaskError: the criterion does not fit the network.
    """

    def counted(what: str) -> Any:
        for number, batch in enumerate(batches):
            progress(what, number, len(batches))
            yield batch
        progress(what, len(batches), len(batches))

    scores = channel_scores(network, importance, counted("scoring the channels"), seed)
    if not least_squares:
        return Calibration(scores, {})
    what = "calibrating the reconstruction"
    grams = gram_matrices(network, (pixels for pixels, _ in counted(what)), seed)
    return Calibration(scores, _factorised(network, grams, scores, progress))


def _factorised(
    network: PrunableNetwork, grams: dict[str, Tensor], scores: list[Scores], progress: Progress
) -> dict[str, Tensors]:
    order = [ranks(score) for score in scores]
    units = reconstructed_units(network)
    problems = {}
    for number, unit in enumerate(units):
        problems[unit.name] = factorise(unit, grams.pop(unit.name), order)  # one matrix less for every one more
        progress("factorising", number + 1, len(units))
    return problems

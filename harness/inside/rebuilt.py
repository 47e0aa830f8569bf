"""Rebuilds the network of a recorded evaluation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import nn

from prunebench.envs.evaluation.evaluator import Evaluator, score_batches
from prunebench.harness.errors import StoreError

if TYPE_CHECKING:
    from prunebench.harness.record.journal import Line

_TOLERANCE = 1e-3  # of a recorded loss: rounding differs between machines by less, other weights by more


def rebuilt(evaluator: Evaluator, line: Line, name: str) -> nn.Module:
    """The network of a recorded evaluation, with its batch norms.

    Raises:
        StoreError: it does not score what was recorded.
    """
    model = evaluator.unfolded(line.channels)
    loss = score_batches(model, evaluator.reward).loss
    finite = math.isfinite(loss) or math.isfinite(line.loss)  # else there is nothing to compare
    if finite and not math.isclose(loss, line.loss, rel_tol=_TOLERANCE):
        raise StoreError(
            f"{name}: the incumbent's loss on the reward split is {loss:.6g}, expected {line.loss:.6g} as recorded: "
            "the dense network's weights or the data are not those of the search"
        )
    return model

"""What the runs of an experiment ended with: the incumbents, and their networks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from harness.errors import ConfigError, StoreError
from harness.journal import Line
from harness.store import Experiment, Run

if TYPE_CHECKING:
    from torch import nn

    from envs.evaluator import Evaluator

_TOLERANCE = 1e-3  # of a recorded loss: rounding differs between machines by less, other weights by more


def finished(experiment: Experiment) -> list[Run]:
    """The runs that are done and have an incumbent.

    Raises:
        ConfigError: there is none.
    """
    statuses = [(run, run.checked()) for run in experiment.runs()]
    runs = [run for run, status in statuses if status["status"] == "done" and status["incumbent"] is not None]
    if not runs:
        raise ConfigError(f"experiment {str(experiment.folder)!r}: expected a finished run with an incumbent, has none")
    return runs


def incumbent(run: Run) -> Line:
    """The line of a finished run's incumbent."""
    return run.lines()[run.status()["incumbent"]]


def rebuilt(evaluator: Evaluator, line: Line, name: str) -> nn.Module:
    """The network of a recorded evaluation, with its batch norms.

    Raises:
        StoreError: it does not score what was recorded.
    """
    from envs.evaluator import score_batches

    model = evaluator.unfolded(line["channels"])
    loss = score_batches(model, evaluator.reward).loss
    if not math.isclose(loss, line["loss"], rel_tol=_TOLERANCE):
        raise StoreError(
            f"{name}: the incumbent's loss on the reward split is {loss:.6g}, expected {line['loss']:.6g} as recorded: "
            "the dense network's weights or the data are not those of the search"
        )
    return model

"""Times the networks that runs ended with, when all runs have ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prunebench.envs.evaluation import timing
from prunebench.envs.tasks import preparation
from prunebench.harness.inside.prepare import Report, set_threads

if TYPE_CHECKING:
    from prunebench.harness.experiments.config import ExperimentConfig


def measure_latency(report: Report, config: ExperimentConfig, policies: list[list[int]]) -> dict[str, Any]:
    """Time whole networks while nothing else runs: the dense one and those of policies, in rounds over all of them.

    Args:
        report: see :mod:`prunebench.envs.progress`.
        config: the experiment's configuration.
        policies: channel counts.

    Returns:
        ``seconds`` per batch (of each policy), ``dense_seconds``, ``images`` (of the batch), ``threads``.
    """
    set_threads(config.threads)
    preparation.ensure_prepared(config.task, report)
    evaluator = preparation.load_evaluator(config.task).folded()
    batch = timing.timing_batch(evaluator)
    taken = timing.whole_networks(evaluator, [evaluator.dense, *policies], batch, progress=report)
    dense, *seconds = timing.typical(taken).tolist()
    return {"seconds": seconds, "dense_seconds": dense, "images": len(batch), "threads": config.threads}

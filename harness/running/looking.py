"""Looks at an experiment that seeds are added to until it is decided: which runs are next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prunebench.harness.experiments import config as configs

if TYPE_CHECKING:
    from prunebench.harness.analysis.results import Results
    from prunebench.harness.experiments.config import ExperimentConfig


def next_runs(results: Results) -> tuple[ExperimentConfig, str] | None:
    """The experiment with the seeds of its next look, for agents whose comparisons are open, and a line about it.

    None where all is decided, the last look is over, or there was none to come.

    Args:
        results: of the experiment, all of whose runs have ended.
    """
    from prunebench.harness.analysis import sequential  # pandas takes a second: not before runs are on their way

    config = results.experiment.config
    waiting = sequential.open_agents(results.differences) if config.looks else []
    if not waiting:
        return None
    reached = min(len(config.all_seeds_of(label)) for label in waiting)
    later = [look for look in config.looks if look > reached]
    if not later:
        return None
    told = f"look at {reached} seeds: not decided for {', '.join(waiting)}; they go on to {later[0]} seeds"
    return configs.grown(config, {label: range(later[0]) for label in waiting}), told

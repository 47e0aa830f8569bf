"""What a plan would run, and about how long that takes and how much memory: for ``bench --dry-run``. Writes nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from tabulate import tabulate

from prunebench.envs.tasks.task import TaskConfig
from prunebench.harness.display import Display
from prunebench.harness.experiments import spoken
from prunebench.harness.pace import duration
from prunebench.harness.processes.local import cores
from prunebench.harness.record.run import Run
from prunebench.harness.record.store import Experiment
from prunebench.harness.running import measuring
from prunebench.harness.running import plan as plans
from prunebench.harness.running.measuring import Costs
from prunebench.harness.running.plan import Plan

_OVERHEAD = 1.07  # of an evaluation over its forward pass: reconstruction, normalisation, environment
_SETUP = 1.0  # seconds of a run before its search
_TIMED_IMAGES = 5 * 2 * 100  # per incumbent, when whole networks are timed: rounds, passes and images of a batch
_ONE_EVALUATION = ("uniform",)  # agents that need no more
_HEADERS = ("network", "data", "split", "budget", "agents", "seeds", "evaluations", "done", "to do", "time", "memory")


@dataclass(frozen=True)
class Forecast:
    """About what one experiment still takes.

    Attributes:
        experiment: with its folder.
        missing: its runs that are not done.
        training: seconds of the dense network's.
        preparation: seconds, training included.
        runs: seconds, of all of them, so many at a time.
        bytes: at the peak, all processes together.
    """

    experiment: Experiment
    missing: list[Run]
    training: float = 0.0
    preparation: float = 0.0
    runs: float = 0.0
    bytes: float = 0.0

    @property
    def seconds(self) -> float:
        """In all."""
        return self.preparation + self.runs


def describe(
    plan: Plan, display: Display, measure: Callable[..., tuple[list[Costs], float]] = measuring.measure
) -> str:
    """The plan as a table with a row per experiment, and what it takes in all.

    Args:
        plan: of :func:`prunebench.harness.running.plan.plan`.
        display: shows the measuring.
        measure: as :func:`prunebench.harness.running.measuring.measure`.

    Raises:
        JobError: an agent, a network, data or a budget cannot be used.
        JobCrash: measuring failed for another reason.
    """
    forecasts, start_up = forecast(plan, display, measure)
    agents = ", ".join(agent.label for agent in plan.experiments[0].config.agents)
    table = tabulate([_row(f) for f in forecasts], _HEADERS, disable_numparse=True)
    folders = "\n".join(f"  {f.experiment.folder}" for f in forecasts)
    return f"agents: {agents}\n\n{table}\n\nfolders:\n{folders}\n\n{_total(forecasts, start_up, _jobs(plan))}"


def forecast(
    plan: Plan, display: Display, measure: Callable[..., tuple[list[Costs], float]] = measuring.measure
) -> tuple[list[Forecast], float]:
    """What each experiment of a plan still takes, and the seconds until the first process is ready."""
    missing = [plans.missing(experiment) for experiment in plan.experiments]
    unfinished = [e.config for e, runs in zip(plan.experiments, missing, strict=True) if runs]
    if not unfinished:
        return [Forecast(experiment, []) for experiment in plan.experiments], 0.0
    costs, start_up = measure(unfinished, _jobs(plan), display)
    found, prepared, measured = [], set[TaskConfig](), iter(costs)
    for experiment, runs in zip(plan.experiments, missing, strict=True):
        if not runs:
            found.append(Forecast(experiment, []))
            continue
        again = experiment.config.task in prepared  # by then the cache has it
        prepared.add(experiment.config.task)
        found.append(_forecast(experiment, runs, next(measured), _jobs(plan), again))
    return found, start_up


def _jobs(plan: Plan) -> int:
    return plan.execution.at_once(plan.experiments[0].config)


def _forecast(experiment: Experiment, missing: list[Run], costs: Costs, jobs: int, again: bool) -> Forecast:
    before, images = costs.preparation, costs.preparation.images
    training = 0.0 if again else before.training
    preparation = training + (0.0 if again else before.calibration) + before.rest
    jobs = min(jobs, len(missing))
    each = [_run_seconds(experiment, run, costs) for run in missing]
    searched = max(sum(each) / jobs, max(each))
    timed = _TIMED_IMAGES * (len(missing) + 1) * costs.per_image * min(1, images["reward"] / 100)
    memory = max(before.bytes, jobs * costs.bytes + before.shared)
    return Forecast(experiment, missing, training, preparation, searched + timed, memory)


def _run_seconds(experiment: Experiment, run: Run, costs: Costs) -> float:
    """Of a run from its start to its score on the test split; without the agent's own time."""
    asked = 1 if run.agent in _ONE_EVALUATION else experiment.config.evaluations
    left = max(0, asked - len(run.lines()))
    images = costs.preparation.images
    return _SETUP + costs.per_image * _OVERHEAD * (left * images["reward"] + images["test"])


def _row(found: Forecast) -> list[str]:
    present = plans.present(found.experiment)
    config, runs = present.config, len(present.runs())
    time, memory = ("-", "-") if not found.missing else (f"~ {duration(found.seconds)}", f"~ {_gib(found.bytes)}")
    return [
        config.task.model,
        config.task.dataset,
        str(config.task.split_seed),
        spoken.budget(config),
        str(len(config.agents)),
        str(config.seeds),
        str(config.evaluations),
        str(runs - len(found.missing)),
        str(len(found.missing)),
        time,
        memory,
    ]


def _total(forecasts: list[Forecast], start_up: float, jobs: int) -> str:
    runs = sum(len(found.missing) for found in forecasts)
    if not runs:
        return "nothing to do: every run is done"
    parts = {
        "start-up": start_up,
        "training": sum(found.training for found in forecasts),
        "other preparation": sum(found.preparation - found.training for found in forecasts),
        f"{runs} runs": sum(found.runs for found in forecasts),
    }
    total = duration(math.fsum(parts.values()))
    each = ", ".join(f"{what} {duration(seconds)}" for what, seconds in parts.items() if seconds)
    return (
        f"about {total} on {cores()} cores with {min(jobs, runs)} runs at a time ({each});\n"
        f"the agents' own time comes on top\nabout {_gib(max(found.bytes for found in forecasts))} of memory at once"
    )


def _gib(count: float) -> str:
    return f"{count / 2**30:.1f} GiB"

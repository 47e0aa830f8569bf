"""Makes the fitted tasks of recorded ones: ``python -m prunebench.harness.lab.fit results/reference [TASK...]``.

Each is the folder of an experiment. Its data and weights are needed as for its runs, see its README; what is trained is
trained anew where the cache does not have it, so that importances differ in their last digits.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from prunebench.envs.environment.channel_pruning import COUNTED
from prunebench.harness.errors import StoreError
from prunebench.harness.lab import recorded_tasks
from prunebench.harness.lab.surface import Floats, Surface, fit
from prunebench.harness.record import store

if TYPE_CHECKING:
    from prunebench.envs.tasks.task import TaskConfig
    from prunebench.harness.record.store import Experiment

_HELD_OUT = 10  # one of so many policies, drawn
_SEED = 1


class Recorded(NamedTuple):
    """The distinct policies of an experiment, each as it was first evaluated.

    Attributes:
        counts: ``(n, D)``.
        agents: ``(n,)``, who first evaluated it.
        accuracy: ``(n,)``.
        loss: ``(n,)``, finite.
        probe: ``(n,)``.
        costs: ``(n, 2)``, of :data:`prunebench.envs.environment.channel_pruning.COUNTED`.
    """

    counts: NDArray[np.int64]
    agents: NDArray[np.str_]
    accuracy: Floats
    loss: Floats
    probe: NDArray[np.bool_]
    costs: NDArray[np.int64]


def recorded(experiment: Experiment) -> Recorded:
    """What the runs of an experiment evaluated."""
    lines = [(run.agent, line) for run in experiment.runs() for line in run.lines() if math.isfinite(line.loss)]
    first = {tuple(line.channels): (agent, line) for agent, line in reversed(lines)}
    agents, found = zip(*first.values(), strict=True)
    columns: dict[str, Any] = {name: [getattr(line, name) for line in found] for name in ("accuracy", "loss", "probe")}
    costs = [[getattr(line, cost) for cost in COUNTED] for line in found]
    arrays = {name: np.array(values) for name, values in columns.items()}
    return Recorded(np.array(list(first)), np.array(agents), costs=np.array(costs), **arrays)


def make(experiment: Experiment, name: str, folder: Path) -> Path:
    """Fit an experiment's evaluations and write the task's file.

    Raises:
        StoreError: the network here is not the recorded one.
    """
    found, facts = recorded(experiment), experiment.manifest()["task"]
    images, config = int(facts["splits"]["reward"]), experiment.config
    layers, costs = _network(experiment.located().task)
    for number, cost in enumerate(COUNTED):
        if not np.array_equal(costs[cost](found.counts), found.costs[:, number]):
            raise StoreError(f"{name}: the {cost} of recorded policies are others than those of {config.task.model}")
    quality = {what: _quality(found, rows, layers["channels"], images) for what, rows in _held_out(found)}
    surface = _fitted(found, np.ones(len(found.loss), dtype=bool), layers["channels"], images)
    about = {"preserve": config.preserve, "evaluations": len(found.loss), "quality": quality}
    evaluator = recorded_tasks.FittedEvaluator(layers, costs, surface, images)
    return recorded_tasks.save(folder, name, evaluator, surface, about)


def _network(task: TaskConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """Layer table and costs of a task's network with its weights; no calibration is needed for them."""
    from prunebench.envs.networks.baked import baked, example_image
    from prunebench.envs.pruning import cost_formulas
    from prunebench.envs.pruning.criteria import consumer_l1
    from prunebench.envs.pruning.network import PrunableNetwork
    from prunebench.envs.tasks import preparation
    from prunebench.envs.tasks.keys import Dense
    from prunebench.envs.tasks.task import load_data

    dense = Dense(task, load_data(task))
    if not dense.weights_path.exists():
        preparation.ensure_prepared(task)
    network = PrunableNetwork(baked(dense.model), example_image(dense.data.image_size), task.scope, task.exclude or ())
    costs = {"macs": cost_formulas.macs(network), "parameters": cost_formulas.parameters(network)}
    return network.table(consumer_l1(network, [], 0)), costs


def _held_out(found: Recorded) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """By name, the policies that a surface is judged on and not fitted to: a tenth, those of an agent, the probes."""
    yield "a random tenth", np.random.default_rng(_SEED).permutation(len(found.loss)) % _HELD_OUT == 0
    for agent in dict.fromkeys(found.agents.tolist()):
        rows = found.agents == agent
        if rows.sum() > 1:
            yield f"all of {agent}", rows
    if found.probe.any():
        yield "a third of the probes", found.probe & (np.cumsum(found.probe) % 3 == 0)


def _fitted(found: Recorded, rows: NDArray[np.bool_], channels: NDArray[np.int64], images: int) -> Surface:
    logs = recorded_tasks.log_ratios(found.counts[rows], channels)
    outcomes = np.stack([found.loss[rows], recorded_tasks.shifted(found.accuracy[rows], images)], axis=1)
    return fit(logs, np.log(outcomes), found.probe[rows])


def _quality(
    found: Recorded, left_out: NDArray[np.bool_], channels: NDArray[np.int64], images: int
) -> dict[str, float]:
    """How well a surface says what it was not fitted to: R2 of log loss and accuracy, and the latter's error."""
    surface = _fitted(found, ~left_out, channels, images)
    said = np.exp(surface(recorded_tasks.log_ratios(found.counts[left_out], channels)))
    accuracy, loss = found.accuracy[left_out], np.log(found.loss[left_out])
    apart = accuracy - (1 + 1 / images - said[:, 1])
    return {
        "policies": int(left_out.sum()),
        "loss_r2": _r2(loss, loss - np.log(said[:, 0])),
        "accuracy_r2": _r2(accuracy, apart),
        "accuracy_rmse": float(np.sqrt((apart**2).mean())),
    }


def _r2(values: Floats, errors: Floats) -> float:
    return float(1 - (errors**2).sum() / ((values - values.mean()) ** 2).sum())


def main(arguments: Sequence[str]) -> None:
    """Make the files of the tasks that are named, or of all."""
    root, *names = arguments
    recorded_tasks.FOLDER.mkdir(exist_ok=True)
    for name in names or recorded_tasks.TASKS:
        path = make(store.load(Path(root) / name), name, recorded_tasks.FOLDER)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
        for what, quality in recorded_tasks.load(name).about["quality"].items():
            print(f"  {what}: {quality}")


if __name__ == "__main__":
    main(sys.argv[1:])

"""`make perf`: an evaluation against the bare forward pass, and against the papers' way, as ratios from one run.

Times do not depend on the weights, so the networks are freshly drawn and the images are noise: nothing is trained.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from tabulate import tabulate

from harness import registry
from harness.config import ExperimentConfig
from harness.executors import HEAVY_MODULES, cores

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from envs.evaluator import Evaluator, Images

NETWORKS = ("resnet56", "mobilenetv2")
REWARD_IMAGES = 1000
CALIBRATION_IMAGES = 3000
BATCH = 250
PAPERS_BATCH = 50
PRESERVE = 0.5
POLICIES = 5  # on budget, scored by our evaluator
PAPERS_POLICIES = 2  # of them, scored the papers' way too: that takes long


@dataclass
class Measured:
    """Seconds of one policy."""

    evaluation: float
    reconstruction: float
    forward: float
    papers: float | None


def main() -> None:
    """Measure every network and print one table."""
    print("importing ...", flush=True)
    imports = _import_seconds()
    import torch

    torch.set_num_threads(cores())
    rows = [_row(name) for name in NETWORKS]
    headers = [
        "network",
        "evaluation s",
        "evaluation / bare forward",
        "reconstruction share",
        "papers' way s",
        "papers' way / ours",
        "start-up s",
        "calibration s",
    ]
    print(tabulate([[*row[:6], imports, row[6]] for row in rows], headers, floatfmt=".2f"))
    print(
        f"\n{REWARD_IMAGES} images of 32 x 32, {torch.get_num_threads()} threads, random policies at {PRESERVE:.0%} of "
        f"the MACs; medians of {POLICIES} policies ({PAPERS_POLICIES} the papers' way).\n"
        "bare forward: the same small network, already built. papers' way: masked dense shapes, batches of 50,\n"
        "least squares on 30,000 rows for every layer and evaluation. start-up: importing everything, once per bench.\n"
        "calibration: once per task, then cached."
    )


def _import_seconds() -> float:
    """Whole-process seconds of importing what a run imports."""
    started = time.perf_counter()
    modules = [*HEAVY_MODULES, *registry.own_modules(ExperimentConfig().agents)]
    subprocess.run([sys.executable, "-W", "ignore", "-c", "import " + ", ".join(modules)], check=True)
    return time.perf_counter() - started


def _row(name: str) -> list[str | float]:
    import torch

    from envs import models
    from envs.budget import Budget
    from envs.evaluator import Evaluator
    from envs.network import PrunableNetwork
    from envs.reconstruction import gram_matrices

    print(f"{name} ...", flush=True)
    torch.manual_seed(0)
    network = PrunableNetwork(models.build(name, 10), torch.zeros(1, 3, 32, 32))
    images = torch.randn(REWARD_IMAGES, 3, 32, 32), torch.randint(10, (REWARD_IMAGES,))
    calibration = torch.randn(CALIBRATION_IMAGES, 3, 32, 32)
    started = time.perf_counter()
    grams = gram_matrices(network, torch.split(calibration, BATCH), seed=0)
    evaluator = Evaluator(network, grams, images, lambda: images, BATCH)
    calibrated = time.perf_counter() - started
    budget = Budget(
        evaluator.costs["macs"], np.array(evaluator.dense), 0.1, PRESERVE * evaluator.costs["macs"](evaluator.dense)
    )
    rng = np.random.default_rng(0)
    policies = [tuple(budget.project(rng.uniform(0.1, 1, len(evaluator.dense)))) for _ in range(POLICIES)]
    evaluator.score(tuple(budget.project(np.full(len(evaluator.dense), 0.5))))  # warm up
    papers = PapersWay(evaluator, calibration, images)
    measured = [
        _measure(evaluator, counts, papers if n < PAPERS_POLICIES else None) for n, counts in enumerate(policies)
    ]
    slow = [m.papers / m.evaluation for m in measured if m.papers is not None]
    return [
        name,
        _median(measured, lambda m: m.evaluation),
        _median(measured, lambda m: m.evaluation / m.forward),
        _median(measured, lambda m: m.reconstruction / m.evaluation),
        statistics.median(m.papers for m in measured if m.papers is not None),
        statistics.median(slow),
        calibrated,
    ]


def _median(measured: list[Measured], figure: Callable[[Measured], float]) -> float:
    return statistics.median(map(figure, measured))


def _measure(evaluator: Evaluator, counts: tuple[int, ...], papers: PapersWay | None) -> Measured:
    from envs.evaluator import score_batches

    before = dict(evaluator.seconds)
    started = time.perf_counter()
    evaluator.score(counts)
    evaluation = time.perf_counter() - started
    model = evaluator.build(counts)
    started = time.perf_counter()
    score_batches(model, evaluator.reward_batches)
    forward = time.perf_counter() - started
    started = time.perf_counter()
    if papers is not None:
        papers.score(counts)
    taken = time.perf_counter() - started
    reconstruction = evaluator.seconds["reconstruction"] - before["reconstruction"]
    return Measured(evaluation, reconstruction, forward, taken if papers is not None else None)


class PapersWay:
    """AMC's and BOCR's evaluation: dense shapes, pruned channels masked, least squares anew for every layer.

    Args:
        evaluator: gives the network and the channel order.
        calibration: images whose features the least squares are solved on.
        images: the reward split.
    """

    def __init__(self, evaluator: Evaluator, calibration: Tensor, images: Images) -> None:
        import copy

        import torch

        self._evaluator = evaluator
        self._model = copy.deepcopy(evaluator.network.model)
        self._modules = dict(self._model.named_modules())
        self._batches = list(
            zip(torch.split(images[0], PAPERS_BATCH), torch.split(images[1], PAPERS_BATCH), strict=True)
        )
        self._features = self._collect(calibration)
        self._targets = {
            name: rows @ self._modules[name].weight.detach().flatten(1).T for name, rows in self._features.items()
        }

    def _collect(self, calibration: Tensor) -> dict[str, Tensor]:
        """Inputs of every refitted layer at 10 random positions per image: ``(30000, inputs * kernel area)``."""
        import torch

        from envs.reconstruction import reconstructed_units, sampled_inputs

        parts: dict[str, list[Tensor]] = {}
        generator = torch.Generator().manual_seed(0)

        def remember(name: str, module: torch.nn.Module, inputs: Tensor) -> None:
            parts.setdefault(name, []).append(sampled_inputs(module, inputs, generator))

        hooks = [
            self._modules[unit.name].register_forward_pre_hook(
                lambda module, args, name=unit.name: remember(name, module, args[0])
            )
            for unit in reconstructed_units(self._evaluator.network)
        ]
        with torch.inference_mode():
            for batch in torch.split(calibration, PAPERS_BATCH):
                self._model(batch)
        for hook in hooks:
            hook.remove()
        return {name: torch.cat(rows) for name, rows in parts.items()}

    def score(self, counts: tuple[int, ...]) -> float:
        """Accuracy of channel counts ``(D,)``."""
        import torch

        from envs.evaluator import score_batches

        for unit in self._evaluator.network.units:
            if unit.name not in self._features:
                continue
            dense = unit.module.weight.detach()
            kept = torch.from_numpy(self._evaluator.kept_inputs(unit, counts))
            rows = self._features[unit.name]
            columns = (kept[:, None] * unit.kernel_area + torch.arange(unit.kernel_area)).flatten()
            solved = torch.linalg.lstsq(rows[:, columns], self._targets[unit.name]).solution
            masked = torch.zeros_like(dense).flatten(1)
            masked[:, columns] = solved.T
            self._modules[unit.name].weight = torch.nn.Parameter(masked.view_as(dense), requires_grad=False)
        return score_batches(self._model, self._batches).accuracy


if __name__ == "__main__":
    main()

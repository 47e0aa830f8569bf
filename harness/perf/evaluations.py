"""`make perf`: an evaluation against the bare forward pass, and against the papers' way, as ratios from one run.

Times do not depend on the weights, so the networks are freshly drawn and the images are noise: nothing is trained.
Every network is measured in a process of its own, so that its peak memory is its own too.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tabulate import tabulate

from prunebench.harness.experiments import ahead
from prunebench.harness.experiments.config import ExperimentConfig
from prunebench.harness.processes.local import Job, Processes, cores

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from prunebench.envs.evaluation.evaluator import Evaluator
    from prunebench.envs.pruning.network import PrunableNetwork

NETWORKS = ("resnet56", "mobilenetv2", "vgg16")
REWARD_IMAGES = 1000
CALIBRATION_IMAGES = 3000
BATCH = 250
PAPERS_BATCH = 50
PRESERVE = 0.5
POLICIES = 5  # on budget, scored by our evaluator
PAPERS_POLICIES = 2  # of them, scored the papers' way too: that takes long
HEADERS = (
    "network",
    "evaluation s",
    "evaluation / bare forward",
    "reconstruction share",
    "papers' way s",
    "papers' way / ours",
    "start-up s",
    "peak memory GiB",
)


@dataclass
class Measured:
    """Seconds of one policy."""

    evaluation: float
    reconstruction: float
    forward: float


def main() -> None:
    """Measure every network and print one table."""
    print("importing ...", flush=True)
    imports = _import_seconds()
    rows = []
    with Processes(cores(), ahead.modules()) as processes:
        for name in NETWORKS:
            print(f"{name} ...", flush=True)
            ours = processes.call(Job(name, _ours, (name,)))
            papers = processes.call(Job(name, _papers, (name, ours["policies"])))
            rows.append(_row(name, ours, papers))
    print(tabulate(rows, HEADERS, floatfmt=".2f"))
    print(
        f"\n{REWARD_IMAGES} images of 32 x 32, {cores()} threads, random policies at {PRESERVE:.0%} of "
        f"the MACs; medians of {POLICIES} policies ({PAPERS_POLICIES} the papers' way).\n"
        "bare forward: the same small network, already built, on images already normalised. papers' way: masked dense\n"
        "shapes, batches of 50, least squares on 30,000 rows for every layer and evaluation; its ratio is taken to an\n"
        "evaluation of ours of the same policy right after it. start-up: calibration and factorisation with\n"
        f"{CALIBRATION_IMAGES} images, once per task, then cached. peak memory: of a process that calibrates, then\n"
        f"evaluates. Importing everything took {imports:.1f} s, once per command."
    )


def _row(name: str, ours: dict[str, Any], papers: dict[str, Any]) -> list[str | float]:
    measured = [Measured(*values) for values in ours["measured"]]

    def median(figure: Callable[[Measured], float]) -> float:
        return statistics.median(map(figure, measured))

    return [
        name,
        median(lambda m: m.evaluation),
        median(lambda m: m.evaluation / m.forward),
        median(lambda m: m.reconstruction / m.evaluation),
        statistics.median(papers["seconds"]),
        statistics.median(papers["ratios"]),
        ours["start-up"],
        ours["peak"],
    ]


def _import_seconds() -> float:
    """Whole-process seconds of importing what a run imports."""
    started = time.perf_counter()
    modules = ahead.modules(ExperimentConfig().agents)
    subprocess.run([sys.executable, "-P", "-W", "ignore", "-c", "import " + ", ".join(modules)], check=True)
    return time.perf_counter() - started


def _network(name: str) -> PrunableNetwork:
    import torch

    from prunebench.envs.networks import models
    from prunebench.envs.pruning.network import PrunableNetwork

    torch.set_num_threads(cores())
    torch.manual_seed(0)
    return PrunableNetwork(models.build(name, 10), torch.zeros(1, 3, 32, 32))


def _evaluator(network: PrunableNetwork) -> Evaluator:
    from prunebench.envs.evaluation.noise import evaluator_on_noise, noise

    images = noise(network, CALIBRATION_IMAGES, PAPERS_BATCH)
    return evaluator_on_noise(network, images, noise(network, REWARD_IMAGES, BATCH, 1))


def _ours(report: Callable[..., None], name: str) -> dict[str, Any]:
    """Our evaluations: seconds per policy, of the start-up, and the process's peak memory in GiB."""
    from prunebench.envs.evaluation.noise import random_policies

    network = _network(name)
    started = time.perf_counter()
    evaluator = _evaluator(network)
    start_up = time.perf_counter() - started
    warming, *policies = random_policies(evaluator, POLICIES + 1, evaluator.costs["macs"], PRESERVE, 0.1)
    evaluator.score(warming)
    measured = [_measure(evaluator, counts) for counts in policies]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # given in KiB
    return {"measured": measured, "start-up": start_up, "peak": peak, "policies": policies}


def _measure(evaluator: Evaluator, counts: tuple[int, ...]) -> tuple[float, float, float]:
    from prunebench.envs.evaluation.evaluator import score_batches
    from prunebench.envs.evaluation.noise import score_seconds

    building, forward = score_seconds(evaluator, counts)
    model, ready = evaluator.build(counts), list(evaluator.reward)
    started = time.perf_counter()
    score_batches(model, ready)
    return building + forward, building, time.perf_counter() - started


def _papers(report: Callable[..., None], name: str, policies: list[tuple[int, ...]]) -> dict[str, Any]:
    """The papers' way, and each time an evaluation of ours right after it: seconds, and their ratio."""
    evaluator = _evaluator(_network(name))
    papers = PapersWay(evaluator)
    evaluator.score(policies[-1])  # warm up
    seconds, ratios = [], []
    for counts in policies[:PAPERS_POLICIES]:
        started = time.perf_counter()
        papers.score(counts)
        seconds.append(time.perf_counter() - started)
        ratios.append(seconds[-1] / _measure(evaluator, counts)[0])
    return {"seconds": seconds, "ratios": ratios}


class PapersWay:
    """AMC's and BOCR's evaluation: dense shapes, pruned channels masked, least squares anew for every layer.

    Args:
        evaluator: gives the network and the channel order.
    """

    def __init__(self, evaluator: Evaluator) -> None:
        import copy

        from prunebench.envs.evaluation.noise import noise

        self._evaluator = evaluator
        self._model = copy.deepcopy(evaluator.network.model)
        self._modules = dict(self._model.named_modules())
        self._batches = list(noise(evaluator.network, REWARD_IMAGES, PAPERS_BATCH, 1))
        self._features = self._collect()
        self._targets = {
            name: rows @ self._modules[name].weight.detach().flatten(1).T for name, rows in self._features.items()
        }

    def _collect(self) -> dict[str, Tensor]:
        """Inputs of every refitted layer at 10 random positions per image: ``(30000, inputs * kernel area)``."""
        import torch

        from prunebench.envs.evaluation.noise import noise
        from prunebench.envs.evaluation.reconstruction import reconstructed_units, sampled_inputs

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
            for images, _ in noise(self._evaluator.network, CALIBRATION_IMAGES, PAPERS_BATCH):
                self._model(images)
        for hook in hooks:
            hook.remove()
        return {name: torch.cat(parts.pop(name)) for name in list(parts)}

    def score(self, counts: tuple[int, ...]) -> float:
        """Accuracy of channel counts ``(D,)``."""
        import torch

        from prunebench.envs.evaluation.evaluator import score_batches

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

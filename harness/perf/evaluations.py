"""`make perf`: an evaluation against eager PyTorch, the arithmetic, and the papers' way, as ratios from one run.

Times do not depend on the weights, so the networks are freshly drawn and the images are noise: nothing is trained.
Every network is measured in a process of its own, so that its peak memory is its own too.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from tabulate import tabulate

from prunebench.envs.tasks.task import TaskConfig
from prunebench.harness import files
from prunebench.harness.errors import USER_ERRORS
from prunebench.harness.experiments import ahead
from prunebench.harness.experiments.config import ExperimentConfig
from prunebench.harness.processes.local import Job, Processes, cores
from prunebench.harness.record import manifest

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from prunebench.envs.evaluation.evaluator import Evaluator
    from prunebench.envs.pruning.network import PrunableNetwork

NETWORKS = (("resnet56", 32), ("resnet110", 32), ("mobilenetv2", 16), ("mobilenetv2", 32), ("vgg16", 32))
"""Names, and pixels per side of the images."""
REWARD_IMAGES = 1000
CALIBRATION_IMAGES = 3000
EAGER_BATCH = 250
PAPERS_BATCH = 50
PRESERVE = 0.5
POLICIES = 5  # on budget, scored by our evaluator
PAPERS_POLICIES = 2  # of them, scored the papers' way too: that takes long
_SQUARE = 1024  # rows of the matrices whose product is the arithmetic's speed
HEADERS = (
    "network",
    "pixels",
    "evaluation s",
    "evaluation / eager forward",
    "arithmetic's speed, eager",
    "ours",
    "reconstruction share",
    "papers' way s",
    "papers' way / ours",
    "start-up s",
    "peak memory GiB",
)

EXPLANATION = f"""\
{REWARD_IMAGES} images, random policies at {PRESERVE:.0%} of the MACs; medians of {POLICIES} policies
({PAPERS_POLICIES} the papers' way). eager forward: the same small network, already built, in batches of {EAGER_BATCH}
images that are already normalised. arithmetic's speed: the time of the multiply-accumulates at the speed of
a large matrix product right before, as a share of the forward pass. papers' way: masked dense shapes, batches
of {PAPERS_BATCH}, least squares on 30,000 rows for every layer and evaluation; its ratio is taken to an evaluation of
ours of the same policy right after it. start-up: calibration and factorisation with {CALIBRATION_IMAGES} images, once
per task, then cached. peak memory: of a process that calibrates, then evaluates."""


@dataclass
class Measured:
    """Seconds of one policy, and of its arithmetic at the speed of a matrix product."""

    evaluation: float
    reconstruction: float
    forward: float
    eager: float
    arithmetic: float


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--against", type=click.Path(exists=True, dir_okay=False), help="Figures of another run, to compare with."
)
def main(against: str | None) -> None:
    """Measure every network, print one table, and keep its figures."""
    before = _figures(against) if against else {}
    print("importing ...", flush=True)
    imports = _import_seconds()
    rows: list[tuple[Any, ...]] = []
    with Processes(cores(), ahead.modules()) as processes:
        for name, size in NETWORKS:
            print(f"{name}, {size} pixels ...", flush=True)
            ours = processes.call(Job(name, _ours, (name, size)))
            papers = processes.call(Job(name, _papers, (name, size, ours["policies"])))
            rows.append((name, size, *_row(ours, papers)))
    print(tabulate(rows, HEADERS, floatfmt=".2f"))
    print(f"\n{EXPLANATION}\nImporting everything took {imports:.1f} s, once per command. {cores()} threads.")
    if before:
        shown = [[*row[:2], *_ratios(row[2:], before[row[:2]])] for row in rows if row[:2] in before]
        print(f"\nAgainst {against}: these figures / those.\n" + tabulate(shown, HEADERS, floatfmt=".2f"))
    kept = Path("results") / f"perf-{datetime.now():%Y%m%d-%H%M%S}.json"
    kept.parent.mkdir(exist_ok=True)
    files.write_json(kept, manifest.origin() | {"headers": HEADERS, "rows": rows})
    print(f"kept in {kept}: make perf AGAINST={kept} compares")


def _ratios(these: Sequence[float], those: Sequence[float]) -> list[float]:
    return [one / other for one, other in zip(these, those, strict=True)]


def _figures(path: str) -> dict[tuple[str, int], list[float]]:
    """By network and pixels, what another run kept."""
    try:
        content = files.read_json(Path(path))
    except USER_ERRORS as error:
        raise click.UsageError(str(error)) from error
    if content.get("headers") != list(HEADERS):
        raise click.UsageError(f"against {path!r}: expected what make perf keeps, with the same figures")
    return {(name, size): figures for name, size, *figures in content["rows"]}


def _row(ours: dict[str, Any], papers: dict[str, Any]) -> list[float]:
    measured = [Measured(*values) for values in ours["measured"]]

    def median(figure: Callable[[Measured], float]) -> float:
        return statistics.median(map(figure, measured))

    return [
        median(lambda m: m.evaluation),
        median(lambda m: m.evaluation / m.eager),
        median(lambda m: m.arithmetic / m.eager),
        median(lambda m: m.arithmetic / m.forward),
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


def _network(name: str, size: int) -> PrunableNetwork:
    import torch

    from prunebench.envs.networks import models
    from prunebench.envs.pruning.network import PrunableNetwork

    torch.set_num_threads(cores())
    torch.manual_seed(0)
    return PrunableNetwork(models.build(name, 10), torch.zeros(1, 3, size, size))


def _evaluator(network: PrunableNetwork) -> Evaluator:
    from prunebench.envs.evaluation.noise import evaluator_on_noise, noise

    images = noise(network, CALIBRATION_IMAGES, PAPERS_BATCH)
    batch = TaskConfig().batch_size
    evaluator = evaluator_on_noise(network, images, noise(network, REWARD_IMAGES, batch, 1))
    with suppress(Exception):  # where there is no oneDNN
        evaluator.fuse()
    return evaluator


def _ours(report: Callable[..., None], name: str, size: int) -> dict[str, Any]:
    """Our evaluations: seconds per policy, of the start-up, and the process's peak memory in GiB."""
    from prunebench.envs.evaluation.noise import random_policies

    network = _network(name, size)
    started = time.perf_counter()
    evaluator = _evaluator(network)
    start_up = time.perf_counter() - started
    warming, *policies = random_policies(evaluator, POLICIES + 1, evaluator.costs["macs"], PRESERVE, 0.1)
    evaluator.score(warming)
    measured = [_measure(evaluator, counts) for counts in policies]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # given in KiB
    return {"measured": measured, "start-up": start_up, "peak": peak, "policies": policies}


def _measure(evaluator: Evaluator, counts: tuple[int, ...]) -> tuple[float, ...]:
    from prunebench.envs.evaluation.evaluator import score_batches
    from prunebench.envs.evaluation.noise import score_seconds

    arithmetic = REWARD_IMAGES * float(evaluator.costs["macs"](counts)) * _seconds_of_a_mac()
    building, forward = score_seconds(evaluator, counts)
    model, ready = evaluator.build(counts), list(evaluator.reward.resized(EAGER_BATCH))
    started = time.perf_counter()
    score_batches(model, ready)
    return building + forward, building, forward, time.perf_counter() - started, arithmetic


def _seconds_of_a_mac() -> float:
    """Of a large matrix product."""
    import torch

    one, other = torch.randn(2, _SQUARE, _SQUARE)
    taken = []
    for _ in range(5):
        started = time.perf_counter()
        one @ other
        taken.append(time.perf_counter() - started)
    return min(taken) / _SQUARE**3


def _papers(report: Callable[..., None], name: str, size: int, policies: list[tuple[int, ...]]) -> dict[str, Any]:
    """The papers' way, and each time an evaluation of ours right after it: seconds, and their ratio."""
    evaluator = _evaluator(_network(name, size))
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

"""The numbers of a report, from the files on disk, by code that shares nothing with the harness: json and sums."""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

Cells = dict[tuple[str, str], Any]
"""Expected text by row and column; a tuple of text and numbers where a number was drawn by chance: see ``close``."""

DASH = "-"


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def variance(values: list[float]) -> float:
    return sum((v - mean(values)) ** 2 for v in values) / (len(values) - 1)


def plain(value: float | None, decimals: int) -> str:
    return DASH if value is None or value != value else f"{value:.{decimals}f}"


def mean_std(values: list[float], decimals: int) -> str:
    if len(values) < 2:
        return plain(mean(values), decimals)
    return f"{mean(values):.{decimals}f} ± {math.sqrt(variance(values)):.{decimals}f}"


class Disk:
    """An experiment's folder, all of whose runs are done."""

    def __init__(self, folder: Path) -> None:
        manifest = json.loads((folder / "manifest.json").read_text())
        self.dense = manifest["task"]["dense"]
        self.runs: dict[str, list[dict[str, Any]]] = {}
        for path in sorted(folder.glob("runs/*/*/seed-*.jsonl"), key=lambda p: int(p.stem.split("-")[1])):
            self.runs.setdefault(path.parent.name, []).append(self._run(path))

    def _run(self, path: Path) -> dict[str, Any]:
        lines = [json.loads(text) for text in path.read_text().splitlines()]
        status = json.loads(path.with_suffix(".json").read_text())
        tuned = path.with_suffix(".finetune.json")
        best = None
        for line in filter(lambda line: line["feasible"], lines):
            if best is None or (line["accuracy"], -line["loss"]) > (best["accuracy"], -best["loss"]):
                best = line
        assert best is not None
        agent = sum(line["seconds"]["agent"] for line in lines) + status["seconds"]["closing"]
        evaluation = sum(v for line in lines for k, v in line["seconds"].items() if k != "agent")
        return {
            "seed": status["seed"],
            "lines": lines,
            "best": best,
            "attempts": status["attempts"],
            "reward": 100 * best["accuracy"],
            "test": 100 * status["test"]["accuracy"],
            "tuned": 100 * json.loads(tuned.read_text())["test"]["accuracy"] if tuned.exists() else None,
            "macs": 100 * best["macs"] / self.dense["macs"],
            "parameters": 100 * best["parameters"] / self.dense["parameters"],
            "latency": 100 * status["latency"]["seconds"] / status["latency"]["dense_seconds"],
            "agent": agent,
            "evaluation": evaluation,
            "seconds": agent + evaluation,
        }

    def values(self, agent: str, key: str) -> list[float]:
        return [run[key] for run in self.runs[agent]]


def comparison(disk: Disk) -> Cells:
    dense = {"agent": "dense", "reward": plain(100 * disk.dense["reward_accuracy"], 2)}
    dense |= {
        "test": plain(100 * disk.dense["test_accuracy"], 2),
        **dict.fromkeys(("macs", "parameters", "latency"), "100.0"),
    }
    rest = ("seeds", "evaluations", "variance", "finetuned", "time", "agent_time", "evaluation_time")
    cells = {("dense", key): text for key, text in (dense | dict.fromkeys(rest, DASH)).items()}
    for agent, runs in disk.runs.items():
        row = {
            "agent": agent,
            "seeds": str(len(runs)),
            "evaluations": distinct(runs),
            "reward": mean_std(disk.values(agent, "reward"), 2),
            "variance": plain(variance(disk.values(agent, "test")), 2),
            "test": mean_std(disk.values(agent, "test"), 2),
            "time": mean_std(disk.values(agent, "seconds"), 1),
            "agent_time": plain(mean(disk.values(agent, "agent")), 1),
            "evaluation_time": plain(mean(disk.values(agent, "evaluation")), 1),
        }
        row |= {key: plain(mean(disk.values(agent, key)), 1) for key in ("macs", "parameters", "latency")}
        row["finetuned"] = DASH if runs[0]["tuned"] is None else mean_std(disk.values(agent, "tuned"), 2)
        cells |= {(agent, key): text for key, text in row.items()}
    return cells


def distinct(runs: list[dict[str, Any]]) -> str:
    """How many evaluations repeated no other, and of how many where some did: means over runs."""
    counts = [len(run["lines"]) for run in runs]
    fresh = [sum(1 for line in run["lines"] if line["repeat_of"] is None) for run in runs]
    one, other = (f"{mean(n):g}" if mean(n) == int(mean(n)) else f"{mean(n):.1f}" for n in (fresh, counts))
    return one if one == other else f"{one} of {other}"


def iqm(values: list[float]) -> float:
    cut = len(values) // 4
    return mean(sorted(values)[cut : len(values) - cut])


def median(values: list[float]) -> float:
    ordered = sorted(values)
    return (ordered[(len(values) - 1) // 2] + ordered[len(values) // 2]) / 2


def percentiles(draw: Callable[[random.Random], float]) -> tuple[float, float]:
    rng = random.Random(0)
    drawn = sorted(draw(rng) for _ in range(3000))
    return drawn[75], drawn[2924]


def statistics(disk: Disk) -> Cells:
    cells: Cells = {}
    for agent in disk.runs:
        values = disk.values(agent, "test")
        row: dict[str, Any] = {
            "agent": agent,
            "seeds": str(len(values)),
            "mean": plain(mean(values), 2),
            "std": plain(math.sqrt(variance(values)), 2),
            "variance": plain(variance(values), 2),
            "median": plain(median(values), 2),
            "iqm": plain(iqm(values), 2),
            "iqm_interval": DASH,
        }
        if len(values) >= 5:
            row["iqm_interval"] = percentiles(lambda rng, v=values: iqm(rng.choices(v, k=len(v))))
        cells |= {(agent, key): text for key, text in row.items()}
    return cells


def sign_flip_p(differences: list[float]) -> float:
    observed = sum(differences)
    sums = [
        sum(s * d for s, d in zip(signs, differences, strict=True))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    tails = (sum(s >= observed - 1e-9 for s in sums), sum(s <= observed + 1e-9 for s in sums))
    return min(1.0, 2 * min(tails) / len(sums))


def holm(ps: dict[str, float]) -> dict[str, float]:
    running, corrected = 0.0, {}
    for rank, name in enumerate(sorted(ps, key=lambda n: ps[n])):
        running = max(running, min(1.0, (len(ps) - rank) * ps[name]))
        corrected[name] = running
    return corrected


T_975 = {1: 12.7062, 2: 4.3027, 3: 3.1824, 4: 2.7764, 5: 2.5706, 6: 2.4469, 7: 2.3646, 8: 2.3060}
"""The 97.5 % quantile of Student's t, by degrees of freedom, from a printed table."""


def p_text(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def better(ours: list[float], theirs: list[float]) -> float:
    return mean([1.0 if a > b else 0.5 if a == b else 0.0 for a in ours for b in theirs])


def pairs(disk: Disk, reference: str, key: str = "test") -> dict[str, list[float]]:
    theirs = disk.values(reference, key)
    return {
        agent: [a - b for a, b in zip(disk.values(agent, key), theirs, strict=True)]
        for agent in disk.runs
        if agent != reference
    }


def verdicts(disk: Disk, reference: str) -> dict[str, str]:
    found = pairs(disk, reference)
    corrected = holm({agent: sign_flip_p(values) for agent, values in found.items()})
    floor = len(found) * 2 ** (1 - len(disk.runs[reference]))
    words = {}
    for agent, values in found.items():
        if corrected[agent] <= 0.05:
            words[agent] = "better" if mean(values) > 0 else "worse"
        else:
            words[agent] = (
                "no difference shown" if floor <= 0.05 else f"too few seeds to decide (p ≥ {min(1, floor):.2g})"
            )
    return words


def differences(disk: Disk, reference: str) -> Cells:
    found, words = pairs(disk, reference), verdicts(disk, reference)
    ps = {agent: sign_flip_p(values) for agent, values in found.items()}
    corrected = holm(ps)
    cells: Cells = {}
    for agent, values in found.items():
        n = len(values)
        undecidable = words[agent].startswith("too few")
        half = T_975[n - 1] * math.sqrt(variance(values) / n)
        probability = better(disk.values(agent, "test"), disk.values(reference, "test"))
        row: dict[str, Any] = {
            "agent": agent,
            "pairs": str(n),
            "difference": f"{mean(values):+.2f} ± {math.sqrt(variance(values)):.2f}",
            "interval": (mean(values) - half, mean(values) + half) if n >= 6 else DASH,
            "p": DASH if undecidable else p_text(ps[agent]),
            "p_holm": DASH if undecidable else p_text(corrected[agent]),
            "improvement": f"{probability:.2f}"
            if n < 5
            else (probability, *_improvement_interval(disk, agent, reference)),
            "verdict": words[agent],
        }
        cells |= {(agent, key): text for key, text in row.items()}
    return cells


def _improvement_interval(disk: Disk, agent: str, reference: str) -> tuple[float, float]:
    ours, theirs = disk.values(agent, "test"), disk.values(reference, "test")
    return percentiles(lambda rng: better(rng.choices(ours, k=len(ours)), rng.choices(theirs, k=len(theirs))))


def variances(disk: Disk, reference: str) -> Cells:
    cells: Cells = {}
    theirs = disk.values(reference, "test")
    for agent in disk.runs:
        if agent == reference:
            continue
        mine = disk.values(agent, "test")
        row: dict[str, Any] = {
            "agent": agent,
            "seeds": str(len(mine)),
            "std": plain(math.sqrt(variance(mine)), 2),
            "reference_std": plain(math.sqrt(variance(theirs)), 2),
            "ratio": plain(variance(mine) / variance(theirs), 2),
            "interval": DASH,
        }
        if len(mine) >= 5:
            row["interval"] = percentiles(
                lambda rng, m=mine: _ratio(rng.choices(m, k=len(m)), rng.choices(theirs, k=len(theirs)))
            )
        cells |= {(agent, key): text for key, text in row.items()}
    return cells


def _ratio(mine: list[float], theirs: list[float]) -> float:
    below = variance(theirs)
    return math.inf if below == 0 else variance(mine) / below


def anytime(disk: Disk, budget: int, targets: Iterable[float] = ()) -> Cells:
    named = {"uniform": mean(disk.values("uniform", "reward")), "random": mean(disk.values("random", "reward"))}
    named |= {f"{target:g}": target for target in targets}
    cells: Cells = {}
    for agent, runs in disk.runs.items():
        cells[agent, "agent"] = agent
        cells[agent, "area"] = mean_std([mean(_curve(run["lines"], budget, named["uniform"])) for run in runs], 2)
        for name, target in named.items():
            spent = [_until(run["lines"], target) for run in runs]
            hits = sum(hit for hit, _, _ in spent)
            cells[agent, f"{name}_reached"] = f"{hits} of {len(runs)}"
            cells[agent, f"{name}_evaluations"] = f"{sum(n for _, n, _ in spent) / hits:.1f}" if hits else "∞"
            cells[agent, f"{name}_seconds"] = f"{sum(s for _, _, s in spent) / hits:.1f}" if hits else "∞"
    return cells


def _curve(lines: list[dict[str, Any]], budget: int, before: float) -> list[float]:
    curve: list[float] = []
    best = None
    for number in range(budget):
        if number < len(lines) and lines[number]["feasible"]:
            best = max(best or 0.0, 100 * lines[number]["accuracy"])
        curve.append(before if best is None else best)
    return curve


def _until(lines: list[dict[str, Any]], target: float) -> tuple[bool, int, float]:
    seconds = 0.0
    for number, line in enumerate(lines):
        seconds += sum(line["seconds"].values())
        if line["feasible"] and 100 * line["accuracy"] >= target - 1e-9:
            return True, number + 1, seconds
    return False, len(lines), seconds


def to_common_target(disk: Disk, agent: str, reference: str) -> tuple[list[str], list[float]]:
    """The numbers of a finding, and the pairs' logarithms of the ratio of seconds."""
    both = [disk.runs[agent], disk.runs[reference]]
    target = min(run["reward"] for runs in both for run in runs)
    spent = [[_until(run["lines"], target) for run in runs] for runs in both]
    numbers = [f"{target:.2f}"]
    for runs, times in zip(both, spent, strict=True):
        own = [
            sum(line["seconds"]["agent"] for line in run["lines"][:n])
            for run, (_, n, _) in zip(runs, times, strict=True)
        ]
        numbers += [f"{mean([n for _, n, _ in times]):.0f}", f"{mean(own):.1f}"]
    logs = [math.log(ours / theirs) for (_, _, ours), (_, _, theirs) in zip(*spent, strict=True)]
    return numbers, logs


def runs(disk: Disk) -> list[dict[str, str]]:
    return [
        {
            "agent": agent,
            "seed": str(run["seed"]),
            "status": "done",
            "attempts": str(run["attempts"]),
            "evaluations": str(len(run["lines"])),
            "incumbent": str(run["best"]["index"]),
            "reward_accuracy": plain(run["reward"], 2),
            "test_accuracy": plain(run["test"], 2),
            "finetuned_accuracy": plain(run["tuned"], 2),
            "macs_kept": plain(run["macs"], 1),
            "latency_kept": plain(run["latency"], 1),
            "seconds": plain(run["seconds"], 1),
        }
        for agent, found in disk.runs.items()
        for run in found
    ]


def score(disk: Disk, agent: str) -> list[float]:
    """0 is the mean of uniform on the test split, 1 the dense network."""
    zero, one = mean(disk.values("uniform", "test")), 100 * disk.dense["test_accuracy"]
    return [(value - zero) / (one - zero) for value in disk.values(agent, "test")]

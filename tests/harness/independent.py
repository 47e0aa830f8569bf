"""The numbers of a report, from the files on disk, by code that shares nothing with the harness: json and sums."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from scipy import stats

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
            "mean_interval": DASH,
        }
        if len(values) > 1:
            half = T_975[len(values) - 1] * math.sqrt(variance(values) / len(values))
            row["mean_interval"] = (mean(values) - half, mean(values) + half)
        cells |= {(agent, key): text for key, text in row.items()}
    return cells


T_975 = {1: 12.7062, 2: 4.3027, 3: 3.1824, 4: 2.7764, 5: 2.5706, 6: 2.4469, 7: 2.3646, 8: 2.3060}
"""The 97.5 % quantile of Student's t, by degrees of freedom, from a printed table."""


def p_text(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def better(ours: list[float], theirs: list[float]) -> float:
    return mean([1.0 if a > b else 0.5 if a == b else 0.0 for a in ours for b in theirs])


def interval(p_at: Callable[[float], float], effect: float, level: float) -> tuple[float, float]:
    """Where p passes the level, on both sides of the effect, by halving."""
    ends = []
    for side in (-1, 1):
        inside, outside = effect, effect + side
        while p_at(outside) > level:
            outside += side
        for _ in range(16):
            middle = (inside + outside) / 2
            inside, outside = (middle, outside) if p_at(middle) > level else (inside, middle)
        ends.append((inside + outside) / 2)
    return ends[0], ends[1]


def log_ratio(ours: list[float], theirs: list[float]) -> float:
    return math.log(variance(ours) / variance(theirs))


def ratio_p(ours: list[float], theirs: list[float], log: float = 0.0) -> float:
    """How many splits of all residuals have a ratio of variances as far from 1."""
    values = [(value - mean(ours)) / math.exp(log / 2) for value in ours] + [v - mean(theirs) for v in theirs]
    distances = []
    for chosen in itertools.combinations(range(len(values)), len(ours)):
        rest = [values[i] for i in range(len(values)) if i not in chosen]
        distances.append(abs(log_ratio([values[i] for i in chosen], rest)))
    return sum(distance >= distances[0] - 1e-9 for distance in distances) / len(distances)


def stepwise(ps: dict[str, float]) -> tuple[dict[str, float], dict[str, float]]:
    """Holm's corrected p values, and the levels of the steps."""
    running, corrected, levels, stopped = 0.0, {}, {}, None
    for rank, name in enumerate(sorted(ps, key=lambda n: ps[n])):
        divisor = len(ps) - rank
        running = max(running, min(1.0, divisor * ps[name]))
        corrected[name] = running
        stopped = divisor if running > 0.05 and stopped is None else stopped
        levels[name] = 0.05 / (stopped or divisor)
    return corrected, levels


def against(disk: Disk, agent: str, reference: str) -> dict[str, Any]:
    """Of an agent minus another: difference, words, and where there is a test p, corrected p and interval."""
    theirs = disk.values(reference, "test")
    ours = disk.values(agent, "test")
    row: dict[str, Any] = {"difference": mean(ours) - mean(theirs), "verdict": "too few runs to test"}
    if len(theirs) < 3:
        return row
    tests = {
        name: stats.ttest_ind(disk.values(name, "test"), theirs, equal_var=False)
        for name in disk.runs
        if name != reference
    }
    corrected, levels = stepwise({name: float(test.pvalue) for name, test in tests.items()})
    inside = tests[agent].confidence_interval(1 - levels[agent])
    words = "better" if row["difference"] > 0 else "worse"
    if corrected[agent] > 0.05:
        words = "equal within 0.5 points" if max(map(abs, inside)) <= 0.5 else "no difference shown"
    told = {"p": float(tests[agent].pvalue), "corrected": corrected[agent], "interval": tuple(inside)}
    return row | {"verdict": words} | told


def differences(disk: Disk, reference: str) -> Cells:
    cells: Cells = {}
    for agent in (name for name in disk.runs if name != reference):
        found = against(disk, agent, reference)
        row: dict[str, Any] = {
            "agent": agent,
            "runs": str(len(disk.runs[agent])),
            "difference": f"{found['difference']:+.2f}",
            "interval": found.get("interval", DASH),
            "p": p_text(found["p"]) if "p" in found else DASH,
            "p_holm": p_text(found["corrected"]) if "p" in found else DASH,
            "improvement": f"{better(disk.values(agent, 'test'), disk.values(reference, 'test')):.2f}",
            "verdict": found["verdict"],
        }
        cells |= {(agent, key): text for key, text in row.items()}
    return cells


def variances(disk: Disk, reference: str) -> Cells:
    theirs, cells = disk.values(reference, "test"), {}
    others = {agent: disk.values(agent, "test") for agent in disk.runs if agent != reference}
    testable = 2 / math.comb(2 * len(theirs), len(theirs)) * len(others) <= 0.05
    ps = {agent: ratio_p(mine, theirs) for agent, mine in others.items()} if testable else {}
    corrected, levels = stepwise(ps)
    for agent, mine in others.items():
        row: dict[str, Any] = {
            "agent": agent,
            "seeds": str(len(mine)),
            "std": plain(math.sqrt(variance(mine)), 2),
            "reference_std": plain(math.sqrt(variance(theirs)), 2),
            "ratio": plain(variance(mine) / variance(theirs), 2),
            "interval": DASH,
        }
        if testable:
            ends = interval(lambda log, m=mine: ratio_p(m, theirs, log), log_ratio(mine, theirs), levels[agent])
            row["interval"] = tuple(math.exp(end) for end in ends)
            row |= {"p": p_text(ps[agent]), "p_holm": p_text(corrected[agent])}
        cells |= {(agent, key): text for key, text in row.items()}
    return cells


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


def to_common_target(disk: Disk, agent: str, reference: str) -> tuple[list[str], float]:
    """The numbers of a finding, and the mean logarithm of the ratio of seconds."""
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
    log = mean([math.log(s) for _, _, s in spent[0]]) - mean([math.log(s) for _, _, s in spent[1]])
    return numbers, log


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

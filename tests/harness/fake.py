"""Experiments whose runs were never made: random lines, written as the harness would."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from prunebench.harness.experiments import config as configs
from prunebench.harness.experiments.config import ExperimentConfig
from prunebench.harness.files import write_json, write_text
from prunebench.harness.record.run_files import Run
from prunebench.harness.record.status import FinetuneStatus, Status, TestScore
from prunebench.harness.record.store import Experiment

LAYERS = 5
DENSE = {"reward_accuracy": 0.95, "test_accuracy": 0.93, "macs": 1_000_000, "parameters": 20_000}
FACTS: dict[str, Any] = {
    "dense": DENSE,
    "layers": LAYERS,
    "channels": [32] * LAYERS,
    "splits": {"calibration": 300, "reward": 200, "test": 100},
    "weights_sha256": "w",
    "data_sha256": "d",
}
SESSION = {
    "started": "2026-01-01T00:00:00+00:00",
    "command": "prunebench bench",
    "jobs": 2,
    "versions": {"torch": "1"},
    "git": {"revision": "abc", "dirty": False},
    "machine": {"platform": "a system", "processor": "a processor", "cores": 2},
}
TREE = [[0, 1, 0.1, 2], [2, 3, 0.2, 2], [5, 4, 0.4, 3], [6, 7, 1.5, 5]]
NOTES = {
    "similarity": "EU",
    "tree": TREE,
    "stages": [[0, 0, 1, 1, 2], [0, 1, 2, 3, 4]],
    "events": [{"evaluation": 6, "stage": 1, "low": 0.2, "high": 0.9}],
    "remarks": [],
}


def line(rng: np.random.Generator, index: int, level: float) -> dict[str, Any]:
    channels = [int(n) for n in rng.integers(4, 33, LAYERS)]
    macs = int(rng.integers(300_000, 560_000))
    accuracy = float(np.round(np.clip(rng.normal(level, 0.05), 0, 1) * 200) / 200)
    return {
        "index": index,
        "requested": [n / 32 for n in channels],
        "realised": [n / 32 for n in channels],
        "channels": channels,
        "accuracy": accuracy,
        "loss": float(2 - accuracy + rng.uniform(0, 0.1)),
        "reward": accuracy,
        "macs": macs,
        "parameters": int(rng.integers(5_000, 15_000)),
        "cost": macs / 1e6,
        "feasible": macs <= 500_000,
        "probe": False,
        "repeat_of": None,
        "seconds": {
            "agent": float(rng.uniform(0, 0.2)),
            "reconstruction": float(rng.uniform(0, 0.1)),
            "forward": float(rng.uniform(0.1, 0.3)),
            "environment": float(rng.uniform(0, 0.01)),
        },
    }


def experiment(
    folder: Path,
    seeds: int,
    *,
    agents: tuple[str, ...] = ("uniform", "random", "ddpg", "bo", "clustered_bo"),
    **rest: Any,
) -> Experiment:
    """An experiment all of whose runs are done; ``rest`` are other settings, and ``finetuned`` (whether all are)."""
    finetuned = rest.pop("finetuned", False)
    config = ExperimentConfig(agents=agents, seeds=seeds, **({"evaluations": 12} | rest))
    made = Experiment(folder, config)
    write_text(made.yaml_path, configs.to_yaml(config, "prunebench bench"))
    write_json(made.manifest_path, {"threads": 1, "task": FACTS, "sessions": [SESSION]})
    for number, agent in enumerate(config.agents):
        for seed in range(seeds):
            rng = np.random.default_rng([seeds, number, seed, config.task.split_seed])
            write_run(made, agent.label, seed, rng, 0.6 + 0.05 * number, finetuned)
    return made


def write_run(
    made: Experiment, agent: str, seed: int, rng: np.random.Generator, level: float, finetuned: bool = False
) -> None:
    run = made.run(agent, seed)
    count = 1 if agent == "uniform" else made.config.evaluations
    lines = [line(rng, index, level) for index in range(count)]
    first = 2 if agent == "ddpg" else 0  # it begins with probes
    for entry in lines[:first]:
        entry["feasible"] = False
    lines[first] |= {"feasible": True, "macs": 500_000, "cost": 0.5}
    for entry in lines[3 :: 4 + seed % 2]:
        entry["repeat_of"] = 0
    put_lines(run, lines)
    best = min((e for e in lines if e["feasible"]), key=lambda e: (-e["accuracy"], e["loss"], e["index"]))
    test = float(np.clip(best["accuracy"] - 0.02 + rng.normal(0, 0.01), 0, 1))
    amend(
        run,
        status="done",
        attempts=1,
        incumbent=best["index"],
        test={"accuracy": test, "loss": 1.0},
        seconds={"setup": 1.0, "closing": 0.25},
        latency={"seconds": float(rng.uniform(0.4, 0.6)), "dense_seconds": 1.0, "images": 100, "threads": 1},
        notes=NOTES if agent == "clustered_bo" else None,
    )
    if finetuned:
        score = TestScore(accuracy=(test + 0.93) / 2, loss=0.5)
        run.write_finetuned(FinetuneStatus(status="done", settings={}, channels=[], test=score))


def amend(run: Run, **changes: Any) -> None:
    """Change a run's status as it stands on disk."""
    run.write_status(Status.model_validate(run.status().content() | changes))


def put_lines(run: Run, lines: Sequence[dict[str, Any]]) -> None:
    """Replace a run's lines."""
    run.folder.mkdir(parents=True, exist_ok=True)
    run.lines_path.write_text("".join(json.dumps(entry) + "\n" for entry in lines))

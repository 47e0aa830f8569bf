"""The embedded task can tell agents apart. Trains the default network: `make test-slow`."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from prunebench.envs.environment.budget import Budget
from prunebench.envs.evaluation.evaluator import Evaluator, score_batches
from prunebench.envs.tasks.preparation import load_evaluator, prepare
from prunebench.envs.tasks.task import TaskConfig, load_data
from prunebench.envs.weights.finetuning import default_epochs, finetune
from prunebench.harness.running.finetune import FinetuneSettings

PRESERVE, LOWER_BOUND, POLICIES = 0.5, 0.1, 60


def correct(evaluator: Evaluator, counts: tuple[int, ...], pixels: torch.Tensor, labels: torch.Tensor) -> np.ndarray:
    model = evaluator.build(counts)
    with torch.inference_mode():
        logits = torch.cat([model(part) for part in torch.split(pixels, 250)])
    return (logits.argmax(1) == labels).numpy().astype(float)


def paired_difference(better: np.ndarray, worse: np.ndarray, sources: np.ndarray) -> tuple[float, float]:
    """Mean difference in accuracy and its standard error, by bootstrap over source images."""
    _, index = np.unique(sources, return_inverse=True)
    per_source = np.bincount(index, better - worse) / np.bincount(index)
    rng = np.random.default_rng(0)
    draws = per_source[rng.integers(len(per_source), size=(2000, len(per_source)))].mean(axis=1)
    return float(per_source.mean()), float(draws.std())


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_default_task_tells_policies_apart() -> None:
    torch.set_num_threads(os.cpu_count() or 1)
    task = TaskConfig()
    facts = prepare(task, lambda *_: None)
    print(facts["dense"])
    assert facts["dense"]["test_accuracy"] >= 0.97
    evaluator = load_evaluator(task)
    dense = evaluator.dense
    macs = evaluator.costs["macs"]
    budget = Budget(macs, np.array(dense), LOWER_BOUND, PRESERVE * macs(dense))
    uniform = tuple(int(n) for n in budget.project(np.full(len(dense), 0.5)))
    loss = facts["dense"]["reward_accuracy"] - evaluator.score(uniform).accuracy
    print(f"uniform loses {100 * loss:.1f} points on the reward split")
    assert loss >= 0.05
    rng = np.random.default_rng(0)
    policies = [tuple(int(n) for n in budget.project(rng.uniform(LOWER_BOUND, 1, len(dense)))) for _ in range(POLICIES)]
    best = max(policies, key=evaluator.score)
    data = load_data(task)
    images = data.test()
    pixels, labels = data.tensors(images)
    outcomes = [correct(evaluator, counts, pixels, labels) for counts in (best, uniform)]
    difference, error = paired_difference(*outcomes, images.sources)
    print(f"best of {POLICIES} random policies against uniform, test split: {100 * difference:.1f} ± {100 * error:.1f}")
    assert difference > 2 * error


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_fine_tuning_gives_back_at_least_half_of_what_pruning_lost(tmp_path: Path) -> None:
    torch.set_num_threads(os.cpu_count() or 1)
    task = TaskConfig()
    dense = prepare(task, lambda *_: None)["dense"]["test_accuracy"]
    evaluator, data = load_evaluator(task), load_data(task)
    macs, counts = evaluator.costs["macs"], evaluator.dense
    budget = Budget(macs, np.array(counts), LOWER_BOUND, PRESERVE * macs(counts))
    uniform = tuple(int(n) for n in budget.project(np.full(len(counts), 0.5)))
    before = evaluator.test(uniform).accuracy
    model = evaluator.unfolded(uniform)
    rate = FinetuneSettings().learning_rate
    finetune(model, data, 0, default_epochs(data), rate, tmp_path / "state", lambda *_: None)
    after = score_batches(model, evaluator.test_split()).accuracy
    print(f"test split: dense {100 * dense:.2f}, pruned {100 * before:.2f}, fine-tuned {100 * after:.2f}")
    assert dense - before >= 0.05
    assert dense - after <= (dense - before) / 2

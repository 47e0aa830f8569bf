"""Scores: the same from any cache, the dense network's for the dense policy, and no crash where memory ends."""

from __future__ import annotations

import numpy as np
import oddnets
import pytest
import reference
import torch
from torch import nn

from prunebench.envs.choices import RECONSTRUCTIONS, SCOPES
from prunebench.envs.data.batches import Batches
from prunebench.envs.errors import TaskError
from prunebench.envs.evaluation import evaluator as module
from prunebench.envs.evaluation.calibration import Calibration, calibrate
from prunebench.envs.evaluation.evaluator import Evaluator, recalibrate, score_batches, score_with_hits

NAME = "resnet20"


def policies(found: Evaluator) -> list[tuple[int, ...]]:
    return [reference.random_counts(found.network, seed) for seed in (7, 8)]


@pytest.mark.parametrize("reconstruction", RECONSTRUCTIONS)
@pytest.mark.parametrize("name", [NAME, "oddnets:concatenated"])
def test_a_warm_and_a_cold_cache_give_the_same_score(name: str, reconstruction: str) -> None:
    warm, cold = (reference.evaluator(name, "all", "l2", reconstruction) for _ in range(2))
    first, second = policies(warm)
    scores = [warm.score(counts) for counts in (first, second, warm.dense, first)]
    assert scores[0] == scores[3] == cold.score(first)
    assert scores[0].loss != scores[1].loss


@pytest.mark.parametrize("reconstruction", RECONSTRUCTIONS)
def test_a_tiny_cache_changes_nothing(reconstruction: str, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = reference.evaluator(NAME, "all", "l2", reconstruction)
    monkeypatch.setattr(module, "_CACHE_BYTES", 2000)
    tiny = reference.evaluator(NAME, "all", "l2", reconstruction)
    assert [tiny.score(counts) for counts in policies(tiny)] == [usual.score(counts) for counts in policies(usual)]
    assert tiny._weights.currsize <= 2000 < usual._weights.currsize


@pytest.mark.parametrize("reconstruction", RECONSTRUCTIONS)
@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("name", [NAME, "mobilenetv2", "oddnets:concatenated", "oddnets:flattened"])
def test_the_dense_policy_is_the_dense_network(name: str, scope: str, reconstruction: str) -> None:
    found = reference.evaluator(name, scope, "l2", reconstruction)
    images = reference.noise(name, reference.IMAGES, 2)
    found.build(policies(found)[0])
    with torch.no_grad():
        assert reference.difference(found.build(found.dense)(images), reference.dense(name)(images)) <= 1e-5
    assert found.costs["parameters"](found.dense) == sum(p.numel() for p in reference.dense(name).parameters())


def test_scores_are_accuracy_and_mean_cross_entropy() -> None:
    model = nn.Flatten()  # the pixels are the logits
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 1.0]])
    batches = Batches(logits.view(3, 2, 1, 1), torch.tensor([0, 1, 1]), lambda same: same, 2, torch.device("cpu"))
    score = score_batches(model, batches)
    assert score.accuracy == pytest.approx(2 / 3)
    same, right = score_with_hits(model, batches)
    assert (same, right.tolist()) == (score, [True, True, False])
    assert score.loss == pytest.approx((np.log1p(np.exp(-2)) + np.log1p(np.exp(-1)) + np.log1p(np.exp(2))) / 3)


def test_reward_and_test_split_are_scored_apart_and_test_is_loaded_once() -> None:
    loaded = []

    def test_split() -> Batches:
        loaded.append(1)
        return reference.batches(reference.noise(NAME, 9, 5), 4)

    network = reference.network(NAME, "inner")
    calibration = calibrate(
        network, reference.calibration_batches(NAME), importance="l2", least_squares=False, seed=reference.SEED
    )
    reward = reference.batches(reference.noise(NAME, 6, 2), 4)
    found = Evaluator(network, calibration, reward, test_split)
    counts = policies(found)[0]
    found.score(counts)
    assert (found.images, loaded) == ({"reward": 6}, [])
    assert found.test(counts) == found.test(counts)
    assert found.test(counts).loss != found.score(counts).loss
    assert (found.images, loaded) == ({"reward": 6, "test": 9}, [1])
    assert min(found.seconds.values()) > 0


def test_what_is_calibrated_survives_being_kept() -> None:
    progress = []
    network = reference.network("oddnets:concatenated", "all")
    batches = reference.calibration_batches("oddnets:concatenated")
    kept = calibrate(
        network,
        batches,
        importance="taylor",
        least_squares=True,
        seed=reference.SEED,
        progress=lambda *args: progress.append(args),
    ).content()
    found = Evaluator(network, Calibration.from_content(kept | {"other": 1}), batches, lambda: batches)
    usual = reference.evaluator("oddnets:concatenated", "all", "taylor", "least-squares")
    counts, images = policies(usual)[0], reference.noise("small", 4, 2)
    assert torch.equal(found.build(counts)(images), usual.build(counts)(images))
    assert progress[-1][1] == progress[-1][2] > 0


def test_recalibration_gives_batch_norm_the_mean_statistics_of_its_inputs() -> None:
    norm = nn.BatchNorm2d(3).eval()
    pixels = reference.noise("small", 8, 0) * 2 + 1
    recalibrate(norm, [norm], reference.batches(pixels, 4))
    assert norm.running_mean is not None
    assert norm.running_var is not None
    halves = pixels.split(4)
    torch.testing.assert_close(norm.running_mean, sum(half.mean((0, 2, 3)) for half in halves) / 2)
    torch.testing.assert_close(norm.running_var, sum(half.var((0, 2, 3)) for half in halves) / 2)
    assert not norm.training


class Cramped(nn.Module):
    """Runs out of memory with more than ``most`` images."""

    def __init__(self, body: nn.Module, most: int) -> None:
        super().__init__()
        self.body, self.most = body, most

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) > self.most:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate\nmuch")
        return self.body(x)


@pytest.mark.parametrize(
    ("most", "advice"),
    [(7, "--batch-size 6 would fit"), (6, "--batch-size 6 would fit"), (5, "--batch-size 3 would fit"),
     (1, "--batch-size 1 would fit"), (0, "not even one image fits")],
)  # fmt: skip
def test_a_batch_that_does_not_fit_is_refused_with_one_that_does(
    most: int, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    model = Cramped(oddnets.grouped(10).eval(), 100)
    network = module.PrunableNetwork(model, reference.noise("small", 1, 0))
    reward = reference.batches(reference.noise("small", 20, 2), 12)
    scores = [np.arange(channels, dtype=float) for channels in network.channels]
    found = Evaluator(network, Calibration(scores, {}), reward, lambda: reward)
    found._small.model.most = most
    with pytest.raises(TaskError) as refused:
        found.score(found.dense)
    assert str(refused.value) == f"batch-size 12 does not fit into the GPU's memory: {advice}"

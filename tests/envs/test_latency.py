from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from prunebench.envs.environment.budget import Budget
from prunebench.envs.environment.cost import CostModel
from prunebench.envs.evaluation import latency, timing
from prunebench.envs.evaluation.evaluator import Evaluator
from prunebench.envs.evaluation.latency import LatencyCheck, LatencyTable, UnitTimes
from prunebench.envs.progress import Progress

IMAGES = 4
NETWORKS = ("vgg16", "mobilenetv2")  # chains, in which both sides of a layer are pruned; bottlenecks


@cache
def evaluator(name: str) -> Evaluator:
    return reference.evaluator(name, "inner", reconstruction="none")


@cache
def measured(name: str) -> LatencyTable:
    found = evaluator(name)
    return latency.measure(found, timing.timing_batch(found), networks=4, rounds=1)


def with_seconds(table: LatencyTable, seconds: np.ndarray) -> LatencyTable:
    units = [
        UnitTimes(unit.name, unit.inputs, unit.outputs, row) for unit, row in zip(table.units, seconds, strict=True)
    ]
    return LatencyTable(units, table.images, table.threads, table.device)


def noisy_cost(name: str, seed: int) -> CostModel:
    """Fitted to times that have nothing to do with the channel counts."""
    table = measured(name)
    noise = np.random.default_rng(seed).lognormal(-9, 1.5, (len(table.units), len(table.units[0].seconds)))
    return latency.fit(evaluator(name).network, with_seconds(table, noise))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_unit_is_timed_with_the_channels_that_were_kept(name: str) -> None:
    table, network = measured(name), evaluator(name).network
    assert [unit.name for unit in table.units] == [unit.name for unit in network.units]
    assert (table.images, table.threads, table.device) == (IMAGES, torch.get_num_threads(), "cpu")
    for times, unit in zip(table.units, network.units, strict=True):
        assert (times.seconds > 0).all()
        assert times.inputs[0] == unit.module.weight.shape[1]  # the dense network comes first
        assert times.outputs[0] == unit.module.weight.shape[0]
        assert len(set(times.outputs)) == (4 if unit.outputs.layers else 1)  # the hypercube has the dense size again


def test_inputs_and_outputs_of_a_chain_vary_apart() -> None:
    both = [unit for unit in measured("vgg16").units if len(set(unit.inputs)) > 1 < len(set(unit.outputs))]
    assert len(both) >= 10
    assert any(np.corrcoef(unit.inputs, unit.outputs)[0, 1] < 0 for unit in both)


class Slow(nn.Module):
    """Moves a clock on instead of taking time; the second part is called twice."""

    def __init__(self, now: list[float]) -> None:
        super().__init__()
        self.first, self.second = nn.Identity(), nn.Identity()
        self._now = now

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self._now[0] += 1
        x = self.first(x)
        self._now[0] += 10
        x = self.second(x)
        self._now[0] += 100
        x = self.second(x)
        self._now[0] += 1000
        return x


@pytest.mark.parametrize(("names", "seconds"), [(["first", "second"], [11, 1100]), ([""], [1111])])
def test_time_belongs_to_the_layer_that_started_last(
    names: list[str], seconds: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])
    model = Slow(now)
    assert list(timing._timed(model, torch.zeros(1), names)) == seconds
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_the_fastest_two_thirds_count_of_rounds_that_run_every_network(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = iter([1.0, 2.0, 50.0, 4.0, 3.0, 90.0, 9.0, 9.0, 2.0, 3.0])  # five rounds of two networks
    monkeypatch.setattr(timing, "_timed", lambda *_: np.array([next(runs)]))
    found = evaluator("mobilenetv2")
    told: list[int] = []
    batch = timing.timing_batch(found)
    taken = timing.whole_networks(found, [found.dense] * 2, batch, 5, lambda _, done, of: told.append(done))
    assert timing.typical(taken).tolist() == [(1 + 2 + 3 + 9) / 4, (2 + 3 + 4 + 9) / 4]
    assert told == list(range(11))


@given(st.lists(st.floats(0, 1e-3), min_size=4, max_size=4).filter(lambda c: sum(c) > 1e-6), st.integers(0, 1000))
@settings(max_examples=50, deadline=None)
def test_the_fit_recovers_times_of_its_own_form(coefficients: list[float], seed: int) -> None:
    n_in, n_out = np.random.default_rng(seed).integers(1, 65, (2, 30)).astype(float)
    n_in[0] = n_out[0] = 64
    a, b, c, d = coefficients
    seconds = a + b * n_in / 64 + c * n_out / 64 + d * n_in * n_out / 64**2
    found = latency.smooth(UnitTimes("u", n_in, n_out, seconds))
    fitted = np.stack([np.ones(30), n_in, n_out, n_in * n_out], 1) @ found
    np.testing.assert_allclose(fitted, seconds, rtol=1e-6)


def test_the_cost_is_the_sum_of_the_units_in_nanoseconds_per_image() -> None:
    table, network = measured("vgg16"), evaluator("vgg16").network
    seconds = np.stack([1e-5 + 1e-8 * u.inputs * u.outputs + 1e-7 * u.outputs for u in table.units])
    cost = latency.fit(network, with_seconds(table, seconds))
    assert cost(network.channels) == pytest.approx(seconds[:, 0].sum() * 1e9 / IMAGES, rel=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
@given(seed=st.integers(0, 1000), data=st.data())
@settings(max_examples=30, deadline=None)
def test_a_channel_more_never_costs_less_however_noisy_the_table(name: str, seed: int, data: st.DataObject) -> None:
    cost, channels = noisy_cost(name, seed), np.array(evaluator(name).dense)
    counts = np.array([data.draw(st.integers(1, int(c))) for c in channels])
    more = counts + np.eye(len(counts), dtype=int)
    assert (cost(more) >= cost(counts)).all()
    assert cost(np.ones_like(channels)) > 0


@pytest.mark.parametrize("name", NETWORKS)
@given(seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_wall_and_projection_take_latency_as_they_take_macs(name: str, seed: int) -> None:
    cost, channels = noisy_cost(name, seed), np.array(evaluator(name).dense)
    least, dense = cost(np.maximum(np.floor(0.1 * channels + 0.5), 1)), cost(channels)
    budget = Budget(cost, channels, 0.1, float(np.floor((least + dense) / 2)))
    counts = budget.project(np.random.default_rng(seed).uniform(0.1, 1, len(channels)))
    assert budget.feasible(counts)
    assert (budget.project(budget.ratios(counts)) == counts).all()
    kept: list[int] = []
    for ratio in budget.ratios(counts).astype(np.float32):
        kept.append(budget.wall(kept, float(ratio)))
    assert kept == list(counts)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_policies_of_the_check_have_nearly_the_same_macs(name: str) -> None:
    found = evaluator(name)
    counts = latency.similar_policies(found, 20, preserve=0.5, seed=1)
    macs = found.costs["macs"](counts)
    assert macs.max() <= 1.1 * macs.min()
    assert macs.mean() == pytest.approx(0.5 * found.costs["macs"](found.dense), rel=0.05)
    assert len(np.unique(counts, axis=0)) == 20


def timed_as(monkeypatch: pytest.MonkeyPatch, factors: Callable[[int], np.ndarray]) -> LatencyCheck:
    """The check of a cost, round ``i`` being ``factors(i)`` ``(20,)`` times what it says."""
    found = evaluator("mobilenetv2")
    cost, batch, numbers = noisy_cost("mobilenetv2", 0), timing.timing_batch(found), itertools.count()

    def scaled(_: Evaluator, policies: np.ndarray, images: torch.Tensor, rounds: int, __: Progress) -> np.ndarray:
        assert rounds == 2 * latency.CHECK_ROUNDS
        return np.array([factors(next(numbers)) * cost(policies) * len(images) / 1e9 for _ in range(rounds)])

    monkeypatch.setattr(latency, "whole_networks", scaled)
    return latency.check(found, cost, batch)


def test_the_check_compares_the_cost_with_two_measurements(monkeypatch: pytest.MonkeyPatch) -> None:
    factors = [100.0, 100.0, 1.0, 3.0, 1.0, 3.0]  # of three rounds each, in turn; the slowest round does not count
    checked = timed_as(monkeypatch, lambda number: np.array(factors[number]))
    assert checked.measurements.shape == (2, 20)
    assert checked.measurements[1] == pytest.approx(3 * checked.measurements[0])
    assert (checked.rank_correlation, checked.ceiling) == (pytest.approx(1), pytest.approx(1))
    assert checked.error == pytest.approx(0.5)
    assert checked.holds


def test_noise_of_a_measurement_is_no_fault_of_the_prediction(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    noisy = timed_as(monkeypatch, lambda _: rng.lognormal(0, 0.07, 20))
    assert noisy.ceiling < noisy.rank_correlation
    assert noisy.holds
    assert not timed_as(monkeypatch, lambda _: rng.lognormal(0, 3, 20)).holds


def result(predicted: list[float], first: list[float], second: list[float]) -> LatencyCheck:
    return LatencyCheck(np.ones((len(predicted), 1), dtype=np.int64), np.array(predicted), np.array([first, second]))


@pytest.mark.parametrize(
    ("predicted", "first", "second", "holds"),
    [
        ([1, 2, 3, 4, 5], [1, 2, 3, 4, 5], [1, 2, 3, 4, 5], True),
        ([2, 1, 3, 5, 4], [1, 2, 3, 4, 5], [1, 2, 3, 4, 5], True),  # 0.8
        ([2, 1, 5, 3, 4], [1, 2, 3, 4, 5], [1, 2, 3, 4, 5], False),  # 0.6 of 1
        ([5, 4, 3, 2, 1], [1, 2, 3, 4, 5], [1, 2, 3, 4, 5], False),
        ([5, 4, 3, 2, 1], [1, 2, 3, 4, 5], [5, 3, 4, 1, 2.5], False),  # below 0.5, though nothing repeats itself
        ([1, 1, 1, 1, 1], [1, 2, 3, 4, 5], [1, 2, 3, 4, 5], False),  # says nothing
    ],
)
def test_when_a_prediction_holds(predicted: list[float], first: list[float], second: list[float], holds: bool) -> None:
    found = result(predicted, first, second)
    assert found.holds is holds
    assert found.sentence.startswith("latency may be" if holds else "latency may not be")
    assert ("try again when it is idle" in found.sentence) is not holds


def test_the_batch_is_the_first_of_the_reward_split_at_most_as_many_as_asked_for() -> None:
    found = evaluator("mobilenetv2")
    assert len(timing.timing_batch(found)) == found.reward.size == IMAGES
    torch.testing.assert_close(timing.timing_batch(found, 2), next(iter(found.reward))[0][:2])

"""AMC's rules inside SB3's DDPG, by hand on tiny cases."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from scipy.stats import truncnorm

from prunebench.agents.ddpg import AMC, DDPGAgent
from prunebench.agents.parts.episode_rewards import EpisodeRewardBuffer
from prunebench.envs.environment.toy import toy_env

LAYERS = 4


def buffer(size: int = 6) -> EpisodeRewardBuffer:
    box = spaces.Box(0.0, 1.0, (1,), np.float32)
    return EpisodeRewardBuffer(size, box, box, device="cpu")


def add(target: EpisodeRewardBuffer, rewards: list[float]) -> None:
    """One episode with these rewards, in SB3's shapes."""
    for step, reward in enumerate(rewards):
        one = np.zeros((1, 1), dtype=np.float32)
        target.add(one, one, one, np.array([reward]), np.array([step == len(rewards) - 1]), [{}])


def test_the_last_reward_is_written_on_the_whole_episode() -> None:
    target = buffer()
    add(target, [0.0, 0.0, 0.7])
    add(target, [0.0, 0.2])
    assert target.rewards[:, 0].tolist() == pytest.approx([0.7, 0.7, 0.7, 0.2, 0.2, 0.0])
    assert target.dones[:5, 0].tolist() == [0, 0, 1, 0, 1]


def test_an_episode_that_wraps_around_the_buffer() -> None:
    target = buffer()
    add(target, [0.0] * 3 + [0.5])
    add(target, [0.0] * 3 + [0.9])
    assert target.rewards[:, 0].tolist() == pytest.approx([0.9, 0.9, 0.5, 0.5, 0.9, 0.9])


def test_the_baseline_is_a_moving_average_that_includes_the_batch() -> None:
    target = buffer()
    add(target, [0.0, 0.4])
    add(target, [0.0, 0.8])
    first = target._get_samples(np.array([0, 1, 2]))  # mean 1.6 / 3
    assert first.rewards[:, 0].tolist() == pytest.approx([0.4 - 1.6 / 3, 0.4 - 1.6 / 3, 0.8 - 1.6 / 3])
    second = target._get_samples(np.array([2, 3]))  # mean 0.8
    baseline = 1.6 / 3 + 0.5 * (0.8 - 1.6 / 3)
    assert target.baseline == pytest.approx(baseline)
    assert second.rewards[:, 0].tolist() == pytest.approx([0.8 - baseline] * 2)
    assert target.rewards[:4, 0].tolist() == pytest.approx([0.4, 0.4, 0.8, 0.8])  # stored ones stay


def test_batches_are_drawn_without_replacement_where_there_are_enough() -> None:
    target = buffer(8)
    target.observations[:, 0, 0] = np.arange(8)
    target.pos = 5
    assert sorted(target.sample(5).observations[:, 0].tolist()) == [0, 1, 2, 3, 4]
    assert set(target.sample(40).observations[:, 0].tolist()) == {0, 1, 2, 3, 4}
    target.full = True
    assert sorted(target.sample(8).observations[:, 0].tolist()) == list(range(8))


def trained(episodes: int, warmup: int = 2, seed: int = 0) -> AMC:
    model = AMC(toy_env(LAYERS, preserve=0.5), layers=LAYERS, warmup=warmup, seed=seed)
    model.learn(episodes * LAYERS)
    return model


def test_both_learning_rates_are_the_ones_training_uses() -> None:
    model = trained(4)
    assert model._n_updates == 2 * LAYERS  # one update per step, none for the warm-up episodes
    assert [group["lr"] for group in model.actor.optimizer.param_groups] == [1e-4]
    assert [group["lr"] for group in model.critic.optimizer.param_groups] == [1e-3]


def test_adam_moves_each_network_by_its_own_rate() -> None:
    """Adam's first step moves a parameter by at most its learning rate, and some by nearly all of it."""
    model = trained(2)
    before = {n: [p.detach().clone() for p in getattr(model, n).parameters()] for n in ("actor", "critic")}
    model.train(1, 64)
    for name, rate in (("actor", 1e-4), ("critic", 1e-3)):
        moved = [
            (new - old).detach().abs().max()
            for new, old in zip(getattr(model, name).parameters(), before[name], strict=True)
        ]
        assert float(torch.stack(moved).max()) == pytest.approx(rate, rel=0.05)


def test_networks_and_constants() -> None:
    model = trained(1)
    linear = [m for m in model.actor.modules() if isinstance(m, torch.nn.Linear)]
    assert [(m.in_features, m.out_features) for m in linear] == [(11, 300), (300, 300), (300, 1)]
    assert [m.out_features for m in model.critic.q_networks[0].modules() if isinstance(m, torch.nn.Linear)] == [
        300,
        300,
        1,
    ]
    assert len(model.critic.q_networks) == 1
    assert (model.gamma, model.tau, model.batch_size, model.buffer_size) == (1.0, 0.01, 64, 100 * LAYERS)


def test_the_last_episode_is_stored_whole() -> None:
    model = trained(5)
    stored = model.replay_buffer
    assert stored is not None
    assert stored.pos == 5 * LAYERS
    assert stored.dones[LAYERS - 1 : 5 * LAYERS : LAYERS, 0].tolist() == [1.0] * 5
    rewards = stored.rewards[: 5 * LAYERS, 0].reshape(5, LAYERS)
    assert (rewards == rewards[:, :1]).all()
    assert (rewards > 0).all()


def sample(model: AMC, mean: float, n: int) -> np.ndarray[Any, Any]:
    """``n`` noisy actions (SB3's units) around an actor that always says ``mean``."""
    model._last_obs = np.zeros((1, 11), dtype=np.float32)
    ratio = model.policy.unscale_action(np.array([[mean]], dtype=np.float32))
    model.predict = lambda *_: (ratio, None)  # type: ignore[method-assign]
    return np.array([model._sample_action(model.learning_starts)[1][0, 0] for _ in range(n)])


@pytest.mark.parametrize(("episodes", "sigma"), [(2, 1.0), (3, 0.95), (12, 0.95**10)])
def test_noise_is_truncated_normal_and_decays_from_the_warm_up_on(episodes: int, sigma: float) -> None:
    model = trained(episodes)
    assert model.sigma == pytest.approx(sigma)
    actions = sample(model, 0.6, 1000)
    assert np.abs(actions).max() <= 1
    law = truncnorm((-1 - 0.6) / sigma, (1 - 0.6) / sigma, 0.6, sigma)
    assert actions.mean() == pytest.approx(law.mean(), abs=4 * law.std() / np.sqrt(1000))
    assert actions.std() == pytest.approx(law.std(), rel=0.1)
    assert len(np.unique(actions)) == 1000  # clipping would pile up at the bound


def test_warm_up_is_uniform_without_noise() -> None:
    model = AMC(toy_env(LAYERS), layers=LAYERS, warmup=100, seed=0)
    actions, ratios = zip(
        *((stored[0, 0], ratio[0, 0]) for ratio, stored in (model._sample_action(400) for _ in range(2000))),
        strict=True,
    )
    assert np.quantile(actions, [0.25, 0.5, 0.75]) == pytest.approx([-0.5, 0.0, 0.5], abs=0.08)
    assert min(ratios) == pytest.approx(float(model.action_space.low[0]), abs=0.005)  # type: ignore[attr-defined]
    assert max(ratios) == pytest.approx(1.0, abs=0.005)


@pytest.mark.parametrize(
    ("evaluations", "layers", "warmup"),
    [(100, 20, 13), (800, 20, 100), (1, 20, 4), (16, 5, 13)],
)
def test_default_warm_up(monkeypatch: pytest.MonkeyPatch, evaluations: int, layers: int, warmup: int) -> None:
    made: list[dict[str, Any]] = []

    class Spy:
        def __init__(self, env: Any, **options: Any) -> None:
            made.append(options)

        def learn(self, steps: int) -> None:
            assert steps == evaluations * layers

    monkeypatch.setattr("prunebench.agents.ddpg.AMC", Spy)
    DDPGAgent(seed=7).search(toy_env(layers), evaluations)
    DDPGAgent(seed=7, preset="paper").search(toy_env(layers), evaluations)
    DDPGAgent(seed=7, preset="paper", warmup=9).search(toy_env(layers), evaluations)
    assert [options["warmup"] for options in made] == [warmup, 100, 9]
    assert made[0] == {"layers": layers, "warmup": warmup, "seed": 7}


def test_writes_and_prints_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    DDPGAgent(seed=0, warmup=1).search(toy_env(LAYERS), 6)
    assert os.listdir(tmp_path) == []
    assert capsys.readouterr() == ("", "")


def test_a_search_that_is_all_warm_up_says_so() -> None:
    notes = []
    for evaluations in (3, 4):
        agent = DDPGAgent(seed=0, warmup=3)
        agent.search(toy_env(LAYERS), evaluations)
        notes.append(agent.notes)
    assert notes[0] is not None
    assert "all 3 evaluations are warm-up" in notes[0]["remarks"][0]
    assert notes[1] is None

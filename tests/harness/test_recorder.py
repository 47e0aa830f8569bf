"""The recorder counts, times, stores, replays and stops."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import toy_runs
from stable_baselines3 import DDPG
from toy_runs import LAYERS, Sampler, environment

from prunebench.agents.base import run_episode
from prunebench.harness.experiments.config import ExperimentConfig
from prunebench.harness.inside.recorder import EvaluationsExhausted, Recorder, ReplayMismatch

POLICY = np.full(LAYERS, 0.4)


def recorded(config: ExperimentConfig, evaluations: int, past: Any = (), seed: int = 0) -> tuple[Recorder, list[Any]]:
    written: list[Any] = []
    recorder = Recorder(environment(config), evaluations, past, written.append)
    Sampler(seed=seed).search(recorder, evaluations)
    recorder.finish()
    return recorder, written


def test_stops_at_the_first_step_after_the_last_paid_episode(config: ExperimentConfig) -> None:
    recorder, written = recorded(config, 3)
    recorder.reset()
    for _ in range(2):
        with pytest.raises(EvaluationsExhausted):
            recorder.step(np.array([0.4], dtype=np.float32))
    assert len(written) == recorder.count == 3


def test_stops_stable_baselines_after_its_automatic_reset(config: ExperimentConfig) -> None:
    written: list[Any] = []
    recorder = Recorder(environment(config), 3, (), written.append)
    model = DDPG("MlpPolicy", recorder, learning_starts=1000, device="cpu", seed=0)
    with pytest.raises(EvaluationsExhausted):
        model.learn(100 * LAYERS)
    assert len(written) == 3
    assert model.replay_buffer is not None
    assert model.replay_buffer.pos == 3 * LAYERS  # the last transition arrived


def test_the_line_is_written_before_the_agent_sees_the_reward(config: ExperimentConfig) -> None:
    written: list[Any] = []
    recorder = Recorder(environment(config), 1, (), written.append)
    recorder.reset()
    for number in range(LAYERS):
        assert not written
        _, reward, terminated, _, info = recorder.step(np.array([0.4], dtype=np.float32))
        assert terminated == (number == LAYERS - 1)
    assert written[0].reward == reward
    assert written[0].model_dump(include=set(info["evaluation"])) == info["evaluation"]


def test_a_failing_write_keeps_the_reward_from_the_agent(config: ExperimentConfig) -> None:
    def full_disk(line: Any) -> None:
        raise OSError("no space left")

    recorder = Recorder(environment(config), 1, (), full_disk)
    recorder.reset()
    with pytest.raises(OSError, match="no space"):
        run_episode(recorder, POLICY)
    assert recorder.count == 0


def test_repeats_and_probes_are_marked(config: ExperimentConfig) -> None:
    written: list[Any] = []
    recorder = Recorder(environment(config), 4, (), written.append)
    for options, ratio in ((None, 0.3), ({"budget": "none"}, 1.0), (None, 0.3), (None, 0.2)):
        recorder.reset(options=options)
        run_episode(recorder, np.full(LAYERS, ratio))
    assert [line.probe for line in written] == [False, True, False, False]
    assert [line.repeat_of for line in written] == [None, None, 0, None]
    assert [line.feasible for line in written] == [True, False, True, True]
    assert [line.index for line in written] == [0, 1, 2, 3]


def test_an_abandoned_episode_is_not_charged(config: ExperimentConfig) -> None:
    written: list[Any] = []
    recorder = Recorder(environment(config), 1, (), written.append)
    recorder.reset()
    recorder.step(np.array([0.9], dtype=np.float32))
    recorder.reset()
    run_episode(recorder, POLICY)
    assert np.allclose(written[0].requested, POLICY)


def test_seconds_go_to_whom_they_belong(config: ExperimentConfig) -> None:
    class Sleepy(toy_runs.TestedEvaluator):
        def score(self, counts: tuple[int, ...]) -> Any:
            time.sleep(0.12)
            self.seconds["reconstruction"] += 0.03
            self.seconds["forward"] += 0.05
            self.calls += 1
            return 0.5, 1.0

    written: list[Any] = []
    env = environment(config)
    env.evaluator = Sleepy(LAYERS)
    env.evaluator.score = lambda counts, score=env.evaluator.score: toy_runs.Score(*score(counts))  # type: ignore

    def slow_write(line: Any) -> None:
        time.sleep(0.3)
        written.append(line)

    recorder = Recorder(env, 2, (), slow_write)
    for ratio in (0.4, 0.3):
        time.sleep(0.2)
        recorder.reset()
        run_episode(recorder, np.full(LAYERS, ratio))
    time.sleep(0.1)
    recorder.finish()
    for line in written:
        seconds = line.seconds
        assert 0.2 <= seconds.agent < 0.29  # neither the scoring nor the writing
        assert seconds.reconstruction == pytest.approx(0.03)
        assert seconds.forward == pytest.approx(0.05)
        assert 0.04 <= seconds.environment < 0.1
    assert 0.1 <= recorder.closing_seconds < 0.19


def test_replay_answers_from_the_record(config: ExperimentConfig) -> None:
    _, whole = recorded(config, 7)
    recorder, added = recorded(config, 7, past=whole[:4])
    assert toy_runs.without_times(added) == toy_runs.without_times(whole[4:])
    new = {tuple(line.channels) for line in whole} - {tuple(line.channels) for line in whole[:4]}
    assert recorder.unwrapped.evaluator.calls == len(new)  # type: ignore[attr-defined]


def test_replay_tells_the_same_rewards(config: ExperimentConfig) -> None:
    _, past = recorded(config, 3)
    recorder = Recorder(environment(config), 3, past)
    for line in past:
        recorder.reset()
        assert run_episode(recorder, np.array(line.requested))["reward"] == line.reward


@pytest.mark.parametrize("change", ["requested", "channels", "probe"])
def test_replay_of_something_else_is_refused(config: ExperimentConfig, change: str) -> None:
    _, past = recorded(config, 3)
    other = {"requested": [0.9] * LAYERS, "channels": [1] * LAYERS, "probe": True}[change]
    past[1] = past[1].model_copy(update={change: other})
    with pytest.raises(ReplayMismatch, match="evaluation 1"):
        recorded(config, 3, past=past)


def test_a_replay_that_ends_early_is_refused(config: ExperimentConfig) -> None:
    _, past = recorded(config, 3)
    recorder = Recorder(environment(config), 3, past)
    with pytest.raises(ReplayMismatch, match="ended after 0 of 3"):
        recorder.finish()


def test_an_agent_cannot_hide_a_mismatch(config: ExperimentConfig) -> None:
    _, past = recorded(config, 3)
    recorder = Recorder(environment(config), 3, past)
    recorder.reset()
    with pytest.raises(ReplayMismatch):
        run_episode(recorder, np.full(LAYERS, 0.77))
    recorder.reset()
    with pytest.raises(ReplayMismatch):
        recorder.step(np.array([0.4], dtype=np.float32))
    with pytest.raises(ReplayMismatch):
        recorder.finish()

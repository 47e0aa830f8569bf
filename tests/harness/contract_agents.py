"""Agents that keep the contract, and one for every way of breaking it."""

from __future__ import annotations

import itertools
import os
import random
from typing import Any

import numpy as np


class Plain:
    """Random policies; nothing of ours is imported for it."""

    def __init__(self, *, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def search(self, env: Any, evaluations: int) -> None:
        for number in range(evaluations):
            self.episode(env, number)

    def episode(self, env: Any, number: int) -> None:
        _, info = env.reset()
        for layer in range(len(info["layers"]["name"])):
            *_, info = env.step(self.action(number, layer))
        self.evaluation = info["evaluation"]

    def action(self, number: int, layer: int) -> Any:
        return np.array([self.rng.uniform()], dtype=np.float32)


class Overspends(Plain):
    def search(self, env: Any, evaluations: int) -> None:
        super().search(env, evaluations + 1)


class Stubborn(Plain):
    """Pays no heed to what the environment raises."""

    def search(self, env: Any, evaluations: int) -> None:
        for number in itertools.count():
            try:
                self.episode(env, number)
            except Exception:
                continue


class Excusing(Plain):
    """Hides what the environment raises behind an error of its own."""

    def search(self, env: Any, evaluations: int) -> None:
        try:
            super().search(env, evaluations + 1)
        finally:
            raise OSError("the disk is full")


class Quitter(Plain):
    def search(self, env: Any, evaluations: int) -> None:
        super().search(env, min(evaluations, 7))


class Abandoning(Plain):
    def search(self, env: Any, evaluations: int) -> None:
        super().search(env, evaluations - 1)
        env.reset()
        for layer in range(3):
            env.step(self.action(0, layer))


class Idle(Plain):
    tags = frozenset({"may_stop_early"})

    def search(self, env: Any, evaluations: int) -> None:
        env.reset()


class NoReset(Plain):
    def search(self, env: Any, evaluations: int) -> None:
        _, info = env.reset()
        for _ in range(evaluations * len(info["layers"]["name"])):
            env.step(self.action(0, 0))


class Gives(Plain):
    """One wrong action."""

    def __init__(self, wrong: Any, *, seed: int) -> None:
        super().__init__(seed=seed)
        self.wrong = wrong

    def action(self, number: int, layer: int) -> Any:
        return self.wrong if (number, layer) == (2, 4) else super().action(number, layer)


class Capricious(Plain):
    def __init__(self, *, seed: int) -> None:
        super().__init__(seed=int.from_bytes(os.urandom(4)))


class Continuing(Plain):
    """Its generator outlives it."""

    rng = np.random.default_rng(0)

    def __init__(self, *, seed: int) -> None:
        pass


class SeedBlind(Plain):
    def __init__(self, *, seed: int) -> None:
        super().__init__(seed=0)


class Late(Plain):
    """A fixed design first: the seed shows only after it."""

    def action(self, number: int, layer: int) -> Any:
        return super().action(number, layer) if number >= 20 else np.array([1 / (number + 2)])


class ClaimsToBeDeterministic(Plain):
    tags = frozenset({"deterministic"})


class Misspelt(Plain):
    tags = ("determinstic",)


class NeedsTwoLayers(Plain):
    def search(self, env: Any, evaluations: int) -> None:
        _, info = env.reset()
        self.spacing = 1 / (len(info["layers"]["name"]) - 1)
        super().search(env, evaluations)


class RoomForFifty(Plain):
    def search(self, env: Any, evaluations: int) -> None:
        _, info = env.reset()
        self.memory = np.zeros(50)
        self.memory[: len(info["layers"]["name"])] = info["layers"]["macs"]
        super().search(env, evaluations)


class Standardises(Plain):
    def search(self, env: Any, evaluations: int) -> None:
        rewards = []
        for number in range(evaluations):
            self.episode(env, number)
            rewards.append(round(self.evaluation["reward"] * 1e6))
        if len(rewards) > 1:
            1 / (max(rewards) - min(rewards))


class NoSeed(Plain):
    def __init__(self) -> None:
        super().__init__(seed=0)


class NoSearch:
    def __init__(self, *, seed: int) -> None:
        pass


class Peeks(Plain):
    def search(self, env: Any, evaluations: int) -> None:
        self.best = env.unwrapped.evaluator.target


class Notes(Plain):
    def __init__(self, notes: Any, *, seed: int) -> None:
        super().__init__(seed=seed)
        self.notes = notes


class Writes(Plain):
    """Writes once it has searched."""

    def __init__(self, how: Any, *, seed: int) -> None:
        super().__init__(seed=seed)
        self.how = how

    def search(self, env: Any, evaluations: int) -> None:
        super().search(env, evaluations)
        self.how()


class Global(Plain):
    """Draws from the global generators, which the harness seeds."""

    def action(self, number: int, layer: int) -> Any:
        return np.array([random.random() / 2 + np.random.rand() / 2])


class OneRatio(Plain):
    """One evaluation, whatever the seed."""

    tags = frozenset({"deterministic", "may_stop_early"})

    def search(self, env: Any, evaluations: int) -> None:
        self.episode(env, 0)
        self.notes = {"ratio": 0.5, "sizes": [1, 2]}

    def action(self, number: int, layer: int) -> Any:
        return np.array([0.5])


class Restless(Plain):
    """Abandons episodes, resets once more than it has to, and uses probes and spaces."""

    def search(self, env: Any, evaluations: int) -> None:
        env.action_space.seed(int(self.rng.integers(2**31)))
        for number in range(evaluations):
            _, info = env.reset(options={"budget": "none"})
            if len(info["layers"]["name"]) > 1:  # else this would be an evaluation
                env.step(env.action_space.sample())
            self.episode(env, number)
        env.reset()

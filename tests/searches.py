"""Watches what an agent's search evaluates, and makes up evaluations."""

from __future__ import annotations

from typing import Any

import gymnasium


class Recording(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Keeps every evaluation."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        self.records: list[dict[str, Any]] = []

    def step(self, action: Any) -> Any:
        result = self.env.step(action)
        if result[2]:
            self.records.append(result[4]["evaluation"])
        return result


def evaluation(reward: float, **rest: Any) -> dict[str, Any]:
    """What an agent reads of an evaluation; ``rest`` are its other entries, a loss among them, or instead of ours."""
    return {"reward": reward, "accuracy": reward, "loss": 1 - reward, "macs": 1_000_000} | rest

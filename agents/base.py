"""The base classes of agents. A plug-in need not use them: any class with this constructor and ``search`` will do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping
from typing import Any, ClassVar

import gymnasium
import numpy as np
from numpy.typing import NDArray

from prunebench.agents.parts.outcomes import Signal, check_signal, outcome
from prunebench.agents.parts.seen import Seen
from prunebench.envs.environment.budget import Budget, Counts


class Agent(ABC):
    """A search for a good pruning policy.

    Args:
        seed: the seed of the generators that everything random in the agent is drawn from.

    Attributes:
        tags: ``deterministic`` (the seed changes nothing), ``may_stop_early`` (may use fewer evaluations).
        most_evaluations: that it ever uses, where it stops early; for forecasts.
        notes: read when the search is over and kept with the run: plain values that JSON has, for reports. ``remarks``
            among them is a list of sentences that stand under every table.
    """

    tags: ClassVar[frozenset[str]] = frozenset()
    most_evaluations: ClassVar[int | None] = None
    notes: Mapping[str, Any] | None = None

    def __init__(self, *, seed: int) -> None:
        self.seed = seed

    @abstractmethod
    def search(self, env: gymnasium.Env[Any, Any], evaluations: int) -> None:
        """Run ``evaluations`` episodes on ``env``. What they scored is recorded outside; nothing is returned."""


class AskTellAgent(Agent):
    """A black-box agent: it names a whole policy and is told its evaluation; this class runs the episodes."""

    def search(self, env: gymnasium.Env[Any, Any], evaluations: int) -> None:
        """Ask for a policy, run it as one episode, tell the evaluation; ``evaluations`` times."""
        for number in range(evaluations):
            _, info = env.reset()
            if number == 0:
                self.setup(info, evaluations)
            self.tell(run_episode(env, self.ask()))

    @abstractmethod
    def setup(self, info: Mapping[str, Any], evaluations: int) -> None:
        """Called once before the first ``ask``, with ``reset``'s info (layer table, cost coefficients)."""

    @abstractmethod
    def ask(self) -> NDArray[np.float64]:
        """The next policy: preserve ratios ``(D,)`` in [0, 1]."""

    def tell(self, evaluation: Mapping[str, Any]) -> None:
        """The evaluation of the policy asked for last (see ``ChannelPruningEnv``). Maximise its ``reward``."""


class SignalAgent(AskTellAgent):
    """A black-box agent that can maximise one or the other signal.

    Args:
        seed: the seed of everything random.
        signal: what is maximised, see :func:`prunebench.agents.parts.outcomes.outcome`.
    """

    def __init__(self, *, seed: int, signal: Signal = "loss") -> None:
        super().__init__(seed=seed)
        check_signal(signal)
        self.signal = signal


class GeneratorAgent(SignalAgent):
    """An agent whose search is one generator: it yields channel counts on budget and is sent what they scored.

    Args:
        seed: the seed of :attr:`rng`.
        signal: what it is sent, see :func:`prunebench.agents.parts.outcomes.outcome`.

    Attributes:
        budget: that policies are put on.
        rng: the generator of everything random.
        seen: the policies that were evaluated.
    """

    @abstractmethod
    def policies(self, info: Mapping[str, Any], evaluations: int) -> Generator[Counts, float, None]:
        """Yield channel counts ``(D,)``, of which the first ``evaluations`` are evaluated; each is answered."""

    def setup(self, info: Mapping[str, Any], evaluations: int) -> None:
        """Read the budget; make the generators."""
        self.budget = Budget.from_info(info)
        self.rng = np.random.default_rng(self.seed)
        self.seen = Seen(self.budget, self.rng)
        self._search = self.policies(info, evaluations)
        self._answer: float | None = None

    def ask(self) -> NDArray[np.float64]:
        """The next policy ``(D,)``."""
        return self.budget.ratios(self._search.send(self._answer))  # type: ignore[arg-type] # None begins it

    def tell(self, evaluation: Mapping[str, Any]) -> None:
        """Remember the policy, and the answer for the next ``ask``."""
        self.seen.add(evaluation["channels"])
        self._answer = outcome(evaluation, self.signal)


def run_episode(env: gymnasium.Env[Any, Any], policy: NDArray[np.float64]) -> dict[str, Any]:
    """Step through a freshly reset episode with ``policy`` ``(D,)``; returns its evaluation."""
    low, high = env.action_space.low, env.action_space.high  # type: ignore[attr-defined]
    for ratio in policy:
        action = np.clip(np.array([ratio], dtype=np.float32), low, high)  # float32 may round off the bounds
        _, _, terminated, _, info = env.step(action)
    if not terminated:
        raise ValueError(f"a policy of {len(policy)} ratios does not cover every prunable layer")
    evaluation: dict[str, Any] = info["evaluation"]
    return evaluation


def run_probe(env: gymnasium.Env[Any, Any], policy: NDArray[np.float64]) -> dict[str, Any]:
    """The evaluation of ``policy`` ``(D,)`` in an episode that nothing limits, whatever it costs."""
    env.reset(options={"budget": "none"})
    return run_episode(env, policy)

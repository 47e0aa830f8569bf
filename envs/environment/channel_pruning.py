"""The Gymnasium environment that every agent searches on."""

from __future__ import annotations

import copy
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, NamedTuple, Protocol

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from prunebench.envs.environment.budget import Budget
from prunebench.envs.environment.cost import CostModel
from prunebench.envs.environment.rewards import REWARDS
from prunebench.envs.errors import check_choice

BUDGET_MODES = ("wall", "project")
COUNTED = ("macs", "parameters")
"""The costs that every evaluator has and every evaluation names, whatever the budget limits."""


_PROBE = {"budget": "none"}


class Score(NamedTuple):
    """What a realised policy earned on the reward split: top-1 accuracy in [0, 1], mean cross-entropy in nats."""

    accuracy: float
    loss: float


class FinalScore(NamedTuple):
    """What a realised policy earned on the test split, as :class:`Score` does.

    ``hits`` says on which images it was right (:mod:`prunebench.envs.environment.hits`); None where there are none.
    """

    accuracy: float
    loss: float
    hits: str | None = None


class Scorer(Protocol):
    """What the environment needs of an evaluator (:class:`prunebench.envs.evaluation.evaluator.Evaluator` is the real
    one)."""

    layers: dict[str, Any]
    """The layer table, see :class:`ChannelPruningEnv`."""
    costs: dict[str, CostModel]
    """At least those of :data:`COUNTED`."""
    seconds: dict[str, float]
    """Time spent so far, by what it was spent on."""

    def score(self, counts: tuple[int, ...]) -> Score:
        """Score one realised policy on the reward split; the same counts always give the same score."""

    def confirm(self, counts: tuple[int, ...]) -> Score:
        """Score one realised policy on the confirm split: for the best ones, once a search is over."""

    def test(self, counts: tuple[int, ...]) -> FinalScore:
        """Score one realised policy on the test split: for final answers only."""


def check_settings(preserve: float, budget: str, lower_bound: float, reward: str, round_to: int = 1) -> None:
    """Raise ValueError where a setting of an environment is not as it should be, whatever its evaluator."""
    check_choice("budget", budget, BUDGET_MODES)
    check_choice("reward", reward, REWARDS)
    for name, value in (("preserve", preserve), ("lower_bound", lower_bound)):
        if isinstance(value, bool) or not isinstance(value, Real) or not 0 < value <= 1:  # also true of NaN
            raise ValueError(f"{name} {value!r}: expected a fraction above 0 and at most 1")
    if isinstance(round_to, bool) or not isinstance(round_to, Integral) or round_to < 1:
        raise ValueError(f"round_to {round_to!r}: expected a whole number, 1 or more")


class ChannelPruningEnv(gymnasium.Env[NDArray[np.float32], NDArray[np.float32]]):
    """Choose how many channels each prunable layer of a CNN keeps, one layer per step.

    **Action**: ``Box(0, 1, (1,), float32)``, the preserve ratio of the current layer; a ratio below ``lower_bound`` is
    raised to it, as in AMC (but in a probe).

    **Observation**: ``Box(0, 1, (11,), float32)``, AMC's state (He et al. 2018, eq. 1) for the current
    layer, in this order: index, c_out, c_in, h, w, stride, kernel, MACs (each over its largest value), MACs
    removed so far, MACs of later layers (each over the dense network's MACs), the previous layer's ratio (rounded;
    in ``project`` mode before the projection). The numbers are those of the layer that *consumes* the prunable
    channels; "later layers" are the consuming ones.

    **Episode**: one step per prunable layer, in network order; the last step terminates. Episodes are never
    truncated.

    **Reward**: 0 before the last step; then ``accuracy`` (top-1 on the reward split, in [0, 1]) or
    ``accuracy-guaranteed`` (``-error * log(MACs)``), see :mod:`prunebench.envs.environment.rewards`.

    **Budget**: ``wall`` limits each action so that the later layers can still stay at their lower bound
    (AMC's algorithm 1): an upper bound on the cost; a policy that is on budget passes it untouched.
    ``project`` projects the whole policy onto the budget at the last step
    (:meth:`prunebench.envs.environment.budget.Budget.project`).
    ``reset(options={"budget": "none"})`` makes one episode a *probe*: nothing is limited.

    **reset's info**: ``layers``, per prunable layer: name, type (``conv`` or ``linear``), channels, c_in, c_out,
    kernel, stride, height, width, macs, parameters, and importance (one array per layer, a value per channel);
    ``cost``: what :meth:`prunebench.envs.environment.budget.Budget.from_info` needs (coefficients, channels,
    lower_bound, limit, round_to, the mode, and fill: whether a policy is to cost all that it may, which pays with
    ``accuracy`` alone).

    **The last step's info**: ``evaluation``, a dict of plain values: ``requested`` (ratios), ``realised``
    (ratios), ``channels`` (counts), ``accuracy``, ``loss``, ``reward``, ``macs``, ``parameters``, ``cost``
    (the limited one, as a fraction of the dense network's), ``feasible``.

    A realised policy that this environment already scored is answered from :attr:`memory`.

    Args:
        evaluator: scores realised policies.
        preserve: the budget as a fraction of the dense network's cost, in (0, 1].
        cost: what the budget limits, one of the evaluator's.
        budget: ``wall`` or ``project``.
        lower_bound: the smallest preserve ratio, in (0, 1].
        reward: ``accuracy`` or ``accuracy-guaranteed``.
        round_to: channels are kept in multiples of it, as :attr:`prunebench.envs.environment.budget.Budget.block` says;
            probes, too.

    Raises:
        BudgetError: the budget is below what the lower bound allows.
        ValueError: an action is not a finite number within the action space, or a setting is not as it should be.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - declared as an instance variable by gymnasium

    def __init__(
        self,
        evaluator: Scorer,
        *,
        preserve: float = 0.5,
        cost: str = "macs",
        budget: str = "wall",
        lower_bound: float = 0.1,
        reward: str = "accuracy",
        round_to: int = 1,
    ) -> None:
        check_choice("cost", cost, evaluator.costs)
        check_settings(preserve, budget, lower_bound, reward, round_to)
        self.evaluator = evaluator
        self.memory: dict[tuple[int, ...], Score] = {}
        """Scores by channel counts. A resumed run puts back what it already paid for."""
        self._mode = budget
        self._reward = REWARDS[reward]
        self._layers = evaluator.layers
        self._macs = evaluator.costs["macs"]
        self._parameters = evaluator.costs["parameters"]
        self._channels = np.asarray(self._layers["channels"], dtype=np.int64)
        self._dense_macs = float(self._macs(self._channels))
        self._cost = evaluator.costs[cost]
        self._dense_cost = float(self._cost(self._channels))
        fill = reward == "accuracy"  # the other one weighs the cost itself: less of it may be better
        self.budget = Budget.of(self._cost, self._channels, lower_bound, preserve, fill, round_to)
        self.action_space = spaces.Box(0.0, 1.0, (1,), np.float32)
        self.observation_space = spaces.Box(0.0, 1.0, (11,), np.float32)
        self._static, self._later = self._layer_observations()
        self.probe = False
        """Whether this episode is a probe."""
        self.maker: Callable[[], ChannelPruningEnv] | None = None
        """Makes such an environment anew, where that is how it is to be pickled; else its parts are."""
        self._requested: list[float] = []
        self._kept: list[int] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start an episode; ``options={"budget": "none"}`` makes it a probe. Nothing here is random.

        Raises:
            ValueError: there are other options.
        """
        if options is not None and options not in ({}, _PROBE):
            raise ValueError(f"reset's options {options!r}: expected {_PROBE!r}, which makes a probe, or none")
        super().reset(seed=seed)
        self.probe = bool(options)
        self._requested, self._kept = [], []
        cost = {
            **self._cost.to_arrays(),
            "channels": self._channels,
            "lower_bound": self.budget.lower_bound,
            "limit": self.budget.limit,
            "fill": self.budget.fill,
            "round_to": self.budget.round_to,
            "mode": self._mode,
        }
        info = copy.deepcopy({"layers": self._layers, "cost": cost})  # callers may keep and change what they get
        return self._observation(), info

    def step(self, action: NDArray[np.float32]) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Set the current layer's preserve ratio; the last layer's step scores the policy."""
        if len(self._kept) == len(self._channels):
            raise RuntimeError("the episode is over: call reset() first")
        ratio = self._checked(action)
        self._requested.append(ratio)
        self._kept.append(self._count(ratio))
        if len(self._kept) < len(self._channels):
            return self._observation(), 0.0, False, False, {}
        evaluation = self._evaluate()
        return self._observation(), evaluation["reward"], True, False, {"evaluation": evaluation}

    def _checked(self, action: Any) -> float:
        values = np.asarray(action, dtype=np.float64)
        if values.shape != (1,):
            raise ValueError(f"action of shape {values.shape}: expected shape (1,)")
        ratio = float(values[0])
        if not 0 <= ratio <= 1:  # false for NaN
            raise ValueError(f"action {ratio!r}: expected a preserve ratio in [0, 1]")
        return ratio

    def _count(self, ratio: float) -> int:
        t = len(self._kept)
        if self._mode == "wall" and not self.probe:
            return self.budget.wall(self._kept, ratio)
        return self.budget.count(t, ratio)

    def _evaluate(self) -> dict[str, Any]:
        if self._mode == "project" and not self.probe:
            self._kept = [int(n) for n in self.budget.project(self._requested)]
        counts = tuple(self._kept)
        if counts not in self.memory:
            self.memory[counts] = self.evaluator.score(counts)
        score = self.memory[counts]
        macs = float(self._macs(counts))
        return {
            "requested": list(self._requested),
            "realised": [float(r) for r in self.budget.ratios(counts)],
            "channels": list(counts),
            "accuracy": score.accuracy,
            "loss": score.loss,
            "reward": self._reward(score.accuracy, macs),
            "macs": int(macs),
            "parameters": int(self._parameters(counts)),
            "cost": float(self._cost(counts)) / self._dense_cost,
            "feasible": self.budget.feasible(counts),
        }

    def __reduce_ex__(self, protocol: Any) -> Any:
        """As it was made, and where it stands: an evaluator of a real network is not moved but made again."""
        if self.maker is None:
            return super().__reduce_ex__(protocol)
        names = ("maker", "spec", "memory", "probe", "_requested", "_kept", "_np_random", "_np_random_seed")
        return self.maker, (), {name: getattr(self, name) for name in names}

    def _layer_observations(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Eight fixed entries of each layer's observation ``(D, 8)``, the later layers' share of MACs ``(D,)``."""
        index = np.arange(len(self._channels))
        columns = [index] + [
            np.asarray(self._layers[key], dtype=np.float64)
            for key in ("c_out", "c_in", "height", "width", "stride", "kernel", "macs")
        ]
        static = np.stack([column / max(column.max(), 1) for column in columns], axis=1)
        macs = np.asarray(self._layers["macs"], dtype=np.float64)
        later = (macs.sum() - np.cumsum(macs)) / self._dense_macs
        return static, np.clip(later, 0.0, 1.0)

    def _observation(self) -> NDArray[np.float32]:
        decided = len(self._kept)
        t = min(decided, len(self._channels) - 1)
        counts = self._channels.copy()
        counts[:decided] = self._kept
        reduced = 1 - float(self._macs(counts)) / self._dense_macs
        last = self._kept[-1] / self._channels[decided - 1] if decided else 1.0
        return np.array([*self._static[t], reduced, self._later[t], last], dtype=np.float32)

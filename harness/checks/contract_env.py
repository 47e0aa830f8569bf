"""The environment that ``check_agent`` gives an agent to search on: the toy task, with every call watched."""

from __future__ import annotations

import random
import sys
import traceback
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from prunebench.envs.environment.toy import toy_env

Factory = Callable[..., Any]
"""Called with ``seed=...`` it gives an object with ``search(env, evaluations)``."""

DETERMINISTIC, MAY_STOP_EARLY = "deterministic", "may_stop_early"
TAGS = (DETERMINISTIC, MAY_STOP_EARLY)
_TASK_SEED = 100  # no agent's: a random first policy could equal the toy's target
_OURS = {Path(__file__).parent, Path(__file__).parents[2] / "envs" / "environment"}


class ContractError(AssertionError):
    """An agent breaks the contract; the message is one sentence that says how and where.

    No HarnessError: nothing of the user's input is wrong. As an assertion it is a failed test to pytest, and a
    finding (exit code 1) to the command.
    """


class Stop(BaseException):
    """Ends a search at its first violation; no Exception, so that an agent that catches those cannot go on for ever."""


@dataclass(frozen=True)
class Setting:
    """The setting of one search of a check; as text it is what a message says of the search.

    Attributes:
        evaluations: number of evaluations that the agent is given.
        seed: seeds the agent and the global generators.
        layers: layers of the toy task. With the default, agents that learn from a batch of 64 steps get to it.
        budget: ``wall`` or ``project``.
        preserve: the budget; 1 leaves no choice.
        constant: every policy scores the same.
    """

    evaluations: int = 12
    seed: int = 0
    layers: int = 8
    budget: str = "wall"
    preserve: float = 0.5
    constant: bool = False

    def __str__(self) -> str:
        layers = f"{self.layers} layer{'s' if self.layers != 1 else ''}"
        details = [f"budget {self.budget}"]
        details += [f"preserve {self.preserve:g}"] if self.preserve != Setting.preserve else []
        details += ["constant rewards"] if self.constant else []
        return f"search(env, {self.evaluations}) with seed {self.seed} on {layers} ({', '.join(details)})"


class ContractEnv(gymnasium.Env[Any, Any]):
    """``reset``, ``step`` and the spaces of the toy task: all that an agent may use, ``unwrapped`` leads no further.

    Attributes:
        policies: the requested ratios of every finished evaluation.
        changed: of how many of them the budget made something else, by more than the rounding to whole channels.
        violation: a sentence about the first violation; every later step raises :class:`Stop`.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - declared as an instance variable by gymnasium

    def __init__(self, setting: Setting) -> None:
        self._env = toy_env(
            setting.layers,
            budget=setting.budget,
            preserve=setting.preserve,
            seed=_TASK_SEED,
            constant=setting.constant,
        )
        self._setting = setting
        self.action_space = self._env.action_space
        self.observation_space = self._env.observation_space
        self.policies: list[list[float]] = []
        self.changed = 0
        self.violation: str | None = None
        self._layer: int | None = None  # to be decided next; None outside an episode

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode. Allowed after the last evaluation too, and in the middle of an episode, as in a run."""
        super().reset(seed=seed)
        self._layer = 0
        return self._env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Set one layer's ratio.

        Raises:
            Stop: the agent breaks the contract, or has done so before.
        """
        self._check(action)
        result = self._env.step(np.asarray(action, dtype=np.float64))
        assert self._layer is not None
        self._layer += 1
        if result[2]:
            evaluation = result[4]["evaluation"]
            self.policies.append(list(evaluation["requested"]))
            self.changed += _is_other(evaluation)
            self._layer = None
        return result

    def finished(self, tags: frozenset[str]) -> None:
        """Check, when the search is over, whether it used its evaluations."""
        wanted, used = self._setting.evaluations, len(self.policies)
        if not used:
            self._breaks("ends without a finished evaluation: expected at least 1")
        elif used < wanted and MAY_STOP_EARLY not in tags:
            begun = f" and {self._layer} of {self._setting.layers} layers of the next" if self._layer else ""
            expected = f"expected all of them, or the tag {MAY_STOP_EARLY!r}"
            self._breaks(f"ends after {used} of {wanted} evaluations{begun}: {expected}")

    def _check(self, action: Any) -> None:
        problem = self._problem(action)
        if problem:
            self._breaks(problem)
        if self.violation is not None:
            raise Stop

    def _problem(self, action: Any) -> str:
        number = len(self.policies) + 1
        if number > self._setting.evaluations:
            return f"steps into evaluation {number}: expected no step after the last of its evaluations"
        if self._layer is None:
            return f"steps without a reset before evaluation {number}: expected a reset before every episode"
        wrong = _wrong(action)
        return wrong and f"gives layer {self._layer + 1} in evaluation {number} {wrong}"

    def _breaks(self, how: str) -> None:
        self.violation = self.violation or f"{self._setting} {how}"


def make(factory: Factory, seed: int) -> Any:
    """Make the agent.

    Raises:
        ContractError: it cannot be made, or has no ``search``.
    """
    call = f"{name_of(factory)}(seed={seed})"
    try:
        agent = factory(seed=seed)
    except (Exception, SystemExit) as error:
        problem = f"{call} raises {described(error)}: expected an agent, made from the keyword seed"
        raise ContractError(problem) from error
    if not callable(getattr(agent, "search", None)):
        raise ContractError(f"{call} gives a {type(agent).__name__} without search: expected search(env, evaluations)")
    return agent


def search(factory: Factory, setting: Setting) -> tuple[Any, list[list[float]]]:
    """Run one search as the harness does: seed the global generators, then make a new agent.

    Returns:
        The agent, and the requested policy of every evaluation.

    Raises:
        ContractError: the agent breaks the contract, whatever became of the environment's exception inside it.
    """
    agent, env = watched(factory, setting)
    return agent, env.policies


def watched(factory: Factory, setting: Setting) -> tuple[Any, ContractEnv]:
    """The agent and the environment after a :func:`search`."""
    env = ContractEnv(setting)
    _seed_everything(setting.seed)
    agent = make(factory, setting.seed)
    try:
        agent.search(env, setting.evaluations)
    except Stop:
        pass
    except (Exception, SystemExit) as error:
        after = f"after {len(env.policies)} of {setting.evaluations} evaluations"
        raise ContractError(env.violation or f"{setting} raises {described(error)}, {after}") from error
    env.finished(tags_of(agent))
    if env.violation is not None:
        raise ContractError(env.violation)
    return agent, env


def tags_of(agent: Any) -> frozenset[str]:
    """An agent's tags; none where it has no such attribute."""
    tags = getattr(agent, "tags", ())
    return frozenset(tag for tag in TAGS if isinstance(tags, Collection) and tag in tags)


def name_of(factory: Factory) -> str:
    """The name of a factory in messages: a class or function by its name, a ``functools.partial`` by what it calls."""
    named = getattr(factory, "func", factory)
    return getattr(named, "__name__", type(named).__name__)


def described(error: BaseException) -> str:
    """An error in one line, with the innermost place that is not ours: an agent's misuse surfaces in our files."""
    text = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).parent not in _OURS]
    return f"{text} (at {frames[-1].filename}:{frames[-1].lineno})" if frames else text


def _wrong(action: Any) -> str:
    """A few words on what is wrong with an action; empty where nothing is."""
    try:
        values = np.asarray(action, dtype=np.float64)
    except (TypeError, ValueError):
        return f"the action {action!r}: expected an array of one number in [0, 1]"
    if values.shape != (1,):
        return f"an action of shape {values.shape}: expected shape (1,)"
    if not 0 <= values[0] <= 1:  # false for NaN
        return f"the action {float(values[0])!r}: expected a finite number in [0, 1]"
    return ""


def _is_other(evaluation: Mapping[str, Any]) -> bool:
    """Whether a realised policy is further from the requested one than half a channel."""
    requested, realised, channels = (np.array(evaluation[key]) for key in ("requested", "realised", "channels"))
    whole = channels / realised  # of the dense network
    return bool((np.abs(requested - realised) * whole > 0.5 + 1e-4).any())


def _seed_everything(seed: int) -> None:
    """Seed the global generators as the harness does; torch only where somebody imported it."""
    random.seed(seed)
    np.random.seed(seed)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)

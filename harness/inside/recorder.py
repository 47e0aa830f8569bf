"""The recorder between an agent and the environment: counts, times, stores and replays evaluations, and stops."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import gymnasium
import numpy as np

from prunebench.envs.environment.channel_pruning import ChannelPruningEnv, Score
from prunebench.harness.record.journal import Line, Seconds

_TOLERANCE = 1e-6  # between a requested ratio and the recorded one


class EvaluationsExhausted(Exception):
    """Every evaluation of the run is spent. Raised by ``step``; a run ends with it as well as without."""


class ReplayMismatch(Exception):
    """An agent, begun again from its seed, did not ask for what it asked before."""


class Recorder(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Records each evaluation before the agent sees it, and allows no more of them than were paid for.

    **Replay**: the first ``len(past)`` evaluations are those of ``past``. They are checked, not written, and cost
    nothing: their scores are put back into the environment's memory.

    Args:
        env: the pruning environment.
        evaluations: how many the run may spend.
        past: lines of an earlier attempt.
        write: stores a line; it must be safe when this returns.
        watch: is called with each line, also those of ``past``.

    Attributes:
        pruning: the environment without its wrappers.
        count: evaluations spent.
        closing_seconds: the agent's time after its last evaluation, once :meth:`finish` was called.
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        evaluations: int,
        past: Sequence[Line] = (),
        write: Callable[[Line], None] = lambda line: None,
        watch: Callable[[Line], None] = lambda line: None,
    ) -> None:
        super().__init__(env)
        self.evaluations = evaluations
        self.count = 0
        self.closing_seconds = 0.0
        self._past = list(past)
        self._write, self._watch = write, watch
        self.pruning = cast(ChannelPruningEnv, env.unwrapped)
        self._scorer_seconds = self.pruning.evaluator.seconds
        self._first: dict[tuple[int, ...], int] = {}
        self._process = os.getpid()
        self._problem: ReplayMismatch | OSError | None = None  # raised at every further step, should it be swallowed
        self._left = 0.0  # when the agent was last given back control
        for line in self._past:
            self.pruning.memory[tuple(line.channels)] = Score(line.accuracy, line.loss)
        self._restart_clock()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode. Allowed after the last evaluation too: libraries reset before they look at the time."""
        with self._inside():
            return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Set one layer's ratio.

        Raises:
            EvaluationsExhausted: at the first step after the last paid episode.
            ReplayMismatch: the episode is not the recorded one.
            OSError: a line could not be written.
        """
        self._leave_copies()
        if self._problem:
            raise self._problem
        if self.count >= self.evaluations:
            raise EvaluationsExhausted(f"all {self.evaluations} evaluations are spent")
        with self._inside():
            result = self.env.step(action)
        if result[2]:
            self._record(result[4]["evaluation"])
            self._restart_clock()
        return result

    def finish(self) -> None:
        """The search is over.

        Raises:
            ReplayMismatch: it ended before it had asked for everything it asked before, or hid that it differs.
        """
        self._leave_copies()
        self.closing_seconds = time.perf_counter() - self._left
        if self.count < len(self._past):
            self._differs(f"the search ended after {self.count} of {len(self._past)} recorded evaluations")
        if self._problem:
            raise self._problem

    def _leave_copies(self) -> None:
        """Where an agent forks and both go on, the search is the first process's: two would write the same lines."""
        if os.getpid() != self._process:
            os._exit(1)

    def _record(self, evaluation: dict[str, Any]) -> None:
        if self.count < len(self._past):
            line = self._past[self.count]
            self._compare(line, evaluation)
        else:
            line = self._line(evaluation)
            try:
                self._write(line)
            except OSError as error:
                self._problem = error
                raise
        self._first.setdefault(tuple(line.channels), self.count)
        self.count += 1
        self._watch(line)

    def _line(self, evaluation: dict[str, Any]) -> Line:
        spent = {name: now - self._scorer_before[name] for name, now in self._scorer_seconds.items()}
        seconds = {"agent": self._agent, **spent, "environment": self._environment - sum(spent.values())}
        return Line(
            index=self.count,
            **evaluation,
            probe=self.pruning.probe,
            repeat_of=self._first.get(tuple(evaluation["channels"])),
            seconds=Seconds(**seconds),
        )

    def _compare(self, line: Line, evaluation: dict[str, Any]) -> None:
        same = np.allclose(line.requested, evaluation["requested"], rtol=0, atol=_TOLERANCE)
        if not (same and line.channels == evaluation["channels"] and line.probe == self.pruning.probe):
            self._differs(f"evaluation {self.count} is of another policy than the recorded one")

    def _differs(self, how: str) -> None:
        self._problem = ReplayMismatch(how)
        raise self._problem

    @contextmanager
    def _inside(self) -> Iterator[None]:
        entered = time.perf_counter()
        self._agent += entered - self._left
        yield
        self._left = time.perf_counter()
        self._environment += self._left - entered

    def _restart_clock(self) -> None:
        self._agent = self._environment = 0.0
        self._scorer_before = dict(self._scorer_seconds)
        self._left = time.perf_counter()

"""Control: random policies on the budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunebench.agents.base import AskTellAgent
from prunebench.agents.parts.seen import Seen
from prunebench.envs.environment.budget import Budget, Counts


class RandomSearchAgent(AskTellAgent):
    """Preserve ratios uniform in [lower bound, 1], each policy projected onto the budget.

    The projection is made here, in both budget modes: behind the wall alone a random policy
    would spend the budget on the first layers, and a control must not be weak for that reason. For the same reason
    no policy is asked for twice.
    """

    def setup(self, info: Mapping[str, Any], evaluations: int) -> None:
        """Read the budget; make the generator."""
        self._budget = Budget.from_info(info)
        self._rng = np.random.default_rng(self.seed)
        self._seen = Seen(self._budget, self._rng)

    def ask(self) -> NDArray[np.float64]:
        """The next policy ``(D,)``."""
        return self._budget.ratios(self._seen.first(self._draw))

    def tell(self, evaluation: Mapping[str, Any]) -> None:
        """Remember the policy."""
        self._seen.add(evaluation["channels"])

    def _draw(self, number: int) -> Counts:
        return self._budget.project(self._rng.uniform(self._budget.lower_bound, 1.0, len(self._budget.channels)))

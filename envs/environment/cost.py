"""Closed-form costs (MACs, parameters) of a pruned network from its channel counts. Pure NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class CostModel:
    """A cost that is a sum of products of two affine functions of the channel counts.

    With ``n`` the kept channels of the ``D`` prunable layers and ``n' = (1, n)``::

        cost(n) = sum_m weight[m] * (inputs[m] . n') * (outputs[m] . n')

    One term per convolution, linear layer or batch norm: a convolution costs ``h w k^2 c_in c_out``
    MACs, where ``c_in`` and ``c_out`` are constants or channel counts.

    Attributes:
        weight: ``(M,)``, cost units (MACs or parameters).
        inputs: ``(M, D + 1)``; column 0 is the constant part.
        outputs: ``(M, D + 1)``.
    """

    weight: NDArray[np.float64]
    inputs: NDArray[np.float64]
    outputs: NDArray[np.float64]

    def __call__(self, counts: ArrayLike) -> Any:
        """Cost of channel counts ``(..., D)``; returns ``(...)``. Fractional counts are allowed."""
        n = np.asarray(counts, dtype=np.float64)
        n_in = self.inputs[:, 0] + n @ self.inputs[:, 1:].T
        n_out = self.outputs[:, 0] + n @ self.outputs[:, 1:].T
        return (n_in * n_out) @ self.weight

    def to_arrays(self) -> dict[str, NDArray[np.float64]]:
        """The coefficients as plain arrays, as they stand in ``info["cost"]``."""
        return {"weight": self.weight, "inputs": self.inputs, "outputs": self.outputs}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> CostModel:
        """The inverse of :meth:`to_arrays`; other keys are ignored."""
        return cls(*(np.asarray(arrays[key], dtype=np.float64) for key in ("weight", "inputs", "outputs")))

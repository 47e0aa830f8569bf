"""Closed-form costs (MACs, parameters) of a pruned network from its channel counts. Pure NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
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
        constant, linear, products = self._quadratic
        return constant + n @ linear + np.einsum("...d,...d", n @ products, n)

    def change(self, counts: ArrayLike, by: ArrayLike) -> NDArray[np.float64]:
        """What each layer alone, of ``by`` ``(..., D)`` channels more, adds to the cost of ``counts`` ``(D,)``."""
        _, linear, products = self._quadratic
        more, now = np.asarray(by, dtype=np.float64), np.asarray(counts, dtype=np.float64)
        added: NDArray[np.float64] = more * (linear + self.coupling @ now) + more**2 * np.diag(products)
        return added

    @cached_property
    def coupling(self) -> NDArray[np.float64]:
        """``(D, D)``: what a channel more of one layer adds to a channel's :meth:`change` of another."""
        products = self._quadratic[2]
        return products + products.T

    @cached_property
    def whole(self) -> bool:
        """Whether it is a whole number for whole channels: then no sum of it is rounded."""
        return all(bool((part == np.floor(part)).all()) for part in (self.weight, self.inputs, self.outputs))

    @cached_property
    def _quadratic(self) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
        """The terms added up: constant, linear part ``(D,)`` and products ``(D, D)``; there are fewer than terms."""
        whole = (self.inputs * self.weight[:, None]).T @ self.outputs
        return float(whole[0, 0]), whole[0, 1:] + whole[1:, 0], whole[1:, 1:]

    def to_arrays(self) -> dict[str, NDArray[np.float64]]:
        """The coefficients as plain arrays, as they stand in ``info["cost"]``."""
        return {"weight": self.weight, "inputs": self.inputs, "outputs": self.outputs}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> CostModel:
        """The inverse of :meth:`to_arrays`; other keys are ignored."""
        return cls(*(np.asarray(arrays[key], dtype=np.float64) for key in ("weight", "inputs", "outputs")))

"""The likelihood and the posterior of BoTorch's exact Gaussian processes in a few operations each.

GPyTorch builds both from lazy parts, which take several times as long as the arithmetic of a hundred observations. The
numbers are the same but for rounding.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import torch
from botorch.models import SingleTaskGP
from gpytorch.kernels import RBFKernel, ScaleKernel
from linear_operator.utils.cholesky import psd_safe_cholesky
from torch import Tensor

_LEAST = 1e-30  # of a squared distance, whose root has a gradient there
_LEAST_VARIANCE = 1e-10  # GPyTorch's, too


class ExactProcess:
    """A model's inputs and outcomes, and what its present hyperparameters make of them.

    Args:
        model: of one outcome, without transforms; Matern-5/2 or squared exponential, with or without an output scale.

    Raises:
        TypeError: it has another kernel.
    """

    def __init__(self, model: SingleTaskGP) -> None:
        self._model: Any = model
        kernel: Any = model.covar_module
        self._scaled = kernel if isinstance(kernel, ScaleKernel) else None
        self._kernel: Any = kernel if self._scaled is None else kernel.base_kernel
        if not isinstance(self._kernel, RBFKernel) and getattr(self._kernel, "nu", None) != 2.5:
            raise TypeError(f"{type(self._kernel).__name__}: expected RBFKernel, or MaternKernel with nu 2.5")
        (self._inputs,) = model.train_inputs
        self._centre = self._inputs.mean(dim=0)
        self._one = torch.eye(len(self._inputs), dtype=self._inputs.dtype)

    def log_likelihood(self) -> Tensor:
        """Log marginal likelihood of the outcomes with the priors of the hyperparameters, per observation."""
        factor = self._factorised()
        whitened = torch.linalg.solve_triangular(factor, self._away()[:, None], upper=False)
        count = len(self._inputs)
        value = -(whitened**2).sum() / 2 - factor.diagonal().log().sum() - count * math.log(2 * math.pi) / 2
        for _, module, prior, closure, _ in self._model.named_priors():
            value = value + prior.log_prob(closure(module)).sum()
        return value / count

    def predict(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance ``(m,)``, without noise, of the outcomes at ``points`` ``(m, d)``."""
        factor, weights = self._posterior
        with torch.no_grad():
            across = self._covariance(points)
            known = torch.linalg.solve_triangular(factor, across.T, upper=False)
            scale = 1.0 if self._scaled is None else self._scaled.outputscale
            variance = (scale - (known**2).sum(dim=0)).clamp_min(_LEAST_VARIANCE)
            return self._model.mean_module(points) + across @ weights, variance

    @cached_property
    def _posterior(self) -> tuple[Tensor, Tensor]:
        """The Cholesky factor of the noisy outcomes' covariance, and what it makes of them."""
        with torch.no_grad():
            factor = self._factorised()
            return factor, torch.cholesky_solve(self._away()[:, None], factor)[:, 0]

    def _away(self) -> Tensor:
        """The outcomes less the prior's mean."""
        away: Tensor = self._model.train_targets - self._model.mean_module(self._inputs)
        return away

    def _factorised(self) -> Tensor:
        noisy = self._covariance(self._inputs) + self._model.likelihood.noise * self._one
        factor: Tensor = psd_safe_cholesky(noisy)
        return factor

    def _covariance(self, points: Tensor) -> Tensor:
        """Prior covariance of ``points`` ``(m, d)`` and the inputs: ``(m, n)``."""
        one, other = ((x - self._centre) / self._kernel.lengthscale for x in (points, self._inputs))
        squares = (one**2).sum(dim=1)[:, None] + (other**2).sum(dim=1) - 2 * one @ other.T
        if isinstance(self._kernel, RBFKernel):
            correlation = (squares.clamp_min(0) / -2).exp()
        else:
            root = squares.clamp_min(_LEAST).sqrt() * math.sqrt(5)
            correlation = (1 + root + root**2 / 3) * (-root).exp()
        return correlation if self._scaled is None else self._scaled.outputscale * correlation

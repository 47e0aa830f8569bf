"""The Gaussian processes behind the BO agents, and their fast refit."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from botorch.exceptions.warnings import BotorchWarning
from botorch.models import SingleTaskGP
from botorch.models.utils.gpytorch_modules import (
    get_gaussian_likelihood_with_gamma_prior,
    get_matern_kernel_with_gamma_prior,
)
from botorch.optim.closures.core import ForwardBackwardClosure
from botorch.optim.fit import fit_gpytorch_mll_scipy
from botorch.utils.transforms import standardize
from gpytorch import settings
from gpytorch.constraints import GreaterThan, Interval
from gpytorch.kernels import MaternKernel, ScaleKernel
from gpytorch.likelihoods import GaussianLikelihood
from gpytorch.means import ZeroMean
from gpytorch.mlls import ExactMarginalLogLikelihood
from linear_operator.utils.warnings import NumericalWarning
from numpy.typing import ArrayLike
from torch import Tensor

from prunebench.agents.parts.exact_process import ExactProcess

MOST_NOISE = 1e6  # GPyOpt's bound

Build = Callable[[Tensor, Tensor], SingleTaskGP]
PresetName = Literal["modern", "botorch2021", "gpyopt2021"]


def modern(x: Tensor, y: Tensor) -> SingleTaskGP:
    """BoTorch's default.

    A squared-exponential kernel with a lengthscale per dimension under a lognormal prior that grows with the dimension
    (Hvarfner et al. 2024, eq. 5), a constant mean, an inferred noise.
    """
    return SingleTaskGP(x, y, outcome_transform=None)


def botorch2021(x: Tensor, y: Tensor) -> SingleTaskGP:
    """BoTorch's default until 2024: Matern-5/2 with a lengthscale per dimension, Gamma priors, a constant mean."""
    return SingleTaskGP(
        x,
        y,
        likelihood=get_gaussian_likelihood_with_gamma_prior(),
        covar_module=get_matern_kernel_with_gamma_prior(ard_num_dims=x.shape[-1]),
        outcome_transform=None,
    )


def gpyopt2021(x: Tensor, y: Tensor) -> SingleTaskGP:
    """GPyOpt's default: Matern-5/2 with one lengthscale for all dimensions, no priors, mean 0, an inferred noise.

    Its hyperparameters are bounded more closely than theirs: else fits of smooth rewards and of mere noise go without
    end to where no matrix has a Cholesky factor.
    """
    return SingleTaskGP(
        x,
        y,
        likelihood=GaussianLikelihood(noise_constraint=GreaterThan(1e-6, initial_value=0.01)),
        covar_module=ScaleKernel(
            MaternKernel(nu=2.5, lengthscale_constraint=GreaterThan(0.005, initial_value=1.0)),
            outputscale_constraint=Interval(0.01, 100.0, initial_value=1.0),
        ),
        mean_module=ZeroMean(),
        outcome_transform=None,
    )


def _parameters(model: SingleTaskGP) -> list[tuple[str, Any, Any]]:
    """Name, raw value and constraint (or None) of every hyperparameter."""
    named: Any = model.named_parameters_and_constraints  # as untyped as torch leaves it
    return list(named())


def in_log_space(model: SingleTaskGP) -> SingleTaskGP:
    """The same model with the logarithms of its positive hyperparameters as what a fit moves.

    In BoTorch's own coordinates (the lengthscales themselves) a fit of 50 dimensions takes hundreds of iterations:
    those of unimportant dimensions are a hundred times larger than the others (docs/agents/bo.md has the figures).
    """
    for name, raw, constraint in _parameters(model):
        if constraint is None or constraint.upper_bound.isfinite():  # between two bounds, it is a sigmoid's already
            continue
        path, _, raw_name = name.rpartition(".")
        module: Any = model.get_submodule(path)
        value, least = constraint.transform(raw.detach()), constraint.lower_bound.item()
        logarithmic = GreaterThan(least, transform=torch.exp, inv_transform=torch.log)
        module.register_constraint(raw_name, logarithmic, replace=True)
        module.initialize(**{raw_name: logarithmic.inverse_transform(value.clamp_min(1.001 * least))})
    return model


@contextmanager
def tolerant() -> Iterator[None]:
    """Let a search get through constant rewards, fits that end early, and policies so near each other that a matrix has
    no Cholesky factor without up to 0.1 on its diagonal (as much as GPy allows; BoTorch stops at 1e-3)."""
    with warnings.catch_warnings(), settings.cholesky_max_tries(8):
        warnings.simplefilter("ignore", BotorchWarning)
        warnings.simplefilter("ignore", NumericalWarning)
        yield


@dataclass(frozen=True)
class Preset:
    """A model, how it is fitted, and what is done with it.

    Attributes:
        build: the model of inputs ``(n, d)`` and standardised outcomes ``(n, 1)``.
        iterations: most iterations of L-BFGS in the first fit and in each later one, which starts where the last ended.
        restarts: further fits at every step, from random hyperparameters; the likeliest counts.
        jitter: least size of an improvement that counts, in standard deviations of the rewards.
        on_budget: whether proposals are policies on budget, and realised policies are the model's inputs; else the
            proposals are anywhere in the box, the environment cuts them, and requested policies are the inputs.
    """

    build: Build
    iterations: tuple[int, int] = (200, 20)
    restarts: int = 0
    jitter: float = 0.0
    on_budget: bool = True


PRESETS: dict[str, Preset] = {
    "modern": Preset(modern),
    "botorch2021": Preset(botorch2021),
    "gpyopt2021": Preset(gpyopt2021, iterations=(1000, 1000), restarts=4, jitter=0.01, on_budget=False),
}


class Surrogate:
    """A Gaussian process that is refitted from where its last fit ended.

    Args:
        preset: the model and the effort of a fit.
        rng: draws the hyperparameters of restarts.

    Attributes:
        state: the last fit's hyperparameters, or None before the first.
    """

    def __init__(self, preset: Preset, rng: np.random.Generator) -> None:
        self._preset = preset
        self._rng = rng
        self.state: dict[str, Any] | None = None

    def fit(self, inputs: ArrayLike, rewards: ArrayLike) -> SingleTaskGP:
        """Fit to ``inputs`` ``(n, d)`` in [0, 1] and ``rewards`` ``(n,)``; ``d`` must stay the same between calls.

        Returns:
            The model in evaluation mode, in float64. Its outcomes are the *standardised* rewards
            (``model.train_targets``); all zero where the rewards are constant.
        """
        x = torch.as_tensor(np.asarray(inputs, dtype=np.float64))
        y = torch.as_tensor(np.asarray(rewards, dtype=np.float64))[:, None]
        y = standardize(y) if len(y) > 1 else torch.zeros_like(y)
        with tolerant():
            models = [self._fitted(x, y, restart) for restart in range(1 + self._preset.restarts)]
            model = models[0] if len(models) == 1 else max(models, key=log_likelihood)
        self.state = model.state_dict()
        return model

    def _fitted(self, x: Tensor, y: Tensor, restart: int) -> SingleTaskGP:
        model = in_log_space(self._preset.build(x, y))
        if restart:
            self._randomise(model)
        elif self.state is not None:
            model.load_state_dict(self.state)
        iterations = self._preset.iterations[self.state is not None]
        mll, process = ExactMarginalLogLikelihood(model.likelihood, model), ExactProcess(model)
        moved = {name: raw for name, raw in mll.named_parameters() if raw.requires_grad}
        closure = ForwardBackwardClosure(lambda: -process.log_likelihood(), moved)
        # Not fit_gpytorch_mll: where a line search gives up, that begins again from samples of the priors, or raises.
        fit_gpytorch_mll_scipy(mll, moved, closure=closure, options={"maxiter": iterations})
        return model.eval()

    def _randomise(self, model: SingleTaskGP) -> None:
        """GPy's restarts: standard normal values, of positive hyperparameters through ``log(1 + exp(value))``.

        The noise, which GPyOpt bounds by a million, GPy draws through a logistic: about half of that.
        """
        for name, raw, constraint in _parameters(model):
            value = torch.as_tensor(self._rng.standard_normal(tuple(raw.shape)))
            if constraint is not None:
                noise = name.startswith("likelihood")
                inside = MOST_NOISE * value.sigmoid() if noise else torch.nn.functional.softplus(value)
                value = constraint.inverse_transform(
                    inside.clamp(1.001 * constraint.lower_bound, 0.999 * constraint.upper_bound)
                )
            raw.data.copy_(value)


def log_likelihood(model: SingleTaskGP) -> float:
    """Log marginal likelihood of a fitted model, with its priors, per observation."""
    with torch.no_grad():
        return float(ExactProcess(model).log_likelihood())

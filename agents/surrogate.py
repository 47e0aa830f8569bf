"""The Gaussian process behind the BO agents, and its fast refit."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from botorch.exceptions.warnings import InputDataWarning, OptimizationWarning
from botorch.fit import fit_gpytorch_mll
from botorch.models import SingleTaskGP
from botorch.utils.transforms import standardize
from gpytorch.mlls import ExactMarginalLogLikelihood
from numpy.typing import ArrayLike

FIRST_ITERATIONS = 200
REFIT_ITERATIONS = 20


class Surrogate:
    """BoTorch's ``SingleTaskGP`` with its default priors, refitted from where the last fit ended.

    The defaults are a squared-exponential kernel with one lengthscale per dimension under a
    lognormal prior that grows with the dimension (Hvarfner et al. 2024), a constant mean and an
    inferred noise. The first fit may take 200 L-BFGS iterations; each later one starts at the last
    one's hyperparameters and takes at most 20.
    """

    def __init__(self) -> None:
        self._state: dict[str, Any] | None = None

    def fit(self, inputs: ArrayLike, rewards: ArrayLike) -> SingleTaskGP:
        """Fit to ``inputs`` ``(n, d)`` in [0, 1] and ``rewards`` ``(n,)``; ``d`` must stay the same between calls.

        Returns:
            The model in evaluation mode, in float64. Its outcomes are the *standardised* rewards
            (``model.train_targets``); all zero where the rewards are constant.
        """
        x = torch.as_tensor(np.asarray(inputs, dtype=np.float64))
        y = torch.as_tensor(np.asarray(rewards, dtype=np.float64))[:, None]
        y = standardize(y) if len(y) > 1 else torch.zeros_like(y)
        with warnings.catch_warnings():
            # Constant rewards have no unit variance; a fit cut short at the iteration limit is meant.
            warnings.simplefilter("ignore", InputDataWarning)
            warnings.simplefilter("ignore", OptimizationWarning)
            model = SingleTaskGP(x, y, outcome_transform=None)
            if self._state is not None:
                model.load_state_dict(self._state)
            iterations = FIRST_ITERATIONS if self._state is None else REFIT_ITERATIONS
            fit_gpytorch_mll(
                ExactMarginalLogLikelihood(model.likelihood, model),
                optimizer_kwargs={"options": {"maxiter": iterations}},
            )
        self._state = model.state_dict()
        return model

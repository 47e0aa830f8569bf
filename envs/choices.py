"""The choices of a task's options, by name; imports none of our modules: the command line checks names at once."""

from __future__ import annotations

from dataclasses import dataclass

SCOPES = {
    "inner": "channels inside a block, as in the papers",
    "all": "also channels that shortcuts tie, one dimension for all that are tied",
}


@dataclass(frozen=True)
class Criterion:
    """A way to tell which channels are kept first.

    Attributes:
        meaning: in words.
        function: its function, as ``package.module:function``; called with the
            :class:`prunebench.envs.pruning.network.PrunableNetwork`, batches of normalised calibration images and
            labels, and a seed, it returns the scores of every prunable layer's channels, ``(channels,)`` each.
    """

    meaning: str
    function: str


CRITERIA = {
    "consumer-l1": Criterion(
        "sum of |W| over the outputs and the kernel of the consuming layers (AMC, BOCR)",
        "prunebench.envs.pruning.criteria:consumer_l1",
    ),
    "l2": Criterion(
        "squared L2 norm over the whole group of coupled weights (DepGraph, Fang et al. 2023)",
        "prunebench.envs.pruning.criteria:group_l2",
    ),
    "bn-scale": Criterion(
        "|gamma| of the batch norms (network slimming, Liu et al. 2017)",
        "prunebench.envs.pruning.criteria:bn_scale",
    ),
    "fpgm": Criterion(
        "distance of a filter to the others of its layer (geometric median, He et al. 2019, eq. 6)",
        "prunebench.envs.pruning.criteria:fpgm",
    ),
    "taylor": Criterion(
        "first-order Taylor expansion |sum W dL/dW| over the group (Molchanov et al. 2019, eq. 7)",
        "prunebench.envs.pruning.criteria:taylor",
    ),
    "random": Criterion("a random order, fixed by the split seed", "prunebench.envs.pruning.criteria:random_order"),
}


@dataclass(frozen=True)
class Reconstruction:
    """What is done to a pruned network before it is scored.

    Attributes:
        meaning: in words.
        refits: whether layers that read pruned channels are refitted by least squares.
        recomputes: whether batch norm takes its statistics anew, on calibration images.
    """

    meaning: str
    refits: bool = False
    recomputes: bool = False


RECONSTRUCTIONS = {
    "least-squares": Reconstruction("refit the layers that read pruned channels, as in AMC", refits=True),
    "batch-norm": Reconstruction(
        "recompute batch-norm statistics on calibration images, for every policy", recomputes=True
    ),
    "both": Reconstruction("refit, then recompute", refits=True, recomputes=True),
    "none": Reconstruction("leave the remaining weights as they are"),
}

DEVICES = ("cpu", "cuda")

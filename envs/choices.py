"""The choices of a task's options, by name; imports nothing, so that the command line can check names at once."""

SCOPES = {
    "inner": "channels inside a block, as in the papers",
    "all": "also channels that shortcuts tie, one dimension for all that are tied",
}

CRITERIA = {
    "consumer-l1": "sum of |W| over the outputs and the kernel of the consuming layers (AMC, BOCR)",
    "l2": "squared L2 norm over the whole group of coupled weights (DepGraph, Fang et al. 2023)",
    "bn-scale": "|gamma| of the batch norms (network slimming, Liu et al. 2017)",
    "fpgm": "distance of a filter to the others of its layer (geometric median, He et al. 2019, eq. 6)",
    "taylor": "first-order Taylor expansion |sum W dL/dW| over the group (Molchanov et al. 2019, eq. 7)",
    "random": "a random order, fixed by the split seed",
}

RECONSTRUCTIONS = {
    "least-squares": "refit the layers that read pruned channels, as in AMC",
    "batch-norm": "recompute batch-norm statistics on calibration images, for every policy",
    "both": "refit, then recompute",
    "none": "leave the remaining weights as they are",
}

DEVICES = ("cpu", "cuda")

"""One thread everywhere, a cache directory of its own, and checkpoints with random weights."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ and hasattr(os, "sched_setaffinity"):
    own = sorted(os.sched_getaffinity(0))
    # A core for each worker and what it starts: threads of one that wait for each other take all day beside the others.
    os.sched_setaffinity(0, {own[int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw")) % len(own)]})
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"  # before any test imports torch


LONGEST = (
    *("test_end_to_end", "test_network", "test_networks_end_to_end", "test_contract", "test_plugin", "test_bench"),
    *("test_report", "test_wheel", "test_api", "test_verification", "test_small", "test_finetune", "test_verify"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first, so that workers end at about the same time."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


@pytest.fixture(scope="session", autouse=True)
def cache_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cache")
    os.environ["PRUNEBENCH_CACHE"] = str(path)
    return path


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Path of a checkpoint of the named network: random weights, batch-norm statistics that are not trivial."""
    from randomnets import random_network

    folder = tmp_path_factory.mktemp("weights")

    def make(name: str) -> str:
        import torch

        path = folder / f"{name}.pt"
        if not path.exists():
            torch.save(random_network(name).state_dict(), path)
        return str(path)

    return make

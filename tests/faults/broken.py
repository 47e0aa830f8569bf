"""A part of the harness that fails, to be put into the command."""

from __future__ import annotations

from typing import Any


def measure_latency(report: Any, config: Any, policies: Any) -> None:
    """For :func:`prunebench.harness.inside.run.measure_latency`."""
    raise ZeroDivisionError("no clock")


CODE = (
    "from functools import partial; from prunebench.harness.commands import bench; from faults import broken; "
    "bench.bench = partial(bench.bench, measure_latency=broken.measure_latency); "
    "from prunebench.harness.cli import main; main()"
)
"""What starts the command with it."""

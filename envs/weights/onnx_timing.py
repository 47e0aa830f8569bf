"""Seconds of ONNX files in onnxruntime, in pairs: a drift of the machine hits both of a pair alike."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunebench.envs.progress import Progress, silent

_LEAST = 0.02  # seconds that are timed at once: a single image may take less than the clock is worth

Seconds = NDArray[np.float64]


def paired(
    files: Sequence[Path], pixels: NDArray[np.float32], threads: int, rounds: int, progress: Progress = silent
) -> Seconds:
    """Seconds per batch: ``(rounds, files)``; every round runs all files, in an order that turns.

    Args:
        files: networks with one input, as :func:`prunebench.envs.weights.export.write_onnx` writes them.
        pixels: the batch, ``(N, C, H, W)``, normalised.
        threads: of every network.
        rounds: times that each is timed.
        progress: see :mod:`prunebench.envs.progress`.
    """
    sessions = [_session(path, threads) for path in files]
    times = [max(1, round(_LEAST / max(_seconds(session, pixels, 2), 1e-9))) for session in sessions]
    taken = np.zeros((rounds, len(files)))
    for number in range(rounds):
        progress("timing in onnxruntime", number, rounds)
        for place in range(len(files)):
            which = (place + number) % len(files)
            taken[number, which] = _seconds(sessions[which], pixels, times[which])
    progress("timing in onnxruntime", rounds, rounds)
    return taken


def _session(path: Path, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _seconds(session: Any, pixels: NDArray[np.float32], times: int) -> float:
    given = {session.get_inputs()[0].name: pixels}
    session.run(None, given)  # warms up
    started = time.perf_counter()
    for _ in range(times):
        session.run(None, given)
    return (time.perf_counter() - started) / times

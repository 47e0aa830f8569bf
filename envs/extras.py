"""The parts of prunebench that an extra installs: which libraries each needs, and what to say where one is missing."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping

from prunebench.envs.errors import TaskError

EXTRAS: Mapping[str, tuple[str, ...]] = {
    "baselines": ("cmaes", "optuna"),
    "export": ("onnx", "onnxscript", "onnxruntime"),
    "track": ("tensorboard", "mlflow", "optuna"),
    "ray": ("ray",),
    "timm": ("timm",),
}
"""Top-level modules by the extras that install them, as in ``pyproject.toml``."""


def check(what: str, extra: str) -> None:
    """Raise TaskError, with how to install it, unless the libraries of an extra are there; imports nothing."""
    for module in EXTRAS[extra]:
        if not installed(module):
            raise TaskError(missing(what, module))


def installed(module: str) -> bool:
    """Whether a module is there; imports nothing."""
    return importlib.util.find_spec(module) is not None


def missing(what: str, module: str | None) -> str:
    """What to say of something that needs a module of an extra which is not installed; empty for any other module."""
    root = (module or "").partition(".")[0]
    extra = next((extra for extra, modules in EXTRAS.items() if root in modules), None)
    return "" if extra is None else f'{what} needs {root}, which is not installed: pip install "prunebench[{extra}]"'

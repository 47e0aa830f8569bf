"""Loading a network's weights from a checkpoint file."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunebench.envs.errors import TaskError

if TYPE_CHECKING:
    from torch import nn

_AUXILIARY_HEADS = ("aux1", "aux2", "AuxLogits")  # of GoogLeNet and Inception: for training only, and left out
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(?=[12]\.)")  # in torchvision's files


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Load a checkpoint into a network: a state dict, plain or under ``state_dict`` or ``model``.

    Nothing in the file is executed (``weights_only=True``); tensors saved on a GPU come to the CPU. The prefix
    ``module.`` (DataParallel) and the old names of torchvision's DenseNet files are translated; auxiliary heads that
    the network was built without are left out.

    Raises:
        TaskError: the file is not such a checkpoint, or its keys or shapes are not the network's, which may then be
            half loaded.
    """
    content = _read(Path(path))
    expected = model.state_dict()
    named = {_current_key(key, expected): value for key, value in content.items()}
    state = {key: value for key, value in named.items() if not _of_left_out_head(key, model)}
    shapes = [key for key in state if key in expected and state[key].shape != expected[key].shape]
    fitting: Any = OrderedDict((key, value) for key, value in state.items() if key not in shapes)
    fitting._metadata = _versions(content) or getattr(expected, "_metadata", {})
    missing, unexpected = model.load_state_dict(fitting, strict=False)
    problems = [
        *_problem("missing keys", (k for k in missing if k not in shapes and not k.endswith("num_batches_tracked"))),
        *_problem("unexpected keys", unexpected),
        *_problem(
            "keys of another shape", shapes, lambda k: f"{k} {tuple(state[k].shape)} not {tuple(expected[k].shape)}"
        ),
    ]
    if problems:
        raise TaskError(f"weights {str(path)!r} are not of this network: {'; '.join(problems)}")


def _read(path: Path) -> Mapping[str, Any]:
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise TaskError(f"weights {str(path)!r} cannot be read as a checkpoint of plain tensors: {reason}") from error
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in content.items()
    ):
        raise TaskError(f"weights {str(path)!r} hold no state dict")
    return content


def _current_key(key: str, expected: Mapping[str, Any]) -> str:
    return key if key in expected else _OLD_DENSENET.sub(r"\1", key.removeprefix("module."))


def _of_left_out_head(key: str, model: nn.Module) -> bool:
    head = key.partition(".")[0]
    return head in _AUXILIARY_HEADS and getattr(model, head, model) is None


def _versions(content: Mapping[str, Any]) -> dict[str, Any]:
    """Version of every module as the file has it: torch lets modules translate what older versions saved."""
    versions = getattr(content, "_metadata", {})
    return {re.sub(r"^module(\.|$)", "", name): version for name, version in versions.items()}


def _problem(what: str, keys: Iterable[str], label: Callable[[str], str] = str) -> list[str]:
    keys = sorted(keys)
    shown = ", ".join(map(label, keys[:3])) + (", ..." if len(keys) > 3 else "")
    return [f"{len(keys)} {what} ({shown})"] if keys else []

"""What a network computes, as a hash: its modules, what is done with an image step by step, and what comes out.

Results that are kept go by it, and not by files of code: whatever changes what the network computes changes the hash,
wherever it was changed, and nothing else does.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

_DIGITS = 3  # of what comes out; the last bits differ between machines
_ADDRESS = re.compile(r"0x[0-9a-f]+")  # in texts of Python objects: another one in every process


def computed(model: nn.Module, size: int) -> str:
    """Hash of what a network computes in evaluation mode; its weights are seen in what comes out alone.

    The names, types and settings of the modules; every operation of PyTorch on the way of an image of ``size`` pixels
    per side, with its numbers, the tensors it reads, and the contents of those that are no parameters or buffers; and
    the logits of a fixed image, rounded. It does not depend on the number of threads.

    Args:
        model: the network on its device, with its weights; it is put into evaluation mode.
        size: pixels per side.

    Raises:
        Exception: whatever the network raises.
    """
    device = next((part.device for part in (*model.parameters(), *model.buffers())), torch.device("cpu"))
    noise = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0)).to(device)
    steps = _Steps(model, noise)
    with torch.no_grad(), _one_thread(), torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        model.eval()
        with steps:
            logits = model(noise)
        lines = [*_modules(model), *steps.lines, _rounded(logits)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


class _Steps(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Writes down what is done: a line per operation, wherever in Python or C++ it is called.

    A tensor goes by its name in the network, by the operation that made it, or else by its contents.
    """

    def __init__(self, model: nn.Module, image: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.lines: list[str] = []
        self._names = WeakIdKeyDictionary()
        kept = model.state_dict().keys()  # what a checkpoint does not hold goes by its contents
        for name, part in (*model.named_parameters(), *model.named_buffers()):
            if name in kept:
                self._names[part] = name
        self._names[image] = "image"

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        read = self._text([*args, *sorted(kwargs.items())])
        made = func(*args, **kwargs)
        for number, part in enumerate(made if isinstance(made, tuple | list) else [made]):
            if isinstance(part, Tensor):
                self._names[part] = f"{len(self.lines)}.{number}"
        self.lines.append(f"{func} {read}")
        return made

    def _text(self, value: Any) -> str:
        if isinstance(value, Tensor):
            if value not in self._names:
                self._names[value] = _contents(value)
            return str(self._names[value])
        if isinstance(value, tuple | list):
            return f"({', '.join(map(self._text, value))})"
        return _ADDRESS.sub("", repr(value))


def _contents(tensor: Tensor) -> str:
    plain = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return f"{tuple(tensor.shape)} {tensor.dtype} {hashlib.sha256(plain.tobytes()).hexdigest()}"


def _modules(model: nn.Module) -> Iterator[str]:
    for name, module in model.named_modules(remove_duplicate=False):
        kind = type(module)
        yield f"{name} {kind.__module__}.{kind.__qualname__} {_ADDRESS.sub('', module.extra_repr())}"


def _rounded(logits: Any) -> str:
    """A few digits of one number about all logits: more would now and then be rounded to either side."""
    if not isinstance(logits, Tensor):
        return type(logits).__name__
    flat = logits.detach().double().cpu().flatten()
    weights = torch.cos(torch.arange(len(flat), dtype=torch.float64))
    return f"{tuple(logits.shape)} {float(flat @ weights / flat.abs().max()):.{_DIGITS}f}"


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)

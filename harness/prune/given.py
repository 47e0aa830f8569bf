"""A live network and arrays, handed over to the processes of a search: as a module in the experiment's own folder.

The network is pickled whole by cloudpickle: its classes may have been typed at a prompt or in a notebook, and pruning
needs its layers as modules, which ``torch.export`` takes apart. Images are kept as bytes, as everywhere.
"""

from __future__ import annotations

import copy
import hashlib
import pickle
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from prunebench.envs.data.arrays import ArrayData
from prunebench.envs.data.imagedata import DataSettings
from prunebench.envs.files import whole
from prunebench.envs.importing import reason
from prunebench.harness.errors import ConfigError
from prunebench.harness.prune import pixels as forms
from prunebench.harness.prune.pixels import Colours

if TYPE_CHECKING:
    from torch import nn

NETWORK, IMAGES, WEIGHTS = "network.pkl", "images.npz", "weights.pt"
_SPLITS = ("train", "reward", "test")
_SOURCE = '''"""What prune() was given from Python, as the processes of a search find it."""

import pickle
from pathlib import Path

import numpy as np

_HERE = Path(__file__).parent


def network(num_classes):
    """The dense network."""
    with (_HERE / "network.pkl").open("rb") as file:
        return pickle.load(file)


def images():
    """The images of every split."""
    with np.load(_HERE / "images.npz") as file:
        splits = {name.partition("_")[0] for name in file if name != "classes"}
        found = {split: (file[f"{split}_pixels"], file[f"{split}_labels"]) for split in splits}
        return found | ({"classes": [str(name) for name in file["classes"]]} if "classes" in file else {})
'''


class Given:
    """What is handed over, checked; nothing is written before :meth:`write`.

    Args:
        model: a module, or the name of a network.
        data: arrays or torch data sets, or the name of a data set; see :func:`prunebench.harness.api.prune`.
        mean: of the colours, as the images were normalised.
        std: of the colours, likewise.

    Raises:
        ConfigError, TaskError: it cannot be handed over; one line says why.
    """

    def __init__(self, model: str | nn.Module, data: Any, mean: Colours, std: Colours) -> None:
        self._digest = hashlib.sha256()
        self._name = "given"
        self._network = None if isinstance(model, str) else self._pickled(model)
        self._images = None if isinstance(data, str) else self._arrays(data, mean, std)

    @property
    def files(self) -> bool:
        """Whether there is anything to write."""
        return self._network is not None or self._images is not None

    def names(self, folder: Path) -> dict[str, Any]:
        """The settings of a task that stand for it, once it is written into a folder."""
        found: dict[str, Any] = {}
        if self._network is not None:
            found = {"model": f"{self._module}:network", "weights": str(folder / WEIGHTS)}
        return found | ({} if self._images is None else {"dataset": f"{self._module}:images"})

    def write(self, folder: Path) -> None:
        """Write it into a folder, which is made. What is there of the same module is the same; of another one it goes.

        Only a call that was killed before its experiment began has left another one.
        """
        folder.mkdir(parents=True, exist_ok=True)
        source = _SOURCE.encode()
        others = [path for path in folder.glob("*.py") if path.stem != self._module and path.read_bytes() == source]
        for path in [*others, *(folder / name for name in (NETWORK, IMAGES, WEIGHTS) if others)]:
            path.unlink(missing_ok=True)
        if self._network is not None:
            import torch

            with whole(folder / NETWORK) as file:
                file.write(self._network)
            with whole(folder / WEIGHTS) as file:
                torch.save(self._state, file)
        if self._images is not None:
            with whole(folder / IMAGES) as file:
                np.savez(file, **self._images)  # type: ignore[arg-type]
        with whole(folder / f"{self._module}.py") as file:
            file.write(source)

    def check(self, size: int) -> None:
        """Raise ConfigError unless the network that the processes get says the same of an image of ``size`` pixels.

        What the network itself raises is left to the search, which says more of it.
        """
        if self._network is None:
            return
        import torch

        from prunebench.envs.networks.baked import example_image

        with torch.no_grad(), suppress(RuntimeError):
            here, there = (model(example_image(size)) for model in (self._own, pickle.loads(self._network)))
            if not torch.allclose(here, there, equal_nan=True):
                raise ConfigError(
                    f"model {type(self._own).__name__}: it computes something else each time, or once it was saved and "
                    "read again: expected a network that is the same in every process"
                )

    @property
    def _module(self) -> str:
        """A module of another name for whatever is other: Python keeps a module that it has imported."""
        return f"{self._name}_{self._digest.hexdigest()[:8]}"

    def _pickled(self, model: nn.Module) -> bytes:
        import torch
        from torch import nn

        from prunebench.envs.networks.baked import unwrapped

        if not isinstance(model, nn.Module):
            raise ConfigError(f"model is {type(model).__name__}: expected a torch.nn.Module, or a network's name")
        own = copy.deepcopy(unwrapped(model)).cpu().eval()
        content = _dumped(own)
        self._own, self._state = own, own.state_dict()
        self._name = re.sub(r"\W|^_+", "", type(model).__name__.lower(), flags=re.ASCII) or "given"
        self._digest.update(repr(own).encode())
        for part in own.modules():  # a class that was typed anew may have the same weights and look the same
            code = getattr(type(part).forward, "__code__", None)
            if code is not None:
                constants = [constant for constant in code.co_consts if isinstance(constant, str | float | int | tuple)]
                self._digest.update(code.co_code + repr((code.co_names, constants)).encode())
        for name, tensor in self._state.items():
            self._digest.update(name.encode())
            self._digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return content

    def _arrays(self, data: Any, mean: Colours, std: Colours) -> dict[str, NDArray[Any]]:
        found: dict[str, Any] = dict(_mapping(data))
        splits = {name: forms.split(name, found[name], mean, std) for name in _SPLITS if name in found}
        ArrayData("data", lambda: found | splits, DataSettings())  # whatever else is wrong is said now
        arrays: dict[str, NDArray[Any]] = {}
        for name, (pixels, labels) in splits.items():
            arrays |= {f"{name}_pixels": pixels, f"{name}_labels": labels}
        if "classes" in found:
            arrays["classes"] = np.asarray([str(name) for name in found["classes"]])
        for name, array in arrays.items():
            self._digest.update(f"{name} {array.shape}".encode())
            self._digest.update(np.ascontiguousarray(array).tobytes())
        return arrays


def _mapping(data: Any) -> Mapping[str, Any]:
    if isinstance(data, Mapping):
        return data
    if isinstance(data, tuple | list) and len(data) == 2:
        return {"train": data[0], "test": data[1]}
    raise ConfigError(
        f"data is {type(data).__name__}: expected the name of a data set, a mapping with train and test, or the pair "
        "(train, test)"
    )


def _dumped(model: nn.Module) -> bytes:
    import cloudpickle

    try:
        return cloudpickle.dumps(model)
    except Exception as error:  # whatever a module of the user's holds
        raise ConfigError(
            f"model {type(model).__name__} cannot be handed to other processes ({reason(error)}): name it as "
            "package.module:function, with weights="
        ) from error

"""Reads checkpoint files, of torch.save and of safetensors, without running anything that is in them."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from prunebench.envs.errors import TaskError

SAVE = "torch.save(model.state_dict(), 'weights.pt')"
"""The line that saves weights so that they can be read."""
_ZIP = b"PK\x03\x04"
_NO_CHECKPOINTS = (  # how files begin that are often there in a checkpoint's place, and what to say of them
    (b"version https://git-lfs", "are a pointer of Git LFS, not the file itself: `git lfs pull` fetches it"),
    (b"/annex/objects", "are a pointer of git-annex, not the file itself: `git annex get` fetches it"),
    (b"<", "are a web page (HTML or XML), not a checkpoint: download the file itself"),
    (b"\x1f\x8b", "are compressed (gzip): unpack the file"),
    (b"\x89HDF", f"are an HDF5 file, not a checkpoint of PyTorch: expected one made with {SAVE}"),
)
_LONGEST_HEADER = 100_000_000  # bytes, of safetensors
_NEVER_FILLED = ("numpy.", "torch.", "pathlib.", "_codecs.")  # packages whose objects are no mappings


class Unloaded:
    """Takes the place of an object whose class is not plain data; neither the class nor what makes the object runs.

    Attributes:
        network: whether it was a whole network.
    """

    network = False

    def __new__(cls, *_: Any, **__: Any) -> Unloaded:
        """An object of nothing."""
        return object.__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __setstate__(self, state: Any) -> None:
        self.network = isinstance(state, Mapping) and {"_parameters", "_modules"} <= set(state)


def read(path: Path) -> Any:
    """What a checkpoint file holds: plain values and tensors, on the CPU; anything else as :class:`Unloaded`.

    Raises:
        TaskError: it is no checkpoint, or a damaged one.
    """
    where = f"weights {str(path)!r}"
    head = _head(path, where)
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= _LONGEST_HEADER:
        return _read_safetensors(path, where)
    for beginning, what in _NO_CHECKPOINTS:
        if head.lstrip().startswith(beginning):
            raise TaskError(f"{where} {what}")
    if head.startswith(_ZIP):
        _check_archive(path, where)
    return _read_torch(path, where)


def described(value: Any) -> str:
    """What a value of a checkpoint is, in a few words."""
    name = type(value).__name__
    if isinstance(value, Unloaded):
        return f"a whole network, {name}" if value.network else f"an object of {name}"
    return "keys and values" if isinstance(value, Mapping) else name


def _head(path: Path, where: str) -> bytes:
    if path.is_dir():
        raise TaskError(f"{where}: is a folder, expected a file")
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise TaskError(f"{where} cannot be read: {error.strerror or error}") from error
    if not head:
        raise TaskError(f"{where}: the file is empty")
    return head


def _read_safetensors(path: Path, where: str) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise TaskError(f"{where} cannot be read as safetensors, perhaps cut off: {_line(error)}") from error


def _check_archive(path: Path, where: str) -> None:
    if not zipfile.is_zipfile(path):
        raise TaskError(f"{where}: the file is cut off, its end is missing: copy or download it again")
    with suppress(OSError, zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
        names = {name.rpartition("/")[2] for name in archive.namelist()}
        if "constants.pkl" in names:
            raise TaskError(f"{where} are TorchScript, a program: save the weights of its network with {SAVE}")
        if "data.pkl" not in names:
            raise TaskError(f"{where} are an archive, but none of PyTorch: expected one made with {SAVE}")


def _read_torch(path: Path, where: str) -> Any:
    try:
        try:
            return _loaded(path, filled=False)
        except pickle.UnpicklingError:
            return _loaded(path, filled=True)
    except EOFError as error:
        raise TaskError(f"{where}: the file is cut off: copy or download it again") from error
    except Exception as error:
        raise TaskError(
            f"{where} cannot be read as a checkpoint of plain tensors: {_line(error)}; save it with {SAVE}"
        ) from error


def _loaded(path: Path, filled: bool) -> Any:
    """What torch reads of a file where something of ours takes the place of every name that stands for code.

    Args:
        path: the file.
        filled: whether objects of unknown classes are mappings, to be filled with what the file has for them.
    """
    import torch

    names: list[str] = []
    with suppress(Exception):  # files of torch before 1.6, or damaged ones
        names = torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
    places: list[Any] = []
    for name in names:
        mapping = name == "collections.defaultdict" or (filled and not name.startswith(_NEVER_FILLED))
        places.append((_Mapping if mapping else type(name, (Unloaded,), {}), name))
    with warnings.catch_warnings(), torch.serialization.safe_globals(places):
        warnings.simplefilter("ignore")  # of unusual pickles: either it reads them or it raises
        return torch.load(path, map_location="cpu", weights_only=True)


class _Mapping:
    """Takes the place of a class of mappings: torch fills no others than Python's own."""

    def __new__(cls, *_: Any, **__: Any) -> Any:
        """A mapping to be filled."""
        return OrderedDict()


def _line(error: Exception) -> str:
    """What was wrong, of all that torch says: it goes on with advice to run what is in the file."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line.partition("WeightsUnpickler error:")[2].strip() for line in lines if "WeightsUnpickler error:" in line]
    return ([line for line in told if line] or lines or [type(error).__name__])[0][:200]

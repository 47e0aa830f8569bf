"""Loading a network's weights from a checkpoint file."""

from __future__ import annotations

import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunebench.envs.errors import TaskError
from prunebench.envs.weights.reading import SAVE, Unloaded, described, read

if TYPE_CHECKING:
    from torch import Tensor, nn

_AUXILIARY_HEADS = ("aux1", "aux2", "AuxLogits")  # of GoogLeNet and Inception: for training only, and left out
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(?=[12]\.)")  # in torchvision's files
_WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
_COUNTER = "num_batches_tracked"  # of a batch norm: old files lack it
_AVERAGED = "n_averaged"  # what an average of networks counts beside them
_DEEPEST = 4  # levels of a file at which state dicts are looked for


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Load a checkpoint into a network: a state dict, alone or anywhere in a file of torch.save, or safetensors.

    Nothing in the file is executed; tensors saved on a GPU come to the CPU, half precision becomes the network's. A
    prefix that all keys of the network have in the file is left out (``module.``, ``_orig_mod.``, ``model.``), names of
    wrappers within a key too; the old names of torchvision's DenseNet files are translated; auxiliary heads that the
    network was built without are left out. Where several sets of weights in the file fit and differ, as a network's and
    its moving average's, none is chosen.

    Raises:
        TaskError: the file is not such a checkpoint, or its keys or shapes are not the network's, which may then be
            half loaded; or the weights are not finite numbers.
    """
    expected = model.state_dict()
    found = _chosen(str(path), read(Path(path)), model)
    state = found.state
    shapes = [key for key in state if _other_shape(state[key], expected.get(key))]
    _check_numbers(str(path), {key: state[key] for key in state if key in expected and key not in shapes}, expected)
    fitting: Any = OrderedDict((key, value) for key, value in state.items() if key not in shapes)
    fitting._metadata = found.versions() or getattr(expected, "_metadata", {})
    missing, unexpected = model.load_state_dict(fitting, strict=False)
    problems = [
        *_problem("missing keys", (k for k in missing if k not in shapes and not k.endswith(_COUNTER))),
        *_problem("unexpected keys", unexpected),
        *_problem(
            "keys of another shape", shapes, lambda k: f"{k} {tuple(state[k].shape)} not {tuple(expected[k].shape)}"
        ),
    ]
    if problems:
        raise TaskError(f"weights {str(path)!r} are not of this network: {'; '.join(problems)}")


@dataclass(frozen=True)
class _Reading:
    """One way to read weights of a network from a file.

    Attributes:
        place: of the state dict in the file.
        source: the state dict.
        bare: whether names of wrappers are left out of its keys.
        prefix: that is left out of them.
        state: tensors by the network's names.
        hits: how many of them the network has.
    """

    place: str
    source: Mapping[str, Any]
    bare: bool
    prefix: str
    state: dict[str, Tensor]
    hits: int

    @property
    def label(self) -> str:
        """For people: where it stands in the file."""
        return ".".join(filter(None, [self.place, f"{self.prefix}*" if self.prefix else ""])) or "the keys on top"

    def versions(self) -> dict[str, Any]:
        """Version of every module as the file has it: torch lets modules translate what older versions saved."""
        versions = getattr(self.source, "_metadata", {})
        if not isinstance(versions, Mapping):
            return {}
        names = ((f"{_bare(name) if self.bare else name}.", version) for name, version in versions.items())
        return {n[len(self.prefix) :].strip("."): version for n, version in names if n.startswith(self.prefix)}


def _chosen(path: str, content: Any, model: nn.Module) -> _Reading:
    """The one reading that has all of a network's weights; where none has, the one that has most of them.

    Raises:
        TaskError: there is no state dict in the file, or there are several that fit and differ.
    """
    expected = model.state_dict()
    readings = [r for place, source in _state_dicts(content) for r in _readings(place, source, expected, model)]
    if not readings:
        raise TaskError(f"weights {path!r} {_contents(content)}; save them with {SAVE}")
    complete = [reading for reading in readings if _complete(reading.state, expected)]
    if not complete:
        return max(readings, key=lambda reading: reading.hits)
    complete.sort(key=lambda reading: len(reading.state))  # with as little besides as can be
    others = [reading for reading in complete[1:] if not _same(complete[0].state, reading.state, expected)]
    if others:
        labels = sorted({repr(reading.label) for reading in (complete[0], *others)})
        raise TaskError(
            f"weights {path!r} hold several sets of weights of this network that differ, {', '.join(labels)}: "
            "save the one that is meant alone, as torch.save(checkpoint['ema'], 'weights.pt')"
        )
    return complete[0]


def _state_dicts(content: Any, place: str = "", seen: frozenset[int] = frozenset()) -> Iterator[tuple[str, Any]]:
    """The mappings in a file that hold tensors by name, and where they stand."""
    if id(content) in seen or len(seen) == _DEEPEST:
        return
    if isinstance(content, Mapping):
        if any(isinstance(key, str) and _is_tensor(value) for key, value in content.items()):
            yield place, content
        inner = [(f"{place}.{key}" if place else str(key), value) for key, value in content.items()]
    else:
        inner = [(f"{place}[{number}]", value) for number, value in enumerate(content)] if _is_list(content) else []
    for where, value in inner:
        if isinstance(value, Mapping) or _is_list(value):
            yield from _state_dicts(value, where, seen | {id(content)})


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _is_tensor(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor) and not value.is_nested


def _readings(
    place: str, source: Mapping[str, Any], expected: Mapping[str, Any], model: nn.Module
) -> Iterator[_Reading]:
    """The ways to read a state dict: with or without the wrappers' names, and without any prefix that leads to hits."""
    tensors = {key: value for key, value in source.items() if isinstance(key, str) and _is_tensor(value)}
    without = {_bare(key): value for key, value in tensors.items()}
    spellings = [(False, tensors)]
    if len(without) == len(tensors) and without.keys() != tensors.keys():
        spellings.append((True, without))
    for bare, spelled in spellings:
        hits = Counter(prefix for key in spelled for prefix in _prefixes(key, expected)) or Counter({"": 0})
        enough = min(max(hits.values()), sum(not key.endswith(_COUNTER) for key in expected))
        for prefix in (prefix for prefix, count in hits.items() if count >= enough):
            state = {
                name: value
                for key, value in spelled.items()
                if key.startswith(prefix)
                and not _of_left_out_head(name := _current_key(key[len(prefix) :], expected), model)
                and (name in expected or name != _AVERAGED)
            }
            yield _Reading(place, source, bare, prefix, state, hits[prefix])


def _prefixes(key: str, expected: Mapping[str, Any]) -> Iterator[str]:
    """The beginnings of a key, up to a dot, after which a key of the network follows."""
    parts = key.split(".")
    for count in range(len(parts)):
        if _current_key(".".join(parts[count:]), expected) in expected:
            yield "".join(f"{part}." for part in parts[:count])


def _bare(key: str) -> str:
    return ".".join(part for part in key.split(".") if part not in _WRAPPERS)


def _current_key(key: str, expected: Mapping[str, Any]) -> str:
    return key if key in expected else _OLD_DENSENET.sub(r"\1", key)


def _of_left_out_head(key: str, model: nn.Module) -> bool:
    head = key.partition(".")[0]
    return head in _AUXILIARY_HEADS and getattr(model, head, model) is None


def _complete(state: Mapping[str, Tensor], expected: Mapping[str, Any]) -> bool:
    """Whether a network's weights are all there and of its shapes."""
    needed = {key: value for key, value in expected.items() if _is_tensor(value) and not key.endswith(_COUNTER)}
    return all(key in state and not _other_shape(state[key], value) for key, value in needed.items())


def _same(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], expected: Mapping[str, Any]) -> bool:
    """Whether two readings hold the same weights of a network."""
    keys = [key for key in expected if key in ours and key in theirs and not key.endswith(_COUNTER)]
    return all(ours[key] is theirs[key] or _equal(ours[key], theirs[key]) for key in keys)


def _equal(ours: Tensor, theirs: Tensor) -> bool:
    import torch

    plain = not any(_flaw(tensor) for tensor in (ours, theirs))
    return plain and ours.dtype == theirs.dtype and torch.equal(ours, theirs)


def _other_shape(value: Tensor, wanted: Any) -> bool:
    return _is_tensor(wanted) and value.shape != wanted.shape


def _check_numbers(path: str, state: Mapping[str, Tensor], expected: Mapping[str, Any]) -> None:
    """Raise TaskError, with the key, for weights that are no plain finite numbers or do not fit the network's kind."""
    for key, value in state.items():
        wanted = expected[key]
        flaw = _flaw(value) or (_misfit(value, wanted) if _is_tensor(wanted) else "")
        if flaw:
            raise TaskError(f"weights {path!r}: {key} {flaw}")


def _flaw(value: Tensor) -> str:
    import torch

    if value.is_meta:
        return "is a meta tensor, without numbers: save the network once its weights are loaded"
    if value.layout != torch.strided:
        return f"is sparse ({str(value.layout).removeprefix('torch.')}): save it as to_dense()"
    if value.is_quantized or (value.dtype.itemsize == 1 and value.dtype.is_floating_point):
        return f"is quantised ({_kind(value)}): expected the weights before quantisation"
    return f"is complex ({_kind(value)}): expected real numbers" if value.is_complex() else ""


def _misfit(value: Tensor, wanted: Tensor) -> str:
    if wanted.is_floating_point() and not value.is_floating_point():
        return f"is {_kind(value)}: expected floating-point numbers, not quantised or rounded ones"
    converted = value.to(wanted.dtype)
    if wanted.is_floating_point():
        wrong = int((converted.isnan() if bool(wanted.isinf().any()) else ~converted.isfinite()).sum())
        return f"holds {wrong} values that are NaN or infinite as {_kind(wanted)}" if wrong else ""
    return "" if bool((converted == value).all()) else f"is {_kind(value)}: expected {_kind(wanted)}"


def _kind(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def _contents(content: Any) -> str:
    """What there is in a file instead of weights, and so what is wrong."""
    values = list(content.values()) if isinstance(content, Mapping) else [content]
    text = described(content)
    if isinstance(content, Mapping):
        shown = [f"{key} ({described(value)})" for key, value in list(content.items())[:8]]
        text = f"the keys {', '.join(shown)}{', ...' if len(content) > 8 else ''}" if shown else "nothing"
    if any(isinstance(value, Unloaded) for value in values):
        return f"cannot be read without running code that is in the file: found {text}"
    return f"hold no state dict: found {text}"


def _problem(what: str, keys: Iterable[str], label: Callable[[str], str] = str) -> list[str]:
    keys = sorted(keys)
    shown = ", ".join(map(label, keys[:3])) + (", ..." if len(keys) > 3 else "")
    return [f"{len(keys)} {what} ({shown})"] if keys else []

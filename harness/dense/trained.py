"""A dense network that was trained here, on disk: the checkpoint, and beside it a file that says how it was made."""

from __future__ import annotations

import fcntl
import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prunebench.envs import cache
from prunebench.envs.files import description_of
from prunebench.envs.tasks.task import TaskConfig
from prunebench.harness.dense.train_settings import TASK
from prunebench.harness.errors import ConfigError, DamagedError
from prunebench.harness.files import read_json
from prunebench.harness.pace import duration

_ENDINGS = (".pt", ".pth")
_SAID = {"trained_on": "the training images are others", "network": "the network computes something else"}
"""What is said of settings whose values nobody named."""


@dataclass(frozen=True)
class Trained:
    """A trained dense network.

    Attributes:
        path: the checkpoint, for ``weights``.
        facts: what the JSON file beside it says: settings, data, steps, seconds, hashes, versions, accuracies.
    """

    path: Path
    facts: dict[str, Any]

    @property
    def accuracy(self) -> dict[str, float]:
        """On the ``reward`` and the ``test`` split, from 0 to 1."""
        return dict(self.facts["accuracy"])

    @property
    def command(self) -> str:
        """What searches with these weights."""
        return shlex.join(["prunebench", "bench", *self._words()])

    def __str__(self) -> str:
        return self.text()

    def text(self) -> str:
        """The summary for a terminal."""
        facts, settings = self.facts, self.facts["settings"]
        share = {split: f"{100 * accuracy:.2f} % on the {split} split" for split, accuracy in self.accuracy.items()}
        length = f"{settings['epochs']:g} epochs ({facts['steps']:,} steps), {duration(facts['seconds'])}"
        return "\n".join(
            [
                f"{self.path}: {settings['model']} on {settings['dataset']}, {length}",
                f"accuracy {', '.join(share.values())}; SHA-256 {facts['weights_sha256']}",
                self.command,
            ]
        )

    def _words(self) -> Iterator[str]:
        settings = self.facts["settings"] | {"data": self.facts["data"]}
        for name in TASK:
            flag, value = name.replace("_", "-"), settings[name]
            if isinstance(value, bool):
                yield from [] if value == getattr(TaskConfig, name) else [f"--{flag}" if value else f"--no-{flag}"]
            elif name == "model" or value not in (None, getattr(TaskConfig, name)):
                yield from [f"--{flag}", ",".join(map(str, value)) if isinstance(value, list) else str(value)]
            if name == "model":
                yield from ["--weights", str(self.path)]


def unfinished(path: Path) -> Path:
    """The state of training, beside the checkpoint that is to come."""
    return path.with_name(f"{path.name}.partial")


@contextmanager
def at_work(path: Path) -> Iterator[None]:
    """Hold the right to make a checkpoint, which goes with the process.

    Raises:
        ConfigError: another process has it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f"{path.name}.lock")
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"out {str(path)!r}: another process is training it; expected another name") from None
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def check_name(path: Path) -> None:
    """Raise ConfigError unless a checkpoint may be written there, as far as its name and what is there tell."""
    if path.suffix not in _ENDINGS:
        raise ConfigError(f"out {str(path)!r}: expected a name that ends in {' or '.join(_ENDINGS)}")
    if path.exists() and not description_of(path).exists():
        raise ConfigError(f"out {str(path)!r} exists already: expected the name of a new file")
    folder = next(each for each in path.absolute().parents if each.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ConfigError(f"out {str(path)!r}: {str(folder)!r} is no folder that can be written into")


def read(path: Path) -> Trained:
    """What training left at a path.

    Raises:
        StoreError: there is none, or its description is damaged.
    """
    return Trained(path, read_json(description_of(path)))


def done(path: Path, settings: Mapping[str, Any]) -> bool:
    """Whether training by these settings has left its checkpoint.

    Raises:
        ConfigError: something else is there.
    """
    found, facts = description_of(path), {}
    if not path.exists() and not found.exists():
        return False
    try:
        facts = read_json(found)
        changed = differences(facts["settings"], settings)
    except (DamagedError, KeyError, TypeError, AttributeError):
        changed = ["it is not of this command"]
    if not path.exists():
        if not changed:  # interrupted between the two files
            return False
        raise ConfigError(f"{str(found)!r} exists already ({'; '.join(changed)}): expected the name of a new --out")
    if not changed and facts["weights_sha256"] != cache.sha256(path):
        changed = [f"it is another file than {found.name} says"]
    if changed:
        raise ConfigError(f"out {str(path)!r} exists already ({'; '.join(changed)}): expected the name of a new file")
    return True


def meet(path: Path, before: Mapping[str, Any] | None, settings: Mapping[str, Any]) -> None:
    """Raise ConfigError where unfinished training, if there is any, has other settings."""
    changed = [] if before is None else differences(before, settings)
    if changed:
        raise ConfigError(
            f"{str(unfinished(path))!r} is unfinished training with other settings ({'; '.join(changed)}): name those "
            "again, or another --out, or remove the file"
        )


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The settings that differ, in words."""
    changed = [name for name in now if before.get(name) != now[name]]
    if len(changed) > 1:  # what the network computes has the random weights in it, which follow from the others
        changed = [name for name in changed if name != "network"]
    return [
        _SAID.get(name) or f"{name.replace('_', '-')} is {_shown(before.get(name))}, not {_shown(now[name])}"
        for name in changed
    ]


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return "its default" if value is None else f"{value:g}" if isinstance(value, float) else str(value)

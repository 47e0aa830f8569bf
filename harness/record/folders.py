"""Finds experiments in folders."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from prunebench.envs.errors import did_you_mean
from prunebench.harness.errors import ConfigError
from prunebench.harness.record import store
from prunebench.harness.record.store import NAME, Experiment


def find(folders: Sequence[str | Path] = ()) -> list[Experiment]:
    """The experiments in folders, at any depth, in the order of their paths.

    Args:
        folders: each an experiment's, or one that holds some; none is the newest experiment under ``results/``.

    Raises:
        ConfigError: there is none in one of the folders.
        StoreError: an experiment's configuration is damaged.
    """
    if not folders:
        return [store.load(_newest())]
    return sorted(find_in_order(folders), key=lambda experiment: experiment.folder)


def find_in_order(folders: Sequence[str | Path]) -> list[Experiment]:
    """The same in the order in which the folders are named; raises alike."""
    found: dict[Path, Path] = {}
    for folder in (Path(folder).expanduser() for folder in folders):
        below = sorted(_below(folder))
        if not below:
            raise ConfigError(f"folder {str(folder)!r} holds no experiment (no {NAME}){_hint(folder)}")
        found |= {path.resolve(): path for path in below}
    return [store.load(path) for path in found.values()]


def here() -> list[str]:
    """The folders of the experiments under ``results/``, sorted."""
    return sorted(map(str, _below(Path("results"))))


def _below(folder: Path) -> Iterator[Path]:
    """The folders with an experiment; none is looked for inside of another."""
    for path, inner, files in os.walk(folder):
        if NAME in files:
            yield Path(path)
            inner.clear()


def _newest() -> Path:
    found = {path: path / "manifest.json" for path in _below(Path("results"))}
    begun = [path for path, manifest in found.items() if manifest.is_file()]
    if not begun:
        raise ConfigError("no experiment under 'results': name the folder of one, or begin one with `prunebench bench`")
    return max(begun, key=lambda path: found[path].stat().st_mtime)


def _hint(folder: Path) -> str:
    known = here()
    return did_you_mean(str(folder), known) or (f"; experiments here: {', '.join(known)}" if known else "")

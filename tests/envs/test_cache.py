"""A cache that cannot be written is found out before anything is trained or calibrated."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from prunebench.envs import cache
from prunebench.envs.errors import TaskError
from prunebench.envs.tasks import preparation
from prunebench.envs.tasks.task import TaskConfig


@pytest.fixture
def unwritable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PRUNEBENCH_CACHE", str(tmp_path / "file" / "cache"))
    return tmp_path / "file" / "cache"


@pytest.mark.parametrize("trained", [False, True])
def test_a_task_says_so_first(
    trained: bool, unwritable: Path, checkpoint: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("train", "verify", "calibrate"):
        monkeypatch.setattr(preparation, name, lambda *_, **__: pytest.fail("computed"))
    task = TaskConfig("resnet20", checkpoint("resnet20") if trained else None)
    with pytest.raises(TaskError, match=r"cache '.*/file/cache' cannot be written: .*PRUNEBENCH_CACHE") as error:
        preparation.ensure_prepared(task)
    assert "\n" not in str(error.value)
    assert not unwritable.exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_says_how_much_is_needed(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRUNEBENCH_CACHE", str(tmp_path))

    def full(descriptor: int, offset: int, size: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(TaskError, match=r"cannot be written: .* \(needed: 3 MiB\)"):
        cache.check_writable(3 << 20)
    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_can_be_written_is_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PRUNEBENCH_CACHE", "~/cache")
    cache.check_writable(1 << 20)
    assert cache.directory() == tmp_path / "cache"
    assert list(cache.directory().iterdir()) == []

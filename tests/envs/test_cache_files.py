"""The cache says what it holds, and stays within its limit: never at the cost of what is used or takes long."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from prunebench.envs import cache, cache_files
from prunebench.envs.data import decoding
from prunebench.envs.errors import TaskError
from prunebench.envs.tasks.preparation import ensure_prepared
from prunebench.envs.tasks.task import TaskConfig
from prunebench.harness.commands.cache import command


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PRUNEBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache_files, "_held", {})
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


def put(kind: str, number: int, size: int = 1000, hours: float = 0.0, about: dict[str, object] | None = None) -> Path:
    """A cached file that was used some hours ago, by a process that has ended."""
    file = cache.path(kind, {"number": number})
    file = file.with_suffix(".npy") if kind in ("pixels", "listing") else file
    file.write_bytes(bytes(size))
    used = time.time() - 3600 * hours
    if about is not None:
        cache_files.use(file, about)
        os.close(cache_files._held.pop(file))
        os.utime(f"{file}.note", (used, used))
    os.utime(file, (used, used))
    return file


def there(*files: Path) -> list[bool]:
    return [file.exists() for file in files]


def test_what_was_used_last_is_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache_files.LIMIT, "3KB")
    old = put("pixels", 0, hours=50, about={})
    stale = put("calibration-resnet20", 1, hours=60, about={"network": "resnet20"})
    new = [put("pixels", 2, hours=1, about={}), put("latency", 3, hours=2, about={}), put("listing", 4, hours=3)]
    cache_files.make_room()
    assert there(old, stale, *new) == [False, False, True, True, True]
    assert not Path(f"{old}.note").exists()


def test_trained_networks_and_what_is_not_ours_stay(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache_files.LIMIT, "0")
    pixels, trained = put("pixels", 0), put("dense-resnet20", 1, hours=900)
    published, mine, data = put("published-timm-x", 2), folder / "pixels-mine.npy", folder / "data" / "x"
    data.parent.mkdir()
    for file in (mine, data):
        file.write_bytes(b"mine")
    cache_files.make_room()
    assert there(pixels, trained, published, mine, data) == [False, True, True, True, True]
    assert {entry.path for entry in cache_files.entries()} == {trained, published, data.parent}


def test_what_a_process_uses_stays_until_it_ends(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache_files.LIMIT, "0")
    file = put("pixels", 0, hours=5)
    code = (
        "import sys; from pathlib import Path; from prunebench.envs import cache_files; "
        "cache_files.use(Path(sys.argv[1]), {}); print('used', flush=True); sys.stdin.read()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code, str(file)], **pipes) as process:  # type: ignore[call-overload]
        process.stdout.readline()
        (entry,) = cache_files.entries()
        assert time.time() - entry.used < 60 < time.time() - entry.made
        assert not cache_files.delete(entry)
        cache_files.make_room()
        assert file.exists()
        process.kill()
    cache_files.make_room()
    assert not file.exists()


def test_what_this_process_uses_stays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache_files.LIMIT, "0")
    file = put("pixels", 0)
    assert cache_files.ready(file, {})
    cache_files.make_room()
    assert file.exists()


def test_a_deleted_file_that_is_made_again_is_used_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache_files.LIMIT, "0")
    file = put("pixels", 0)
    assert cache_files.ready(file, {"size": 1})
    file.unlink()
    Path(f"{file}.note").unlink()
    assert not cache_files.ready(file, {"size": 1})
    put("pixels", 0)
    assert cache_files.ready(file, {"size": 1})
    cache_files.make_room()
    assert file.exists()


def test_arrays_make_room_for_one_another(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache_files.LIMIT, "1.5KB")
    old = put("pixels", 0, hours=5)
    kept = decoding.kept("pixels", {"number": 1}, lambda out: np.save(out, np.ones(100)), folder="x", images=1, size=2)
    assert not old.exists()
    assert kept.sum() == 100
    (entry,) = cache_files.entries()
    assert entry.about == {"folder": "x", "images": 1, "size": 2}


@pytest.mark.parametrize(
    ("text", "size"),
    [("20GB", 20 * 10**9), ("500 mb", 5 * 10**8), ("1.5TB", 1.5e12), ("7", 7), ("2K", 2000), ("", 20 * 10**9)],
)
def test_limits(monkeypatch: pytest.MonkeyPatch, text: str, size: float) -> None:
    monkeypatch.setenv(cache_files.LIMIT, text)
    assert cache_files.limit() == size


@pytest.mark.parametrize("text", ["much", "-1GB", "20XB", "GB", "1e9", "nan"])
def test_a_wrong_limit_is_found_before_anything_is_done(
    folder: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv(cache_files.LIMIT, text)
    with pytest.raises(TaskError, match=f"^PRUNEBENCH_CACHE_LIMIT '{text}': expected a size, as 20GB or 500MB$"):
        ensure_prepared(TaskConfig("resnet20"))
    assert list(folder.iterdir()) == []


def test_the_command_lists_what_there_is(folder: Path) -> None:
    put("dense-resnet20", 0, 2_500_000, hours=75, about={"network": "resnet20", "dataset": "digits", "folder": None})
    put("pixels", 1, 1500, hours=5)
    put("calibration-resnet20", 2, 999_600, about={"network": "resnet20"}).with_suffix(".partial").write_bytes(b"x")
    result = CliRunner().invoke(command)
    lines = result.output.splitlines()
    assert lines[0] == str(folder)
    assert lines[1].split() == ["kind", "for", "size", "made", "last", "used"]
    rows = [" ".join(line.split()) for line in lines[2:-1]]
    assert "trained network resnet20, dataset digits 2.5 MB 3 days ago 3 days ago" in rows
    assert "pixels unknown 1.5 kB 5 hours ago 5 hours ago" in rows
    assert "calibration network resnet20 1 MB just now just now" in rows
    assert "calibration unfinished 1 B just now just now" in rows
    assert lines[-1] == "3.5 MB of 20 GB (PRUNEBENCH_CACHE_LIMIT)"


def test_an_empty_cache_is_no_error(folder: Path) -> None:
    folder.rmdir()
    result = CliRunner().invoke(command)
    assert result.output.splitlines() == [str(folder), "0 B of 20 GB (PRUNEBENCH_CACHE_LIMIT)"]


def test_the_command_deletes_one_kind_or_all(folder: Path) -> None:
    pixels, trained, mine = put("pixels", 0), put("dense-resnet20", 1), folder / "mine.pt"
    mine.write_bytes(b"mine")
    result = CliRunner().invoke(command, ["--clear", "pixels"])
    assert result.output == "deleted 1 files, 1 kB\n"
    assert there(pixels, trained, mine) == [False, True, True]
    used = put("pixels", 2)
    cache_files.use(used, {})
    result = CliRunner().invoke(command, ["--clear", "all"], standalone_mode=False)
    assert result.return_value == 1
    assert f"kept {used}: in use" in result.output
    assert there(used, trained, mine) == [True, False, True]


def test_a_wrong_kind_is_refused() -> None:
    result = CliRunner().invoke(command, ["--clear", "pixel"])
    assert isinstance(result.exception, TaskError)
    assert "did you mean 'pixels'?" in str(result.exception)


def test_a_draft_that_is_being_written_stays(folder: Path) -> None:
    draft = cache.path("pixels", {}).with_suffix(".tmp")
    draft.write_bytes(b"draft")
    (entry,) = cache_files.entries()
    assert not cache_files.delete(entry)
    os.utime(draft, (0, 0))
    (entry,) = cache_files.entries()
    assert cache_files.delete(entry)
    assert list(folder.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_used_without_a_note(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = put("pixels", 0)

    def refuse(*_: object, **__: object) -> int:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "open", refuse)
    assert cache_files.ready(file, {})
    assert list(folder.iterdir()) == [file]

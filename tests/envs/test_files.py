"""Files are found whole, or as they were."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import pytest

from prunebench.envs import files

KILLED = """
import os, signal
from pathlib import Path
from prunebench.envs import files
files.draft_of(Path("network")).mkdir()
with files.whole(Path("runs/status.json")):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_file_is_replaced_when_all_of_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "not" / "yet" / "x.bin"
    for content in (b"old", b"new"):
        before = path.read_bytes() if path.exists() else None
        with files.whole(path) as file:
            file.write(content)
            assert (path.read_bytes() if path.exists() else None) == before
        assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


def fail_in_the_middle(file: BinaryIO, error: type[BaseException]) -> None:
    file.write(b"half")
    raise error


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_what_fails_leaves_the_old_file_and_no_draft(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(b"old")
    with pytest.raises(error), files.whole(path) as file:
        fail_in_the_middle(file, error)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_all_bytes_are_on_disk_before_the_file_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, seen = tmp_path / "x.bin", []
    monkeypatch.setattr(files.os, "fsync", lambda handle: seen.append(path.exists()))
    with files.whole(path) as file:
        file.write(b"x")
    assert seen == [False, True]  # the file, then the folder


def test_drafts_of_processes_that_are_gone_are_removed(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED], cwd=tmp_path, check=False)
    mine = files.draft_of(tmp_path / "mine")
    mine.touch()
    assert {path.name.split(".")[1] for path in tmp_path.rglob(".*.tmp")} == {"mine", "network", "status"}
    files.remove_drafts(tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.name != "runs"] == [mine]

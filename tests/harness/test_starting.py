"""Processes start from wherever Python was started, or one sentence says why they cannot."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import prunebench
from prunebench.harness.errors import HarnessError
from prunebench.harness.processes import starting

CALL = """
import os, sys
from pathlib import Path
from prunebench.harness.processes.local import Job, Processes
{before}
with Processes(1) as processes:
    print(processes.call(Job("look", "looking:look")))
"""
GUARDED = CALL.replace("\nwith", '\nif __name__ == "__main__":\n  with').replace("    print", "      print")
BENCH = """
import prunebench

prunebench.bench(agents=["uniform"], seeds=1, evaluations=1, out="out")
"""


def python(*arguments: str, folder: Path, text: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    (folder / "looking.py").write_text("import os, tempfile\n\ndef look(report):\n    return 'found'\n")
    paths = os.pathsep.join([str(Path(prunebench.__file__).parents[1]), str(folder)])
    command, environment = [sys.executable, *arguments], os.environ | {"PYTHONPATH": paths} | variables
    return subprocess.run(
        command, input=text, capture_output=True, text=True, timeout=120, cwd=folder, env=environment, check=False
    )


def test_python_reads_the_script_from_its_input(tmp_path: Path) -> None:
    found = python("-", folder=tmp_path, text=CALL.format(before=""))
    assert (found.returncode, found.stdout, found.stderr) == (0, "found\n", "")


def test_the_script_stands_in_the_command(tmp_path: Path) -> None:
    found = python("-c", CALL.format(before=""), folder=tmp_path)
    assert (found.returncode, found.stdout, found.stderr) == (0, "found\n", "")


@pytest.mark.parametrize("module", [False, True])
def test_the_script_has_gone(module: bool, tmp_path: Path) -> None:
    (tmp_path / "gone.py").write_text(CALL.format(before="Path('gone.py').unlink()"))
    found = python(*(["-m", "gone"] if module else ["gone.py"]), folder=tmp_path)
    assert (found.returncode, found.stdout, found.stderr) == (0, "found\n", "")


def test_a_script_with_the_guard(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(GUARDED.format(before=""))
    found = python("script.py", folder=tmp_path)
    assert (found.returncode, found.stdout, found.stderr) == (0, "found\n", "")


@pytest.mark.parametrize("module", [False, True])
def test_without_the_guard_one_sentence_says_so(module: bool, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(CALL.format(before=""))
    found = python(*(["-m", "script"] if module else ["script.py"]), folder=tmp_path)
    assert (found.returncode, found.stdout) == (1, "")
    last = found.stderr.splitlines()[-1]
    assert "script.py' would begin its work again" in last
    assert 'if __name__ == "__main__":' in last
    assert found.stderr.count("Traceback") == 1  # of the call itself, in the user's own script


def test_bench_without_the_guard(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(BENCH)
    found = python("script.py", folder=tmp_path)
    assert 'put its calls under `if __name__ == "__main__":`' in found.stderr.splitlines()[-1]
    assert found.stderr.count("Traceback") == 1
    assert "bootstrapping" not in found.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("length", [60, 80, 152, 200])
def test_temporary_folders_with_long_paths(length: int, tmp_path: Path) -> None:
    folder = Path("/tmp") / f"{os.getpid()}-".ljust(length - 5, "x")
    folder.mkdir()
    try:
        script = CALL.format(before="from multiprocessing.util import get_temp_dir") + "print(get_temp_dir())"
        found = python("-c", script, folder=tmp_path, TMPDIR=str(folder))
        assert (found.returncode, found.stdout[:6], found.stderr) == (0, "found\n", "")
        assert not Path(found.stdout.splitlines()[1]).exists()
        assert list(folder.iterdir()) == []
    finally:
        folder.rmdir()


def test_no_folder_for_sockets_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    long = tmp_path / ("x" * 120)
    long.mkdir()
    monkeypatch.setattr(starting, "_SHORT", (str(tmp_path / "nowhere"),))
    monkeypatch.setattr(starting.tempfile, "tempdir", str(long))
    monkeypatch.setitem(starting.process.current_process()._config, "tempdir", None)  # type: ignore[attr-defined]
    with (
        pytest.raises(HarnessError, match=r"TMPDIR '.*x': its path has \d+ bytes, and sockets allow 71"),
        starting.ready(),
    ):
        pass

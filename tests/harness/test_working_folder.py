"""Processes that start in a folder whose files have the names of libraries use none of these, and find the rest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import prunebench

THEIRS = ("types", "statistics", "random", "queue", "signal", "torch", "psutil")
LOOKING = """
import os, subprocess, sys

def look(report):
    script = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True)
    return os.environ.get("PYTHONSAFEPATH"), sys.path[-1], script.stdout
"""
START = """
import json, os, sys
from prunebench.harness.processes.local import Job, Processes
from prunebench.harness.processes.ray_engine import _Spawned
sys.path.append(os.getcwd())
with {}(1) as processes:
    print(json.dumps(processes.call(Job("look", "looking:look"))))
"""


@pytest.mark.parametrize("processes", ["Processes", "_Spawned"])
@pytest.mark.parametrize("safe", [None, "1"])
def test_it_hides_nothing_and_is_searched_last(processes: str, safe: str | None, tmp_path: Path) -> None:
    for module in THEIRS:
        (tmp_path / f"{module}.py").write_text("raise RuntimeError(__file__)")
    (tmp_path / "looking.py").write_text(LOOKING)
    (tmp_path / "beside.py").touch()
    (tmp_path / "script.py").write_text("import beside\nprint('found')")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    environment |= {"PYTHONPATH": str(Path(prunebench.__file__).parents[1])}
    environment |= {} if safe is None else {"PYTHONSAFEPATH": safe}
    command = [sys.executable, "-P", "-c", START.format(processes)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path, env=environment)
    assert (result.returncode, result.stderr) == (0, "")
    # What the user has set is left as it is: a script that the job starts finds what stands beside it, or not.
    assert json.loads(result.stdout) == [safe, str(tmp_path), "found\n" if safe is None else ""]

"""What the manifest says of the code: new results do not make it dirty, other files do."""

from __future__ import annotations

import subprocess
from pathlib import Path

from prunebench.harness.record.manifest import _git


def test_results_do_not_make_the_code_dirty(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        subprocess.run(
            ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@x", *words],
            check=True,
            capture_output=True,
        )

    assert _git(tmp_path) is None
    git("init")
    (tmp_path / "agent.py").write_text("1\n")
    git("add", "agent.py")
    git("commit", "-m", "x")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "lines.jsonl").write_text("{}\n")
    found = _git(tmp_path.resolve())
    assert found is not None
    assert (len(found["revision"]), found["dirty"]) == (40, False)
    (tmp_path / "agent.py").write_text("2\n")
    assert _git(tmp_path.resolve()) == found | {"dirty": True}

"""The guide's own agent, as it stands in docs/adding-an-agent.md, from outside the repository."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-c", "from prunebench.harness.cli import main; main()"]
INSTALL = ["install", "--no-deps", "--no-build-isolation", "--no-index", "--quiet"]


def block(language: str, number: int = 0, page: str = "docs/adding-an-agent.md") -> str:
    """One of the guide's code blocks."""
    text = (ROOT / page).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)[number]


AGENT, PYPROJECT, TESTS = block("python"), block("toml"), block("python", 1)


def run(command: list[str], cwd: Path, *paths: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))}
    return subprocess.run(command, capture_output=True, text=True, timeout=280, check=False, cwd=cwd, env=environment)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the agent's package installed in it; the virtual environment stays as it is."""
    package, site = tmp_path_factory.mktemp("my_agent"), tmp_path_factory.mktemp("site")
    (package / "my_agent.py").write_text(AGENT)
    (package / "pyproject.toml").write_text(PYPROJECT)
    result = run([sys.executable, "-m", "pip", *INSTALL, "--target", str(site), str(package)], package)
    assert result.returncode == 0, result.stderr
    return site


def test_the_agent_is_short_and_imports_nothing_of_ours() -> None:
    assert len(AGENT.split("\n\n\n")[1].splitlines()) < 15
    assert re.findall(r"^\s*(?:import|from) (\S+)", AGENT, re.MULTILINE) == ["numpy"]


def test_the_readme_shows_the_same_agent() -> None:
    assert block("python", page="README.md") == AGENT


def test_it_is_listed(site: Path, tmp_path: Path) -> None:
    result = run([*COMMAND, "list", "agents"], tmp_path, site)
    assert result.returncode == 0, result.stderr
    assert "  my_agent" in result.stdout.splitlines()


def test_it_keeps_the_contract(site: Path, tmp_path: Path) -> None:
    result = run([*COMMAND, "check-agent", "my_agent"], tmp_path, site)
    assert result.returncode == 0, result.stderr
    assert not list(tmp_path.iterdir())


def test_its_class_may_be_named_where_it_is_installed_under_the_same_name(site: Path, tmp_path: Path) -> None:
    result = run([*COMMAND, "check-agent", "my_agent:MyAgent"], tmp_path, site)
    assert result.returncode == 0, result.stderr


def test_it_is_compared(site: Path, tmp_path: Path, checkpoint: Callable[[str], str]) -> None:
    numbers = ["--evaluations", "6", "--seeds", "1", "--reward-images", "30"]
    network = ["--model", "resnet20", "--weights", checkpoint("resnet20")]
    command = [*COMMAND, "bench", "--agents", "my_agent random", *network, *numbers, "--out", "out"]
    result = run(command, tmp_path, site)
    assert result.returncode == 0, result.stderr
    table = pd.read_csv(tmp_path / "out" / "tables" / "table.csv").set_index("agent")
    assert table.loc["my_agent", "evaluations"] == 6
    assert (tmp_path / "out" / "runs" / "resnet20" / "my_agent" / "seed-0.jsonl").exists()


def test_it_need_not_be_installed(tmp_path: Path) -> None:
    (tmp_path / "my_module.py").write_text(AGENT)
    result = run([*COMMAND, "check-agent", "my_module:MyAgent:step=0.2"], tmp_path)
    assert result.returncode == 0, result.stderr


def test_breaking_the_contract_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    (tmp_path / "my_module.py").write_text(AGENT.replace("range(evaluations)", "range(evaluations + 1)"))
    result = run([*COMMAND, "check-agent", "my_module:MyAgent"], tmp_path)
    assert result.returncode == 1
    assert "search(env, 12) with seed 0 on 8 layers (budget wall) steps into evaluation 13" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_guides_tests_pass(site: Path, tmp_path: Path) -> None:
    (tmp_path / "test_my_agent.py").write_text(TESTS)
    result = run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"], tmp_path, site)
    assert result.returncode == 0, result.stdout + result.stderr

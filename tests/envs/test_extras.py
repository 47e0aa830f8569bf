"""Extras: what the program says of them is what is packed, and what is missing is named before any work."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import prunebench
from prunebench.envs import extras
from prunebench.harness.errors import RegistryError
from prunebench.harness.experiments import registry

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]


def names(requirements: list[str]) -> set[str]:
    return {requirement.partition(">")[0].removesuffix("-skinny") for requirement in requirements}


def test_they_are_those_of_the_package() -> None:
    packed = PROJECT["optional-dependencies"]
    assert {extra: set(modules) for extra, modules in extras.EXTRAS.items()} == {
        extra: names(requirements) for extra, requirements in packed.items() if extra not in ("dev", "docs")
    }
    assert not names(PROJECT["dependencies"]) & {module for modules in extras.EXTRAS.values() for module in modules}


@pytest.mark.parametrize(("agent", "library"), [("tpe", "optuna"), ("cmaes", "cmaes")])
def test_an_agent_names_the_extra_that_it_lacks(agent: str, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, registry.registered()[agent].module, raising=False)
    with pytest.raises(RegistryError) as error:
        registry.load(agent)
    wanted = f'needs {library}, which is not installed: pip install "prunebench[baselines]"'
    assert str(error.value) == f"agent {agent!r} {wanted}"


@pytest.mark.parametrize("command", ["export", "prune"])
def test_the_command_names_it_before_any_work(command: str, tmp_path: Path) -> None:
    (tmp_path / "results/x").mkdir(parents=True)
    (tmp_path / "results/x/experiment.yaml").write_text(
        "schema: 1\ncommand: x\nexperiment: {task: {model: resnet20}}\n"
    )
    (tmp_path / "results/x/manifest.json").write_text("{}")
    code = f"import sys; sys.modules['onnx'] = None; from prunebench.harness.cli import main; main([{command!r}])"
    found = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    said = 'the export to ONNX needs onnx, which is not installed: pip install "prunebench[export]"'
    assert (found.returncode, found.stderr) == (2, f"prunebench: error: {said}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


def test_importing_the_package_imports_nothing() -> None:
    code = "import sys, prunebench; print([name for name in sys.modules if name.startswith('prunebench')])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "['prunebench']\n"
    assert {*prunebench.__all__} <= {*dir(prunebench)}
    for name in prunebench.__all__:
        assert getattr(prunebench, name), name


@pytest.mark.parametrize(
    ("arguments", "code", "begin"),
    [
        (["-m", "prunebench", "list"], 2, "prunebench: error: "),
        (["prunebench.exe", "list"], 2, "prunebench: error: "),
        (["-c", "import prunebench"], 1, "ImportError: "),
    ],
)
def test_windows_is_refused_in_a_sentence(arguments: list[str], code: int, begin: str, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.platform = 'win32'")
    (tmp_path / "prunebench.exe").write_text("from prunebench.harness.cli import main")
    path = os.pathsep.join([str(tmp_path), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    found = subprocess.run(
        [sys.executable, *arguments],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = found.stderr.splitlines()
    assert found.returncode == code
    assert lines[-1].startswith(f"{begin}prunebench runs on Linux and macOS, not on Windows")
    assert code == 1 or len(lines) == 1

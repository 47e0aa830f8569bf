"""Installed from a wheel or from this tree: one import name, which nothing in the user's folder shadows."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import prunebench
from prunebench.harness.experiments import listing

ROOT = Path(__file__).parents[1]
ROOMS = ("agents", "envs", "harness")
PIP = [sys.executable, "-m", "pip", "--quiet"]
UNTOUCHED = ["--no-deps", "--no-index"]
AGENT = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs/adding-an-agent.md").read_text(), re.DOTALL | re.MULTILINE)[
    0
]
MODULE = [sys.executable, "-m", "prunebench"]
SCRIPT = [sys.executable, "{site}/bin/prunebench"]
THEIRS = ("torch", "click", "statistics", "queue", "random", "psutil")
"""Modules of the user's own, which raise when they are imported."""
OF_PYTHON = ("types", "warnings")
"""Likewise; ``python -m`` imports these before anything of ours, from the working folder too."""


def run(command: list[str], cwd: Path, path: Path | str = "") -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    environment |= {"PYTHONPATH": str(path)}
    result = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False, cwd=cwd, env=environment)
    assert result.returncode == 0, result.stdout + result.stderr
    return result


def wheel_of(source: Path, folder: Path) -> Path:
    run([*PIP, "wheel", *UNTOUCHED, "--no-build-isolation", "--wheel-dir", str(folder), str(source)], folder)
    return next(folder.glob("*.whl"))


def files_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is packed: setuptools leaves files in the tree that it builds from, and packs those too."""
    copy = tmp_path_factory.mktemp("tree")
    for name in ("src", *ROOMS):
        shutil.copytree(ROOT / name, copy / name, True, shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    return copy


@pytest.fixture(scope="module")
def wheel(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheel_of(tree, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel installed in it; the virtual environment stays as it is."""
    folder = tmp_path_factory.mktemp("site")
    run([*PIP, "install", *UNTOUCHED, "--target", str(folder), str(wheel)], folder)
    return folder


@pytest.fixture
def crowded(tmp_path: Path) -> Path:
    """A project with packages of the names that ours once had, and modules of the names of libraries."""
    folder = tmp_path / "crowded"
    for package in ROOMS:
        (folder / package).mkdir(parents=True)
        (folder / package / "__init__.py").write_text("" if package == "agents" else "raise RuntimeError(__file__)")
    (folder / "agents" / "mine.py").write_text(AGENT)
    for module in THEIRS:
        (folder / f"{module}.py").write_text("raise RuntimeError(__file__)")
    return folder


@pytest.fixture(params=["wheel, module", "wheel, script", "tree, module"])
def command(request: pytest.FixtureRequest, site: Path, crowded: Path) -> Iterator[Callable[..., str]]:
    """Runs the command in a folder, as it is installed and called, and returns what it prints."""
    installed, called = request.param.split(", ")
    path = site if installed == "wheel" else Path(prunebench.__file__).parents[1]
    start = MODULE if called == "module" else [part.format(site=site) for part in SCRIPT]
    for module in OF_PYTHON if called == "script" else ():
        (crowded / f"{module}.py").write_text("raise RuntimeError(__file__)")
    where = run([sys.executable, "-P", "-c", "import prunebench; print(prunebench.__file__)"], crowded, path)
    assert Path(where.stdout.strip()).parents[1] == path

    def in_folder(folder: Path, *arguments: str) -> str:
        return run([*start, *arguments], folder, path).stdout

    return in_folder


def test_it_holds_every_file_of_the_rooms_under_one_name(wheel: Path, tree: Path) -> None:
    rooms = [path for name in ROOMS for path in (tree / name).rglob("*") if path.is_file()]
    ours = {f"prunebench/{name}" for name in ("__init__.py", "__main__.py", "py.typed")}
    files = files_in(wheel)
    assert {file for file in files if ".dist-info/" not in file} == ours | {
        f"prunebench/{path.relative_to(tree)}" for path in rooms
    }
    assert len({file.partition("/")[0] for file in files}) == 2
    assert {path.suffix for path in rooms} >= {".py", ".yaml", ".jinja", ".npz"}


def test_every_entry_point_is_a_name_in_one_of_its_files(wheel: Path) -> None:
    entries = configparser.ConfigParser(delimiters="=")
    with zipfile.ZipFile(wheel) as archive:
        listed = next(name for name in archive.namelist() if name.endswith("entry_points.txt"))
        entries.read_string(archive.read(listed).decode())
        values = [value for section in entries.sections() for value in entries[section].values()]
        for module, _, name in (value.partition(":") for value in values):
            source = archive.read(f"{module.replace('.', '/')}.py").decode()
            assert re.search(rf"^(class|def) {name}\b", source, re.MULTILINE), (module, name)
    assert len(values) >= 11


def test_the_same_files_come_by_way_of_a_source_distribution(wheel: Path, tree: Path, tmp_path: Path) -> None:
    build = "from setuptools import build_meta; import sys; print(build_meta.build_sdist(sys.argv[1]))"
    name = run([sys.executable, "-c", build, str(tmp_path)], tree).stdout.splitlines()[-1]
    assert files_in(wheel_of(tmp_path / name, tmp_path)) == files_in(wheel)


def test_what_it_lists_and_checks_is_the_same_in_any_folder(
    command: Callable[..., str], crowded: Path, tmp_path: Path
) -> None:
    sections = ("models", "datasets", "options")  # the agents' section takes seconds
    assert command(crowded, "list", *sections) == command(tmp_path, "list", *sections)
    assert command(crowded, "check-agent", "agents.mine:MyAgent").startswith("agents.mine:MyAgent keeps the contract")
    assert command(crowded, "-V") == f"prunebench, version {prunebench.__version__}\n"


@pytest.mark.parametrize("command", ["wheel, module"], indirect=True)
def test_so_are_the_agents_and_the_help(command: Callable[..., str], crowded: Path) -> None:
    assert command(crowded, "list", "agents") == listing.text("agents") + "\n"
    assert command(crowded).startswith("Usage: prunebench [OPTIONS]")
    assert command(crowded, "--version") == command(crowded, "-V")


USER = """
import prunebench

results = prunebench.bench(model="resnet20", agents=["bo"], seeds=2)
reveal_type(prunebench.verify(results))
reveal_type(prunebench.load_results("x").figure("times"))


class Mine(prunebench.AskTellAgent):
    pass


Mine(seed=0)
prunebench.bench(seedz=3)
prunebench.bensh()
"""


def test_type_checkers_know_what_is_installed(site: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    places = run([str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], tmp_path)
    Path(places.stdout.strip(), "found.pth").write_text(f"{site}\n")
    (tmp_path / "user.py").write_text(USER)
    rest = "follow_imports = skip\nignore_missing_imports = true"  # libraries would take a minute
    own = "follow_imports = silent\nignore_missing_imports = false"
    (tmp_path / "mypy.ini").write_text(f"[mypy]\n{rest}\n[mypy-prunebench,prunebench.*]\n{own}\n")
    mypy = [sys.executable, "-m", "mypy", "--python-executable", str(python), "user.py"]
    found = subprocess.run(mypy, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=280)
    said = [line.partition(": ")[2] for line in found.stdout.splitlines()[:-1]]
    assert said == [
        'note: Revealed type is "list[prunebench.harness.record.findings.Finding]"',
        'note: Revealed type is "Any"',  # matplotlib is not installed here
        'error: Cannot instantiate abstract class "Mine" with abstract attributes "ask" and "setup"  [abstract]',
        'error: Unexpected keyword argument "seedz" for "bench"; did you mean "seeds"?  [call-arg]',
        'note: "bench" defined in "prunebench.harness.api"',
        'error: Module has no attribute "bensh"; maybe "bench"?  [attr-defined]',
    ]


PYTHON = """
import prunebench

if __name__ == "__main__":
    results = prunebench.bench(
        "settings.yaml", model="resnet20", weights="r.pt", reward_images=30, evaluations=2, seeds=1, out="out"
    )
    print(sorted(results.table.index), prunebench.verify(results))
"""


@pytest.mark.slow
def test_python_needs_nothing_of_the_repository(site: Path, tmp_path: Path, checkpoint: Callable[[str], str]) -> None:
    (tmp_path / "script.py").write_text(PYTHON)
    (tmp_path / "settings.yaml").write_text("agents: [bo]")
    shutil.copy(checkpoint("resnet20"), tmp_path / "r.pt")
    found = run([sys.executable, "script.py"], tmp_path, site).stdout
    assert found == "['bo', 'dense', 'global', 'greedy', 'random', 'uniform'] []\n"


@pytest.mark.slow
def test_an_experiment_is_the_same_in_any_folder(
    command: Callable[..., str], crowded: Path, tmp_path: Path, checkpoint: Callable[[str], str]
) -> None:
    numbers = ["--evaluations", "3", "--seeds", "1", "--reward-images", "30"]
    network = ["--model", "resnet20", "--weights", checkpoint("resnet20")]
    (tmp_path / "agents").symlink_to(crowded / "agents")
    found = []
    for folder in (crowded, tmp_path):
        command(folder, "bench", "--agents", "agents.mine:MyAgent", *network, *numbers, "--out", "out")
        command(folder, "report", "out")
        lines = [json.loads(line) for run in sorted(folder.glob("out/runs/*/*/*.jsonl")) for line in run.open()]
        found.append((sorted(map(str, (p.relative_to(folder) for p in folder.glob("out/**/*")))), lines))
    assert found[0][0] == found[1][0]
    assert command(crowded, "table", "out").splitlines()[:2] == command(tmp_path, "table", "out").splitlines()[:2]

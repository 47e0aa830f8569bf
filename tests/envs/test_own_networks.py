from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from prunebench.envs.errors import TaskError
from prunebench.envs.networks import models

GOOD = """
from torch import nn

not_callable = 3

def small(num_classes, width=4):
    features = nn.Sequential(nn.Conv2d(3, width, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(features, nn.Linear(width, num_classes))

class Net(nn.Linear):
    def __init__(self, num_classes):
        super().__init__(5, num_classes)

def needs_more(depth, num_classes):
    return small(num_classes)

def other_word(classes):
    return small(classes)

def fails(num_classes):
    raise RuntimeError("two\\nlines")

def text(num_classes):
    return "a network"
"""


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory holds a package; what is imported from it is forgotten afterwards."""
    folder = tmp_path / "ownnets"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "good.py").write_text(GOOD)
    (folder / "missing.py").write_text("import not_installed_anywhere")
    (folder / "broken.py").write_text("def f(:")
    (folder / "leaves.py").write_text("raise SystemExit(1)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in [name for name in sys.modules if name.partition(".")[0] == "ownnets"]:
        monkeypatch.delitem(sys.modules, name)


def test_a_function_and_a_class_of_the_working_directory_build() -> None:
    models.check_name("ownnets.good:small")
    assert models.build("ownnets.good:small", 7)(torch.randn(2, 3, 8, 8)).shape == (2, 7)
    assert models.build("ownnets.good:Net", 7)(torch.randn(2, 5)).shape == (2, 7)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ownnet.good:small", r"no module 'ownnet' among"),
        ("ownnets.god:small", r"no module 'ownnets\.god' among"),
        ("ownnets.good.deep:small", r"no module 'ownnets\.good\.deep' among|is not a package"),
        ("__main__.x:small", r"no module"),
        ("ownnets.good:smal", r"module ownnets\.good has no function 'smal'"),
        ("ownnets.good:not_callable", r"has no function 'not_callable'"),
        ("ownnets.good:needs_more", r"cannot be called as needs_more\(num_classes=10\): missing .* 'depth'"),
        ("ownnets.good:other_word", r"cannot be called as other_word\(num_classes=10\)"),
        ("ownnets.good:fails", r"fails\(num_classes=10\) fails: RuntimeError: two lines"),
        ("ownnets.good:text", r"text\(num_classes=10\) returns str, expected a torch\.nn\.Module"),
        ("ownnets.missing:f", r"importing ownnets\.missing fails: ModuleNotFoundError: .*not_installed_anywhere"),
        ("ownnets.broken:f", r"importing ownnets\.broken fails: SyntaxError"),
        ("ownnets.leaves:f", r"importing ownnets\.leaves fails: SystemExit"),
    ],
)
def test_what_cannot_be_built_is_said_in_one_line(name: str, message: str) -> None:
    with pytest.raises(TaskError, match=message) as caught:
        models.build(name, 10)
    assert str(caught.value).startswith(f"model {name!r}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [":f", "a:", "a.b:", "a..b:f", "a:b:c", "a b:f", "a/b.py:f", "1a:f"])
def test_other_forms_are_told_the_form(name: str) -> None:
    with pytest.raises(TaskError, match=r"expected package\.module:function"):
        models.check_name(name)


def test_a_misspelt_package_is_found_without_importing_anything() -> None:
    with pytest.raises(TaskError, match="no module 'torchvison'"):
        models.check_name("torchvison:resnet18")
    models.check_name("ownnets.broken:f")
    assert "ownnets" not in sys.modules


def test_the_version_changes_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "versioned.py").write_text("def net(num_classes): ...")
    before = models.version("versioned:net")
    (tmp_path / "versioned.py").write_text("def net(num_classes): ...  # changed")
    assert before != models.version("versioned:net")
    assert models.version("resnet20") is None


def test_what_an_installed_package_of_that_name_hides_is_said(tmp_path: Path) -> None:
    (tmp_path / "gymnasium").mkdir()
    (tmp_path / "statistics.py").write_text(GOOD)
    with pytest.raises(TaskError, match=r"no module 'gymnasium\.mine': the installed .gymnasium. \(/.*/gymnasium\)"):
        models.build("gymnasium.mine:small", 10)
    with pytest.raises(TaskError, match=r"has no function 'small': the installed .statistics. .* comes before"):
        models.build("statistics:small", 10)

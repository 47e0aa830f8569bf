"""Networks that other packages bring by entry points."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from torch import nn

from prunebench.envs.errors import TaskError
from prunebench.envs.networks import models, own
from prunebench.envs.tasks.task import TaskConfig, check_task
from prunebench.harness.commands import completion
from prunebench.harness.experiments import listing

NETS = """
from torch import nn
def build(num_classes):
    return nn.Linear(3, num_classes)
number = 3
"""


def bring(monkeypatch: pytest.MonkeyPatch, *entries: tuple[str, str]) -> None:
    """Register networks, as an installed package would."""
    found = [EntryPoint(name, value, own.GROUP) for name, value in entries]
    monkeypatch.setattr(own, "entry_points", lambda group: found if group == own.GROUP else [])
    own.registered.cache_clear()


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "brought_nets.py").write_text(NETS)
    monkeypatch.syspath_prepend(tmp_path)
    bring(
        monkeypatch,
        ("wide-net", "brought_nets:build"),
        ("broken", "brought_nets:nothing"),
        ("odd", "brought_nets:number"),
    )
    yield
    own.registered.cache_clear()


def test_it_is_named_built_and_listed() -> None:
    models.check_name("wide-net")
    assert models.kind("wide-net") == "own"
    assert models.needs_weights("wide-net")
    assert models.preprocessing("wide-net") is None
    network = models.build("wide-net", 7)
    assert isinstance(network, nn.Linear)
    assert network.out_features == 7
    assert "  wide-net: of another package; needs --weights" in listing.text("models").splitlines()
    assert completion.network(None, None, "wi") == ["wide-net"]  # type: ignore[arg-type]


def test_it_needs_weights() -> None:
    with pytest.raises(TaskError, match="model 'wide-net' needs --weights"):
        check_task(TaskConfig("wide-net"))


def test_a_wrong_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(TaskError, match=r"'widenet' is unknown: .*did you mean 'wide-net'"):
        models.check_name("widenet")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("broken", r"model 'broken' \(brought_nets:nothing\) cannot be imported: AttributeError"),
        ("odd", r"model 'odd' \(brought_nets:number\): expected a function"),
    ],
)
def test_one_that_cannot_be_used_says_why(name: str, reason: str) -> None:
    with pytest.raises(TaskError, match=reason):
        models.build(name, 10)


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ([("resnet56", "a:b")], r"model 'resnet56' \(a:b\): the table has another one of this name"),
        ([("x", "a:b"), ("x", "c:d")], r"model 'x' \(c:d\): another one is registered"),
        ([("a:b", "a:b")], r"model 'a:b' \(a:b\): expected letters, digits"),
        ([("timm/x", "a:b")], r"model 'timm/x' \(a:b\): expected letters, digits"),
    ],
)
def test_a_name_that_means_something_else_is_refused(
    monkeypatch: pytest.MonkeyPatch, entries: list[tuple[str, str]], reason: str
) -> None:
    bring(monkeypatch, *entries)
    with pytest.raises(TaskError, match=reason):
        models.registered()

"""What there is to choose from."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any, Literal

import pytest
import toy_runs

from prunebench.envs.choices import CRITERIA, RECONSTRUCTIONS, SCOPES
from prunebench.envs.data import datasets
from prunebench.envs.networks import models
from prunebench.harness.experiments import listing, registry


def test_agents_have_their_options_and_broken_ones_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = {"broken": EntryPoint("broken", "no_such_module_at_all:A", registry.GROUP)}
    monkeypatch.setattr(registry, "registered", lambda: broken | toy_runs.registered())
    monkeypatch.setattr(registry, "CONTROLS", ("sampler",))
    text = listing.text("agents")
    lines = text.splitlines()
    assert lines[0] == "agents:"
    assert "  sampler (a control: part of every table)" in lines
    assert lines[lines.index("  noting") + 1] == "    factor: anything, needed"
    (reason,) = [line for line in lines if "broken" in line]
    assert "cannot be imported: ModuleNotFoundError" in reason


def test_data_sets_have_what_they_need() -> None:
    text = listing.text("datasets")
    assert "--data: needed, a folder with train/<class>/ and test/<class>/" in text
    for name in datasets.names():
        assert f"  {name}\n" in text


def test_models_and_choices_are_complete() -> None:
    assert [line.strip() for line in listing.text("models").splitlines()[1:-3]] == models.names()
    text = listing.text("options")
    for option, choices in {"scope": SCOPES, "importance": CRITERIA, "reconstruction": RECONSTRUCTIONS}.items():
        assert list(listing.MEANINGS[option]) == list(choices)
    for meanings in listing.MEANINGS.values():
        for name, meaning in meanings.items():
            assert f"    {name}: {meaning}" in text


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (int | None, "int or none"),
        (float, "float"),
        (Literal["a", "b"], "a | b"),
        (Literal["a", "b"] | Literal["c"], "a | b | c"),
        (Any, "anything"),
        (tuple[int, int], "tuple[int, int]"),
    ],
)
def test_types_are_readable(annotation: Any, text: str) -> None:
    assert listing.type_text(annotation) == text

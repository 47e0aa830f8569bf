"""Options are what the constructor says they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest

from prunebench.envs.errors import TaskError
from prunebench.harness.errors import RegistryError
from prunebench.harness.experiments import registry
from prunebench.harness.experiments.agent_options import typed
from prunebench.harness.experiments.agentspec import AgentSpec, parse

if TYPE_CHECKING:
    from nowhere import Unknown


class Annotated:
    def __init__(
        self,
        *,
        seed: int,
        steps: int = 3,
        rate: float = 0.1,
        kind: Literal["small", "large"] = "small",
        limit: int | None = None,
        flag: bool = False,
        pair: tuple[int, int] = (1, 2),
    ) -> None: ...


class Plain:
    def __init__(self, seed, step=0.1, name="x", other=None): ...  # type: ignore[no-untyped-def]


class Loose:
    def __init__(self, **anything: Any) -> None: ...


class Needy:
    def __init__(self, *, seed: int, size: int) -> None: ...


class Unresolvable:
    def __init__(self, *, seed: int, what: Unknown = 3) -> None: ...


class Text:
    def __init__(self, *, seed: int, name: str = "x") -> None: ...


class Strange:
    def __init__(self, *, seed: int, array: np.ndarray = np.zeros(2), own: Needy = None) -> None: ...  # noqa: B008


class Broken:
    def __init__(self, *, seed: "1 +") -> None: ...  # noqa: F722


class Seedless:
    def __init__(self) -> None: ...


@pytest.mark.parametrize(
    ("constructor", "options", "expected"),
    [
        (Annotated, {}, {}),
        (Annotated, {"steps": 5, "rate": 1, "kind": "large"}, {"steps": 5, "rate": 1.0, "kind": "large"}),
        (Annotated, {"limit": None, "flag": True}, {"limit": None, "flag": True}),
        (Annotated, {"pair": [3, 4]}, {"pair": (3, 4)}),
        (Plain, {"step": 1, "name": "y", "other": "anything"}, {"step": 1.0, "name": "y", "other": "anything"}),
        (Loose, {"whatever": [1]}, {"whatever": [1]}),
        (Needy, {"size": 2}, {"size": 2}),
        (Unresolvable, {"what": 5}, {"what": 5}),
        (Text, {"name": 2021}, {"name": "2021"}),
        (Broken, {}, {}),
    ],
)
def test_right_options(constructor: Any, options: dict[str, Any], expected: dict[str, Any]) -> None:
    result = typed("a", constructor, options)
    assert result == expected
    assert [type(value) for value in result.values()] == [type(value) for value in expected.values()]


@pytest.mark.parametrize(
    ("constructor", "options", "message"),
    [
        (Annotated, {"step": 5}, "agent 'a': option 'step' is unknown: expected one of .*; did you mean 'steps'"),
        (Annotated, {"steps": "many"}, "agent 'a': steps 'many': expected a valid integer"),
        (Annotated, {"steps": 2.5}, "steps 2.5: expected"),
        (Annotated, {"steps": True}, "steps True: expected a valid integer"),
        (Annotated, {"rate": "fast"}, "rate 'fast': expected a valid number"),
        (Annotated, {"kind": "lage"}, "kind 'lage': expected 'small' or 'large'; did you mean 'large'"),
        (Annotated, {"limit": "none"}, "limit 'none': expected a valid integer"),
        (Annotated, {"seed": 5}, "the seed is no option"),
        (Plain, {"step": "x"}, "step 'x': expected a valid number"),
        (Needy, {}, "option 'size' is missing"),
        (Seedless, {}, "takes no seed"),
        (Strange, {"array": [1]}, "array is annotated .*ndarray.*: expected a type as JSON has"),
        (Strange, {"own": 1}, "own is annotated .*Needy.*: expected a type as JSON has"),
        (int, {}, "expected a class with the keyword seed"),
    ],
)
def test_wrong_options_are_named_in_one_line(constructor: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises((RegistryError, TaskError), match=message) as error:
        typed("a", constructor, options)
    assert "\n" not in str(error.value)


class TestRealAgents:
    @pytest.fixture(autouse=True)
    def real(self, monkeypatch: pytest.MonkeyPatch, toy_agents: None) -> None:
        monkeypatch.undo()

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("bo:preset=modem", "preset 'modem': expected 'modern'.*did you mean 'modern'"),
            ("bo:initial=0", "agent 'bo': initial 0: expected at least 1"),
            ("clustered_bo:rollback=gradually", "did you mean 'gradual'"),
            ("clustered_bo:rollback=direct,bridge=5", "agent 'clustered_bo': bridge 5: expected with rollback gradual"),
            ("ddpg:warmpu=5", "did you mean 'warmup'"),
            ("uniform:seeds=5", "agent 'uniform' has no options: 'seeds' cannot be set"),
            ("bo:preset", "agent 'bo:preset': expected options as bo:key=value"),
            ("leaving_agent:A", "SystemExit"),
            ("math:sqrt", "agent 'math:sqrt' takes no seed"),
            ("math:squareroot", "has no Class 'squareroot'"),
            ("no_such_package.x:Agent", "no module 'no_such_package'"),
        ],
    )
    def test_are_checked_before_anything_runs(
        self, text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.syspath_prepend(tmp_path)
        (tmp_path / "leaving_agent.py").write_text("class A:\n    def __init__(self, seed): raise SystemExit(3)")
        (agent,) = parse(text)
        with pytest.raises((RegistryError, TaskError), match=message):
            registry.check(agent)

    @pytest.mark.parametrize("text", ["bo:preset=gpyopt2021,initial=5", "clustered_bo:preset=paper", "ddpg"])
    def test_right_ones_make_an_agent(self, text: str) -> None:
        (agent,) = parse(text)
        registry.check(agent)
        made = registry.factory(agent)(seed=3)
        assert made.seed == 3

    def test_code_from_outside_is_identified_by_its_file(self, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.syspath_prepend(tmp_path)
        found = []
        for text in ("class A: ...", "class A: ...  # changed"):
            (tmp_path / "outside_agent.py").write_text(text)
            found.append(registry.versions([AgentSpec("uniform"), AgentSpec("outside_agent:A")]))
        assert [list(versions) for versions in found] == [["outside_agent:A"]] * 2
        assert found[0] != found[1]

"""The command at the end: what it is told, and that its faults change nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from prunebench.harness.commands import bench
from prunebench.harness.following import notification
from prunebench.harness.following.notification import Ended, at_end

TELL = 'echo "$PRUNEBENCH_EXIT_CODE $PRUNEBENCH_SUMMARY [$PRUNEBENCH_FOLDERS]"'
A, B = Path("results/a"), Path("results/b")


@pytest.mark.parametrize(
    ("ended", "told"),
    [
        (Ended([A], 1, 0), "0 prunebench: experiment results/a: all is done [results/a]\n"),
        (Ended([A], 0, 1), "1 prunebench: experiment results/a: something failed [results/a]\n"),
        (
            Ended([A, B], 1, 1),
            "1 prunebench: 2 experiments: something failed in 1 of them [results/a\nresults/b]\n",
        ),
    ],
)
def test_it_is_told_what_has_ended(ended: Ended, told: str, capfd: pytest.CaptureFixture[str]) -> None:
    with at_end(TELL, lambda: ended):
        pass
    assert capfd.readouterr().out == told


def test_it_is_told_of_a_problem_but_not_of_an_interruption(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="no disk"), at_end(TELL, lambda: Ended([A], 0, 0)):
        raise ValueError("no disk")
    assert capfd.readouterr().out == "1 prunebench: experiment results/a: no disk [results/a]\n"
    with pytest.raises(KeyboardInterrupt), at_end(TELL, lambda: Ended([A], 0, 0)):
        raise KeyboardInterrupt
    assert capfd.readouterr().out == ""


def test_its_faults_are_said_in_a_line(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notification, "_PATIENCE", 0.1)
    for command, fault in (("exit 3", "exit code 3"), ("sleep 5", "it took longer than 0.1 s")):
        with at_end(command, lambda: Ended([A], 1, 0)):
            pass
        assert capfd.readouterr().err == f"notify {command!r} failed: {fault}\n"


@pytest.mark.parametrize("words", [["--notify", "curl secret"], ["--notify=curl secret"], []])
def test_it_is_not_kept_with_the_experiment(words: list[str]) -> None:
    assert bench._typed(["bench", *words, "--seeds", "2"]) == "prunebench bench --seeds 2"

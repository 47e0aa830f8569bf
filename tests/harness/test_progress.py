"""What is shown while runs go on: rates that replays do not distort, and the count of all runs."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from prunebench.harness import display, pace
from prunebench.harness.display import Bars, Lines, watch
from prunebench.harness.pace import Pace, Remaining, duration


class Clock:
    """Time that passes when it is told to."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(pace, "time", clock)
    monkeypatch.setattr(display, "time", clock)
    return clock


def test_the_rate_is_that_of_the_last_steps(clock: Clock) -> None:
    kept = Pace()
    assert kept.rate is None
    for done in range(101):
        kept.step(done)
        clock.now += 0.25 if done < 50 else 0.5
    assert kept.rate == pytest.approx(2.0)
    assert kept.text(150) == "2/s, 25 s left"


def test_it_is_not_told_too_early(clock: Clock) -> None:
    kept = Pace()
    kept.step(0)
    clock.now += 0.1
    kept.step(1)
    assert kept.text(100) == ""


def test_replayed_steps_do_not_count(clock: Clock) -> None:
    kept = Pace()
    kept.step(0)
    for done in range(1, 61):
        clock.now += 0.001 if done <= 50 else 2.0
        kept.step(done, min(done, 50))
    assert kept.rate == pytest.approx(0.5)


def test_beginning_afresh_begins_the_rate_afresh(clock: Clock) -> None:
    kept = Pace()
    for done in (0, 10, 1, 2, 3):
        kept.step(done)
        clock.now += 1
    assert kept.rate == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s"), (13.2, "13 s"), (99, "99 s"), (240, "4 min"), (7500, "2 h 5 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_lines_say_rate_time_left_and_count(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Lines() as lines:
        lines.overall(0, 3)
        for done in range(100):
            lines.step("random seed 0", done, 100, "incumbent 93.10 %")
            clock.now += 0.5
        lines.overall(1, 3, 250.0)
        lines.end("random seed 0", "random seed 0: done")
        lines.end("timing", "timing: done")
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "random seed 0: 25/100, incumbent 93.10 %, 2/s, 38 s left"
    assert said[-2:] == ["random seed 0: done (runs 1/3, about 4 min left)", "timing: done"]
    assert len(said) == 5


def test_what_a_process_reports_is_over_when_all_of_it_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    with Bars(Console(file=io.StringIO(), force_terminal=True)) as bars:
        for done in range(3):
            assert bool(bars._tasks) == (done > 0)
            watch(bars)("timing", done, 2)
        assert not bars._tasks
    watch(Lines())("timing", 1, 1)
    watch(Lines(), told=True)("training", 0, 1)
    watch(Lines(), told=True)("training", 1, 1)
    assert capsys.readouterr().err == "training: done\n"


def test_bars_show_every_run_and_all_of_them(clock: Clock) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=160)
    with Bars(console) as bars:
        bars.overall(3, 18)
        for done in range(11):
            bars.step("bo seed 0", done, 100, "incumbent 93.10 %")
            clock.now += 0.5
        bars._progress.refresh()
        bars.overall(4, 18, 95.0)
        bars.end("bo seed 0", "bo seed 0: done")
        bars.overall(18, 18)
        assert not bars._tasks
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.getvalue())
    assert re.search(r"runs .* 3/18", text)
    assert re.search(r"bo seed 0 .*10/100 incumbent 93.10 %, 2/s, 45 s left", text)
    assert "bo seed 0: done" in text


def test_the_end_of_all_runs_is_told_from_what_evaluations_took(clock: Clock) -> None:
    remaining = Remaining(100)
    remaining.begin({f"{agent} seed {seed}": agent for agent in ("once", "random") for seed in range(2)})
    remaining.step("random seed 0", 30, 20)  # twenty of them were another call's
    clock.now += 5.0
    assert remaining.seconds() is None, "too early to tell"
    clock.now += 15.0
    assert remaining.seconds() == pytest.approx(2.0 * (100 + 100 + 70 + 100))
    remaining.step("once seed 0", 1, 0)
    remaining.end("once seed 0")
    clock.now += 2.0
    assert remaining.seconds() == pytest.approx(2.0 * (1 + 70 + 100)), "the other one will end as soon"
    for run in ("once seed 1", "random seed 0", "random seed 1"):
        remaining.end(run)
    assert remaining.seconds() == 0

"""The lines of a run: torn, damaged, locked, set aside."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunebench.harness.errors import DamagedError
from prunebench.harness.record.journal import Journal, Line, incumbent, read

SECONDS = dict.fromkeys(("agent", "reconstruction", "forward", "environment"), 0.0)


def entry(index: int, **values: Any) -> dict[str, Any]:
    other = {"feasible": True, "probe": False, "requested": [], "realised": [], "channels": [], "seconds": SECONDS}
    return dict.fromkeys(Line.model_fields, 0) | other | {"index": index, "loss": 1.0} | values


def line(index: int, **values: Any) -> Line:
    return Line(**entry(index, **values))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "seed-0.jsonl"


def written(path: Path, count: int) -> bytes:
    with Journal(path) as journal:
        for index in range(count):
            journal.append(line(index, accuracy=index / 7))
    return path.read_bytes()


def test_what_has_no_finite_loss_comes_back_and_is_the_worst(path: Path) -> None:
    losses = [math.nan, math.inf, 2.0]
    with Journal(path) as journal:
        for index, loss in enumerate(losses):
            journal.append(line(index, reward=1 - index / 10, loss=loss))
    lines = read(path)
    assert [repr(found.loss) for found in lines] == ["nan", "inf", "2.0"]
    assert [found and found.index for found in (incumbent(lines), incumbent(lines[:2]))] == [2, 0]


def test_no_file_is_no_lines(path: Path) -> None:
    assert read(path) == []


def test_lines_come_back_exactly(path: Path) -> None:
    written(path, 3)
    assert read(path) == [line(index, accuracy=index / 7) for index in range(3)]


def test_a_tail_torn_anywhere_is_dropped_and_overwritten(path: Path) -> None:
    whole = written(path, 3)
    keep = whole.rindex(b"\n", 0, -1) + 1
    for cut in range(keep, len(whole)):
        path.write_bytes(whole[:cut])
        assert [found.index for found in read(path)] == [0, 1]
        with Journal(path) as journal:
            assert len(journal.lines) == 2
            assert journal.notices == (["a torn line after evaluation 2 was dropped"] if cut > keep else [])
            assert not journal.damaged
            journal.append(line(2, accuracy=2 / 7))
        assert path.read_bytes() == whole


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda lines: [lines[0], b"{broken", lines[2]], "line 2 is damaged"),
        (lambda lines: [lines[0], lines[1], b"{broken"], "line 3 is damaged"),
        (lambda lines: [lines[0], lines[2]], "line 2 has index 2: expected 1"),
        (lambda lines: [lines[0], b"17"], "line 2 is not an evaluation"),
        (
            lambda lines: [lines[0], json.dumps(entry(1, accuracy=None)).encode()],
            "line 2 is not an evaluation: accuracy",
        ),
        (lambda lines: [lines[0], json.dumps(entry(1, channels=3)).encode()], "line 2 is not an evaluation: channels"),
        (
            lambda lines: [lines[0], json.dumps(entry(1, seconds={})).encode()],
            "line 2 is not an evaluation: seconds.agent",
        ),
        (lambda lines: [lines[0], b'{"index": 1}'], "line 2 is not an evaluation"),
        (lambda lines: [lines[0], b"", lines[1]], "line 2 is damaged"),
        (lambda lines: [lines[0], b"\xff\xfe", lines[1]], "line 2 is damaged"),
    ],
)
def test_other_damage_names_file_and_line(path: Path, damage: Any, message: str) -> None:
    content = b"\n".join(damage(written(path, 3).splitlines())) + b"\n"
    path.write_bytes(content)
    with pytest.raises(DamagedError, match=message) as error:
        read(path)
    assert str(path) in str(error.value)
    assert path.read_bytes() == content
    with Journal(path) as journal:  # begins afresh, and keeps what was there
        assert journal.damaged
        assert journal.lines == []
        [notice] = journal.notices
        assert message in notice
        assert "kept as seed-0.damaged-1.jsonl" in notice
        journal.append(line(0))
    assert read(path) == [line(0)]
    assert path.with_name("seed-0.damaged-1.jsonl").read_bytes() == content


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_after_a_line_that_could_not_be_written_none_is(path: Path) -> None:
    with Journal(path) as journal:
        journal.append(line(0))
        file, journal._file = journal._file, open("/dev/full", "wb", buffering=0)  # noqa: SIM115
        with pytest.raises(OSError, match="No space left"):
            journal.append(line(1))
        journal._file.close()
        journal._file = file
        with pytest.raises(OSError, match="No space left"):
            journal.append(line(2))
    assert [found.index for found in read(path)] == [0]


def test_only_one_process_may_write(path: Path) -> None:
    attempt = (
        "import sys; from pathlib import Path; from prunebench.harness.record.journal import Journal; "
        "Journal(Path(sys.argv[1]))"
    )
    command = [sys.executable, "-c", attempt, str(path)]
    with Journal(path):
        refused = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert "BusyError" in refused.stderr
    assert "in use by another process" in refused.stderr
    assert subprocess.run(command, capture_output=True, cwd=Path(__file__).parents[2]).returncode == 0


def test_setting_aside_keeps_the_lines_and_begins_afresh(path: Path) -> None:
    for number in (1, 2):
        with Journal(path) as journal:
            journal.append(line(0, accuracy=number))
            aside = journal.set_aside("nondeterministic")
            assert journal.lines == []
            assert aside.name == f"seed-0.nondeterministic-{number}.jsonl"
            assert read(aside) == [line(0, accuracy=number)]
            assert read(path) == []


def test_no_feasible_line_is_no_incumbent() -> None:
    assert incumbent([]) is None
    assert incumbent([line(0, feasible=False, accuracy=1.0)]) is None


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=12))
def test_the_incumbent_beats_every_other_feasible_line(values: list[tuple[bool, int, int]]) -> None:
    lines = [line(i, feasible=f, accuracy=-a, reward=a, loss=b) for i, (f, a, b) in enumerate(values)]
    best = incumbent(lines)
    feasible = [each for each in lines if each.feasible]
    assert (best is None) == (not feasible)
    for other in feasible:
        assert best is not None
        if best.reward != other.reward:  # which need not be the accuracy
            assert best.reward > other.reward
        elif best.loss != other.loss:
            assert best.loss < other.loss
        else:
            assert best.index <= other.index


AS_WRITTEN = (  # by the first version, in a reference study
    b'{"index": 0, "requested": [0.7031, 1e-05], "realised": [0.7031, 1.0], "channels": [45, 35], "accuracy": 0.99, '
    b'"loss": 0.02452194861353194, "reward": 0.99, "macs": 3914790, "parameters": 8315052, "cost": 0.49994610765473, '
    b'"feasible": true, "probe": false, "repeat_of": null, "seconds": {"agent": 0.0216667000058805, "reconstruction": '
    b'0.09610719899501419, "forward": 0.3401608630010742, "environment": 0.0013862009946024045}}\n'
    b'{"index": 1, "requested": [0.84375, 1.0], "realised": [0.84375, 1.0], "channels": [54, 58], "accuracy": 0.0, '
    b'"loss": NaN, "reward": 0.0, "macs": 39152036, "parameters": 6027738, "cost": 0.49999882509579047, "feasible": '
    b'true, "probe": true, "repeat_of": 0, "seconds": {"agent": 0.0002179529910790734, "reconstruction": '
    b'7.281800208147615e-05, "forward": 0.39564344300015364, "environment": 0.001303686010942}}\n'
)


def test_lines_that_are_on_disk_stay_what_they_are(path: Path) -> None:
    path.parent.mkdir()
    path.with_name("old.jsonl").write_bytes(AS_WRITTEN)
    with Journal(path) as journal:
        for found in read(path.with_name("old.jsonl")):
            journal.append(found)
    assert path.read_bytes() == AS_WRITTEN


def test_a_line_is_one_line_of_json(path: Path) -> None:
    content = written(path, 2)
    assert [json.loads(text)["index"] for text in content.splitlines()] == [0, 1]

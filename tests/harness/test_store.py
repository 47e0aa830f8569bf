"""The files of an experiment: what is damage and what is not, drafts that were left behind, locks."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

import fake
import pytest
from pydantic import ValidationError

from prunebench.harness.errors import ConfigError, DamagedError, in_one_line
from prunebench.harness.experiments.config import ExperimentConfig
from prunebench.harness.files import write_json, write_text
from prunebench.harness.record import store
from prunebench.harness.record.run_files import Run
from prunebench.harness.record.status import Problem, Status
from prunebench.harness.record.store import Experiment


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "runs" / "x" / "random", "random", 0)


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        "[" * 100_000,
        '{"schema": 1}',
        '{"schema": 1, "status": "lost"}',
        '{"schema": 1, "status": "damaged"}',
        '{"schema": 1, "status": "done", "failures": "2"}',
        '{"schema": 1, "status": "done", "incumbent": "first"}',
        '{"schema": 1, "status": "done", "test": {"accuracy": 1}}',
        '{"schema": 1, "status": "done", "test": 5}',
        '{"schema": 1, "status": "done", "notes": []}',
        '{"schema": 1, "status": "done", "latency": 3}',
        '{"schema": 1, "status": "failed", "error": {"type": "ValueError"}}',
    ],
)
def test_a_status_that_is_not_what_was_written_is_damaged_and_can_be_begun_afresh(run: Run, content: str) -> None:
    run.folder.mkdir(parents=True)
    run.status_path.write_text(content)
    for found in (run.status(), run.checked()):
        assert found.state == "damaged"
        assert found.error is not None
        assert str(run.status_path) in found.error.message
    assert run.mended().state == "waiting"
    assert (run.folder / "seed-0.damaged-1.json").read_text() == content


AS_WRITTEN = """{
  "schema": 1,
  "agent": "random",
  "seed": 0,
  "attempts": 2,
  "failures": 1,
  "notices": [
    "a torn line after evaluation 3 was dropped"
  ],
  "nondeterministic": [
    {
      "lines": "seed-0.nondeterministic-1.jsonl",
      "reason": "evaluation 2 is of another policy than the recorded one"
    }
  ],
  "error": null,
  "incumbent": 26,
  "test": {
    "accuracy": 0.9872222222222222,
    "loss": 0.04537986474254423
  },
  "notes": {
    "steps": [
      1,
      0.5
    ]
  },
  "seconds": {
    "setup": 0.6157989010025631,
    "closing": 7.281800208147615e-05
  },
  "status": "done",
  "lines": 100,
  "latency": {
    "dense_seconds": 0.13854835699748946,
    "images": 100,
    "threads": 1,
    "seconds": 0.07907263699598843
  }
}
"""  # by the first version, in a reference study


@pytest.mark.parametrize("without", [(), ("lines", "latency")])
def test_a_status_that_is_on_disk_stays_what_it_is(run: Run, without: tuple[str, ...]) -> None:
    content = {key: value for key, value in json.loads(AS_WRITTEN).items() if key not in without}
    text = json.dumps(content, indent=2) + "\n"
    assert without or text == AS_WRITTEN
    run.folder.mkdir(parents=True)
    run.status_path.write_text(text)
    run.write_status(run.status())
    assert run.status_path.read_text() == text


def test_the_order_of_keys_means_nothing(run: Run) -> None:
    run.folder.mkdir(parents=True)
    run.status_path.write_text(json.dumps(dict(reversed(json.loads(AS_WRITTEN).items()))))
    run.write_status(run.status())
    assert run.status_path.read_text() == AS_WRITTEN


def test_an_error_that_utf8_has_not_can_be_read_back(run: Run) -> None:
    run.write_status(Status(status="failed", error=Problem.of(ValueError("two\nlines \udcff"))))
    found = run.status().error
    assert found is not None
    assert (found.type, found.message) == ("ValueError", "two lines \\udcff")
    assert str(found) == "ValueError: two lines \\udcff"
    assert "ValueError: two" in found.traceback


def test_a_status_takes_nothing_that_it_would_not_read() -> None:
    status = Status(status="running")
    with pytest.raises(ValidationError):
        status.attempts = "2"  # type: ignore[assignment]


def test_an_error_of_the_system_is_no_damage(run: Run) -> None:
    run.write_status(Status(status="done"))
    before = run.status_path.read_bytes()
    run.status_path.unlink()
    run.status_path.mkdir()  # reading it is an OSError
    with pytest.raises(OSError, match="directory"):
        run.mended()
    run.status_path.rmdir()
    run.status_path.write_bytes(before)
    assert run.mended().state == "done"


@pytest.mark.parametrize("content", [{}, {"task": []}, {"task": {}, "sessions": {}}])
def test_a_manifest_without_its_parts_is_damaged(tmp_path: Path, content: dict[str, object]) -> None:
    experiment = Experiment(tmp_path, ExperimentConfig())
    write_json(experiment.manifest_path, content)
    with pytest.raises(DamagedError, match=r"manifest\.json"):
        experiment.manifest()


def test_what_a_killed_command_left_before_it_had_written_anything_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / ".experiment.yaml.1234.tmp").write_text("half")
    for lock in (".lock", ".work"):
        (tmp_path / lock).touch()
    assert store.meet(tmp_path, ExperimentConfig()) is None
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ConfigError, match="is no experiment"):
        store.meet(tmp_path, ExperimentConfig())


def test_no_draft_is_left_where_a_text_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "new" / "x.md", "\udcff")
    assert list((tmp_path / "new").iterdir()) == []


def test_the_folders_lock_is_held_by_one(tmp_path: Path) -> None:
    with store.locked(tmp_path):
        child = os.fork()
        if not child:
            try:
                with (tmp_path / ".lock").open("a") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os._exit(7)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_an_experiment_is_busy_while_somebody_is_at_work_on_it(tmp_path: Path) -> None:
    made = fake.experiment(tmp_path / "x", 1, agents=("random",))
    assert not made.busy()
    with store.at_work(made.folder):
        with store.at_work(made.folder):
            assert made.busy()
        assert made.busy()
    assert not made.busy()
    with made.run("random", 0).open():  # by a version that does not say so otherwise
        assert made.busy()
    with store.at_work(tmp_path / "new"):
        assert not (tmp_path / "new").exists()


def test_messages_can_be_written_anywhere() -> None:
    assert in_one_line(ValueError("two\nlines \udcff")) == "two lines \\udcff"
    assert len(in_one_line(ValueError("x" * 5000))) < 1010
    assert json.loads(json.dumps(in_one_line(ValueError("é ∞")))) == "é ∞"

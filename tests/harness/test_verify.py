"""Checking an experiment's results: an untouched one has no findings, and what was altered is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fake
import pytest

from prunebench.harness import api, cli
from prunebench.harness.record import store
from prunebench.harness.record.store import Experiment
from prunebench.harness.report.tables import table_list

pytestmark = pytest.mark.usefixtures("finished_runs_server")


def run_command(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert isinstance(end.value.code, int)
    return end.value.code


@pytest.fixture
def reported(experiment: Experiment) -> Experiment:
    """With tables."""
    table_list.rebuild(experiment.folder)
    return experiment


def test_an_untouched_experiment(reported, capfd):
    before = {p: p.read_bytes() for p in reported.folder.rglob("*") if p.is_file()}
    assert run_command("verify", str(reported.folder)) == 0
    print(capfd.readouterr())
    assert before == {p: p.read_bytes() for p in reported.folder.rglob("*") if p.is_file()}
    assert 0

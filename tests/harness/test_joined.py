"""Experiments of one task in several folders: one comparison, and merged into one experiment."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fake
import numpy as np
import pandas as pd
import pytest

from prunebench.envs.tasks.task import TaskConfig
from prunebench.harness.analysis.results import Results
from prunebench.harness.errors import ConfigError
from prunebench.harness.experiments import config as configs
from prunebench.harness.files import read_json, write_json, write_text
from prunebench.harness.record import merging, store
from prunebench.harness.record.store import Experiment
from prunebench.harness.report import page
from prunebench.harness.report.tables import table_differences

AGENTS = ("random", "bo", "ddpg")


@pytest.fixture
def whole(tmp_path: Path) -> Experiment:
    return fake.experiment(tmp_path / "whole", 3, agents=AGENTS)


def part(whole: Experiment, name: str, **changes: Any) -> Experiment:
    """A copy of the experiment that is asked for other runs only; the files of the others go."""
    folder = whole.folder.with_name(name)
    shutil.copytree(whole.folder, folder)
    made = Experiment(folder, dataclasses.replace(whole.config, **changes))
    write_text(made.yaml_path, configs.to_yaml(made.config, f"made {name}"))
    for run in {*Experiment(folder, whole.config).runs()} - {*made.runs()}:
        run.lines_path.unlink()
        run.status_path.unlink()
    return store.load(folder)


def change(experiment: Experiment, **facts: Any) -> None:
    content = read_json(experiment.manifest_path)
    write_json(experiment.manifest_path, content | {"task": content["task"] | facts})


def same_runs(one: Results, other: Results) -> None:
    by = ["agent", "seed"]
    first, second = (results.runs.sort_values(by, ignore_index=True) for results in (one, other))
    pd.testing.assert_frame_equal(first, second)


def files(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_some_seeds_of_parts(whole: Experiment) -> None:
    """A part may have none of them."""
    parts = [part(whole, "a", seeds=2), part(whole, "b", seeds="2-2")]
    joint = Results(parts, seeds=(0, 1))
    same_runs(joint, Results(parts[:1]))
    assert len(Results(parts).runs) == len(AGENTS) * 3


def test_folders_with_other_agents_are_one_comparison(whole: Experiment, tmp_path: Path) -> None:
    parts = [part(whole, "a", agents=("random",)), part(whole, "b", agents=("bo", "ddpg"))]
    results = Results(parts)
    (joint,) = results.experiments
    assert [agent.label for agent in joint.config.agents] == ["random", "bo", "ddpg"]
    same_runs(results, Results([whole]))
    before = [files(one.folder) for one in parts]
    assert page.write(results) == tmp_path / "a,b" / "report.html"
    assert (tmp_path / "a,b" / "tables" / "differences.csv").exists()
    assert [files(one.folder) for one in parts] == before
    text = (tmp_path / "a,b" / "report.html").read_text()
    assert "made a" in text
    assert "made b" in text


def test_shards_are_the_experiment_again(whole: Experiment) -> None:
    shards = [part(whole, f"s{number}", shard=f"{number}/4") for number in range(1, 5)]
    assert {run.status().state for shard in shards for run in shard.runs()} == {"done"}
    assert sum(len(shard.runs()) for shard in shards) == len(whole.runs())
    results = Results(shards)
    assert results.experiment.config == whole.config
    same_runs(results, Results([whole]))


def test_a_run_in_two_folders_counts_once_and_the_finished_copy_counts(whole: Experiment) -> None:
    other = part(whole, "other", agents=("random", "bo"))
    halves = [Experiment(e.folder, e.config).run("bo", 1) for e in (whole, other)]
    fake.put_lines(halves[0], [json.loads(text) for text in halves[0].lines_path.read_text().splitlines()[:3]])
    fake.amend(halves[0], status="running", incumbent=None, test=None, lines=None)
    results = Results([whole, other])
    assert len(results.runs) == len(whole.runs())
    assert set(results.runs["status"]) == {"done"}
    assert results.experiment.run("bo", 1) == halves[1]
    assert results.experiment.run("bo", 0) == whole.run("bo", 0)


def test_other_tasks_are_others(whole: Experiment) -> None:
    networks, budgets = part(whole, "a"), part(whole, "b", preserve=0.4)
    change(networks, weights_sha256="other")
    assert len(Results([whole, networks, budgets]).experiments) == 3


@pytest.mark.parametrize("turned", [False, True])
def test_what_one_part_was_begun_with_says_nothing_of_the_other(whole: Experiment, turned: bool) -> None:
    begun = {"looks": (2, 3), "claims": "a" * 64}
    one, other = part(whole, "one", **begun), part(whole, "other")
    (joint,) = Results([other, one] if turned else [one, other]).experiments
    assert (joint.config.looks, joint.config.claims) == ((), "")
    notes = table_differences.table(Results([one, other])).notes
    assert notes == [
        "Seeds were added by what was seen, which p values of several experiments together do not allow for."
    ]
    (joint,) = Results([one, part(whole, "again", **begun)]).experiments
    assert (joint.config.looks, joint.config.claims) == ((2, 3), "a" * 64)


def merged(parts: Sequence[Experiment], folder: Path) -> Experiment:
    merging.merge(parts, folder, "prunebench merge")
    return store.load(folder)


def test_merging_copies_all_of_it(whole: Experiment, tmp_path: Path) -> None:
    shards = [part(whole, f"s{number}", shard=f"{number}/2") for number in (1, 2)]
    content = read_json(shards[1].manifest_path)
    write_json(shards[1].manifest_path, content | {"sessions": [fake.SESSION, fake.SESSION | {"jobs": 7}]})
    write_text(shards[0].runs()[0].log_path, "said")
    made = merged(shards, tmp_path / "new" / "all")
    assert made.config == whole.config
    assert files(made.folder / "runs") == files(whole.folder / "runs") | {
        shards[0].runs()[0].log_path.relative_to(shards[0].folder / "runs"): b"said"
    }
    assert [session["jobs"] for session in made.manifest()["sessions"]] == [2, 7]
    assert not [
        path for path in made.folder.rglob("*") if path.is_symlink() or (path.stat().st_nlink > 1 and path.is_file())
    ]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["all"]


def test_seeds_may_differ_and_be_added_to(whole: Experiment, tmp_path: Path) -> None:
    parts = [part(whole, "a", seeds="1-2", agents=("random",)), part(whole, "b", agents=("bo",))]
    made = merged(parts, tmp_path / "all")
    assert made.config.seeds == (("random", "1-2"), ("bo", 3))
    assert len(Results([made]).runs) == 5
    more = store.meet(made.folder, dataclasses.replace(whole.config, seeds=2, agents=("random",)))
    assert more is not None
    assert more.config.seeds == 3
    alone = part(made, "alone", seeds={"random": "1-2", "bo": 3})
    assert merged([alone, made], tmp_path / "again").config == made.config


def test_the_first_folders_times_are_kept_and_it_is_said(whole: Experiment, tmp_path: Path) -> None:
    other = part(whole, "other", agents=("random",))
    run = other.run("random", 0)
    lines = [json.loads(text) for text in run.lines_path.read_text().splitlines()]
    fake.put_lines(run, [line | {"seconds": dict.fromkeys(line["seconds"], 9.0)} for line in lines])
    found = merging.merge([whole, other], tmp_path / "all", "")
    assert files(tmp_path / "all" / "runs") == files(whole.folder / "runs")
    (line,) = merging.told(found)
    assert line.endswith(f"taken with its times from {whole.folder}: random seed 0, random seed 1, random seed 2")


def contradicting(run: Any, **changes: Any) -> None:
    lines = [json.loads(text) for text in run.lines_path.read_text().splitlines()]
    fake.put_lines(run, [lines[0] | changes, *lines[1:]])


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda e: contradicting(e.run("bo", 1), accuracy=0.001), "bo seed 1: .*evaluation 0 has accuracy .*0.001"),
        (lambda e: contradicting(e.run("bo", 1), channels=[1] * fake.LAYERS), "evaluation 0 is of another policy"),
        (lambda e: fake.amend(e.run("bo", 1), test={"accuracy": 0.5, "loss": 1.0}), "test accuracy is .* and 0.5"),
        (lambda e: fake.write_run(e, "bo", 1, np.random.default_rng(9), 0.5), "contradict each other"),
    ],
)
def test_runs_that_contradict_each_other_are_refused(whole: Experiment, tmp_path: Path, spoil: Any, words: str) -> None:
    other = part(whole, "other")
    spoil(other)
    for wrong in (lambda: merging.merge([whole, other], tmp_path / "all", ""), lambda: Results([whole, other])):
        with pytest.raises(ConfigError, match=words) as error:
            wrong()
        assert "\n" not in str(error.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "whole"]


@pytest.mark.parametrize(
    ("changes", "facts", "words"),
    [
        ({"preserve": 0.4, "evaluations": 9}, {}, "preserve is 0.5, not 0.4; evaluations is 12, not 9"),
        ({"task": TaskConfig(batch_size=9)}, {}, "batch-size is 250, not 9"),
        ({"threads": 2, "reward": "accuracy-guaranteed"}, {}, "reward is .*threads is 1, not 2"),
        ({}, {"weights_sha256": "x", "data_sha256": "y"}, "other weights; other data"),
        ({}, {"splits": {"calibration": 300, "reward": 100, "test": 200}}, "other splits"),
        ({}, {"method": 2}, "other method"),
    ],
)
def test_other_tasks_are_not_merged(
    whole: Experiment, tmp_path: Path, changes: dict[str, Any], facts: dict[str, Any], words: str
) -> None:
    other = part(whole, "other", **changes)
    change(other, **facts)
    with pytest.raises(ConfigError, match=f"are not of one task: {words}"):
        merging.merge([whole, other], tmp_path / "all", "")
    assert not (tmp_path / "all").exists()


def test_paths_may_differ_where_hashes_agree(whole: Experiment, tmp_path: Path) -> None:
    other = part(whole, "other", task=TaskConfig(weights="elsewhere.pt"), seeds="3-4")
    for seed in (3, 4):
        for agent in AGENTS:
            fake.write_run(other, agent, seed, np.random.default_rng(seed), 0.6)
    assert merged([whole, other], tmp_path / "all").config == dataclasses.replace(whole.config, seeds=5)


def test_where_a_merged_experiment_can_go(whole: Experiment, tmp_path: Path) -> None:
    other = part(whole, "other")
    with pytest.raises(ConfigError, match="exists: expected a new or an empty folder"):
        merging.merge([whole, other], whole.folder, "")
    with pytest.raises(ConfigError, match="at least two experiments"):
        merging.merge([whole], tmp_path / "all", "")

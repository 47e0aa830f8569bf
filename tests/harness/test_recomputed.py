"""Tables on disk against those that the runs make, on runs that were never made."""

from __future__ import annotations

from pathlib import Path

import fake
import pytest

from prunebench.harness.analysis.results import Results
from prunebench.harness.record import store
from prunebench.harness.record.store import Experiment
from prunebench.harness.report import recomputed
from prunebench.harness.report.tables import table_list


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    return fake.experiment(tmp_path / "x", seeds=2, agents=("uniform", "random", "bo"))


def replaced(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_a_cell_that_was_altered_is_named(experiment: Experiment) -> None:
    table_list.write(Results([experiment]))
    folder = experiment.tables_folder
    assert recomputed.compare(experiment).findings == []
    heading, row, *_ = (folder / "runs.csv").read_text().splitlines()
    at = heading.split(",").index("test_accuracy_percent")
    accuracy = row.split(",")[at]
    replaced(folder / "runs.csv", accuracy, f"{float(accuracy) + 1e-6!r}")
    rows = (folder / "anytime.md").read_text().splitlines()
    area = rows[4].split("|")[2].split()[0]
    replaced(folder / "anytime.md", rows[4], rows[4].replace(area, "99.99"))
    replaced(folder / "table.tex", "{table}", "{tables}")
    found = {(finding.file.name, finding.field): finding for finding in recomputed.compare(experiment).findings}
    assert set(found) == {("runs.csv", "line 2, test_accuracy_percent"), ("anytime.md", "line 5, area, %"), LATEX}
    told = found["anytime.md", "line 5, area, %"]
    assert (told.says.split()[0], told.found.split()[0]) == ("99.99", area)


LATEX = ("table.tex", "line 2")


def test_last_digits_may_differ_and_files_be_missing(experiment: Experiment) -> None:
    table_list.write(Results([experiment]))
    folder = experiment.tables_folder
    heading, row, *_ = (folder / "runs.csv").read_text().splitlines()
    accuracy = row.split(",")[heading.split(",").index("test_accuracy_percent")]
    replaced(folder / "runs.csv", accuracy, f"{float(accuracy) * (1 + 1e-14)!r}")
    (folder / "table.tex").unlink()
    (folder / "mine.md").write_text("")
    found = recomputed.compare(experiment)
    assert found.findings == []
    assert found.notes == [f"{folder}: not there: table.tex", f"{folder}: no tables of ours: mine.md"]


def test_tables_of_another_reference_and_of_targets_are_made_like_them(experiment: Experiment) -> None:
    table_list.write(Results([experiment], "bo", (62.5, 70)))
    assert recomputed.compare(experiment).findings == []
    assert recomputed.compare(experiment).notes == []


def test_many_differences_of_one_file_are_counted(experiment: Experiment) -> None:
    table_list.write(Results([experiment]))
    path = experiment.tables_folder / "runs.csv"
    path.write_text(path.read_text().replace("done", "gone"))
    *_, last = found = recomputed.compare(experiment).findings
    assert len(found) == 4
    assert str(last).endswith("3 more differences")
    path.write_text("")
    first, *_ = recomputed.compare(experiment).findings
    assert (first.field, first.says, first.found) == ("lines", "1", "8")


def test_a_table_that_these_runs_do_not_make_is_found(experiment: Experiment) -> None:
    table_list.write(Results([experiment]))
    (experiment.tables_folder / "components.md").write_text("| a table |")
    (finding,) = recomputed.compare(experiment).findings
    assert finding.file.name == "components.md"


def test_the_folder_may_be_renamed_and_the_version_be_another(experiment: Experiment) -> None:
    table_list.write(Results([experiment]))
    folder = experiment.folder.rename(experiment.folder.with_name("renamed"))
    renamed, bibliography = store.load(folder), folder / "tables/methods.bib"
    replaced(bibliography, "Version", "Version 0.0.")
    assert recomputed.compare(renamed).findings == []
    replaced(bibliography, "@", "@@")
    (finding,) = recomputed.compare(renamed).findings
    assert (finding.file, finding.field) == (bibliography, "line 1")

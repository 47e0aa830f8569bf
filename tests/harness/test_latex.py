"""The LaTeX tables, pasted into a minimal document, compile; the CSV files read back with pandas."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import fake
import pandas as pd
import pytest

from prunebench.harness.analysis.results import Results
from prunebench.harness.record.store import Experiment
from prunebench.harness.report.tables import table_list

PDFLATEX = shutil.which("pdflatex")
DOCUMENT = "\\documentclass{article}\n\\usepackage{array,booktabs,graphicx}\n\\begin{document}\n%s\n\\end{document}\n"


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """Ten seeds, fine-tuned, and an agent whose name and error need escaping."""
    label = "bo:note=a_b&50%#$^~"
    made = fake.experiment(
        tmp_path_factory.mktemp("latex"), 10, agents=("uniform", "random", "bo", label), finetuned=True
    )
    error = {"type": "ValueError", "message": "x_1 < 2 & {50 %} \\ failed", "traceback": ""}
    run = made.run(label, 9)
    fake.amend(run, status="failed", error=error)
    table_list.write(Results([made]))
    return made


@pytest.mark.skipif(PDFLATEX is None, reason="no pdflatex on this machine: the tables were not compiled")
def test_the_tables_compile(experiment: Experiment, tmp_path: Path) -> None:
    sources = sorted(experiment.tables_folder.glob("*.tex"))
    assert len(sources) == 7
    other = fake.experiment(tmp_path / "other", 2, preserve=0.3)
    text = [path.read_text() for path in sources] + [
        table_list.render(Results([experiment, other]), "latex", "Mine & yours")
    ]
    (tmp_path / "paper.tex").write_text(DOCUMENT % "\n\\clearpage\n".join(text))
    assert PDFLATEX is not None
    command = [PDFLATEX, "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout[-2000:]
    assert (tmp_path / "paper.pdf").read_bytes().startswith(b"%PDF")
    assert "Missing character" not in result.stdout
    assert "Overfull" not in result.stdout
    assert "Float too large" not in result.stdout
    assert "multiply" not in result.stdout  # labels


def test_the_best_is_bold_and_what_is_not_told_apart_underlined(tmp_path: Path) -> None:
    few = table_list.render(Results([fake.experiment(tmp_path / "few", 2)]), "latex")
    assert few.count("\\textbf{") == 2  # reward and test accuracy
    assert "underlined: may be the best too" in few
    made = fake.experiment(tmp_path / "many", 10, agents=("uniform", "random", "bo"))
    for agent, level in (("uniform", 0.3), ("random", 0.8), ("bo", 0.8)):
        for seed in range(10):
            rng = fake.np.random.default_rng([seed, len(agent)])
            fake.write_run(made, agent, seed, rng, level)
    results = Results([made])
    means = results.runs.groupby("agent")["test_accuracy"].mean()
    text = {row.split("&")[0].strip(): row for row in table_list.render(results, "latex").splitlines() if "&" in row}
    best, second = ("bo", "random") if means["bo"] > means["random"] else ("random", "bo")
    assert f"\\textbf{{{means[best]:.2f}" in text[best]
    assert f"\\underline{{{means[second]:.2f}" in text[second]
    assert "\\underline" not in text["uniform"]


@pytest.mark.parametrize("name", ["table", "statistics", "differences", "variances", "anytime", "claims"])
def test_the_csv_reads_back(experiment: Experiment, name: str) -> None:
    text = (experiment.tables_folder / f"{name}.csv").read_text()
    frame = pd.read_csv(io.StringIO(text), float_precision="round_trip")
    again = pd.read_csv(io.StringIO(frame.to_csv(index=False)), float_precision="round_trip")
    pd.testing.assert_frame_equal(frame, again, check_exact=True)
    if name == "table":
        runs = Results([experiment]).runs
        done = runs[(runs["agent"] == "bo") & (runs["status"] == "done")]
        row = frame.set_index("agent").loc["bo"]
        assert row["test_accuracy_mean_percent"] == done["test_accuracy"].mean()
        assert row["finetuned_accuracy_std_percent"] == pytest.approx(done["finetuned_accuracy"].std(), rel=1e-12)

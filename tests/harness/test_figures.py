"""What is drawn is what was measured; files and pages get clean, reproducible SVG."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import fake
import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from toy_runs import FACTS

from prunebench.agents.parts.clustering import cut
from prunebench.harness.analysis import anytime
from prunebench.harness.analysis.results import Results
from prunebench.harness.experiments import registry
from prunebench.harness.experiments.config import ExperimentConfig
from prunebench.harness.files import write_json
from prunebench.harness.record.store import Experiment
from prunebench.harness.report.figures import figure_files, figure_inline, figure_list, figure_style

AGENTS = ("uniform", "random", 'bo:note="<$x$_&>"', "clustered_bo", "waiting")
TREE = [[0, 1, 0.5, 2], [2, 3, 0.7, 2], [4, 5, 4.0, 4]]
NOTES = {
    "similarity": "EU",
    "tree": TREE,
    "stages": [cut(np.array(TREE), k).tolist() for k in (2, 3, 4)],
    "events": [{"evaluation": 4, "stage": 1, "low": 0.1, "high": 1.0}],
}
EVALUATIONS = 8
SINGLE = [drawing.name for drawing in figure_list.FIGURES]


def line(index: int, rng: np.random.Generator) -> dict[str, Any]:
    cost, accuracy = float(rng.uniform(0.3, 0.6)), float(rng.uniform(0.3, 0.99))
    policy = {name: rng.uniform(0.1, 1, 4).tolist() for name in ("requested", "realised")}
    parts = ("agent", "reconstruction", "forward", "environment")
    return policy | {
        "index": index,
        "channels": [1, 2, 3, 4],
        "accuracy": accuracy,
        "loss": 1 - accuracy,
        "reward": accuracy,
        "macs": int(1e6 * cost),
        "parameters": int(2e4 * cost),
        "cost": cost,
        "feasible": cost <= 0.5,
        "probe": cost > 0.5,
        "repeat_of": None,
        "seconds": dict(zip(parts, rng.uniform(0, 1, 4).tolist(), strict=True)),
    }


def put(experiment: Experiment, agent: str, seed: int, number: int, **status: Any) -> None:
    rng = np.random.default_rng([seed, number, len(agent)])
    lines = [line(index, rng) for index in range(number)]
    run = experiment.run(agent, seed)
    test = {"accuracy": float(rng.uniform(0.7, 0.9)), "loss": 1.0}
    fake.amend(run, **({"status": "done", "incumbent": 0, "test": test} | status))
    fake.put_lines(run, lines)


def empty(folder: Path, seeds: int = 3) -> Experiment:
    experiment = Experiment(folder, ExperimentConfig(agents=AGENTS, evaluations=EVALUATIONS, seeds=seeds))
    write_json(experiment.manifest_path, {"task": FACTS})
    return experiment


@pytest.fixture
def experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Experiment:
    """Three seeds of which some are not done, and an agent that has not begun."""
    monkeypatch.setattr(registry, "CONTROLS", ("uniform", "random", "greedy"))
    experiment = empty(tmp_path)
    uniform, random, bo, clustered, _ = (agent.label for agent in experiment.config.agents)
    for seed in range(3):
        put(experiment, uniform, seed, 3)
        put(experiment, random, seed, EVALUATIONS)
        put(experiment, bo, seed, EVALUATIONS - seed, status=("done", "running", "done")[seed])
        put(experiment, clustered, seed, EVALUATIONS, notes=NOTES)
    return experiment


def lines(axes: Axes, label: str) -> list[Line2D]:
    return [found for found in axes.lines if found.get_label() == label]


def write(experiment: Experiment) -> dict[str, tuple[Path, Path]]:
    return figure_files.write(figure_list.draw(Results([experiment])), experiment.figures_folder)


def test_every_figure_is_written(experiment: Experiment) -> None:
    files = write(experiment)
    assert list(files) == SINGLE
    for name, (svg, pdf) in files.items():
        assert (svg.name, pdf.name) == (f"{name}.svg", f"{name}.pdf")
        assert svg.parent == pdf.parent == experiment.folder / "figures"
        assert ElementTree.fromstring(svg.read_text()).tag.endswith("svg")
        assert "<image" not in svg.read_text()
        assert pdf.read_bytes().startswith(b"%PDF-")
        assert b"CreationDate" not in pdf.read_bytes()
    before = {path: path.read_bytes() for pair in files.values() for path in pair}
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "red", "svg.hashsalt": "other"}):
        write(experiment)
    assert {path: path.read_bytes() for path in before} == before
    assert {path.suffix for path in (experiment.folder / "figures").iterdir()} == {".svg", ".pdf"}


@pytest.mark.parametrize("name", ["anytime_evaluations", "anytime_seconds"])
def test_incumbents_are_the_frames(experiment: Experiment, name: str) -> None:
    runs, evaluations = Results([experiment]).runs, Results([experiment]).reading.evaluations
    finished = anytime.finished(runs, evaluations)
    curves = anytime.by_evaluations(finished, EVALUATIONS)
    if name == "anytime_seconds":
        curves = anytime.by_seconds(finished, anytime.seconds_grid(finished))
    axes = figure_list.draw(Results([experiment]))[name].axes[0]
    for agent, rows in anytime.mean_interval(curves).groupby("agent"):
        known = rows.dropna(subset=["mean"])
        (drawn,) = lines(axes, str(agent))
        np.testing.assert_array_equal(drawn.get_xdata(), known["at"])
        np.testing.assert_array_equal(drawn.get_ydata(), known["mean"])
    assert not lines(axes, "waiting")
    ends = [list(map(float, found.get_ydata())) for found in lines(axes, "_interval")]  # type: ignore[arg-type]
    last = anytime.mean_interval(curves).groupby("agent", sort=False).tail(1)
    assert ends == [[row["low"], min(row["high"], 100)] for row in last.to_dict("records")]


def test_dots_bars_and_ratios_are_the_frames(experiment: Experiment) -> None:
    drawn, runs = figure_list.draw(Results([experiment])), Results([experiment]).runs
    done = runs[runs["status"] == "done"].groupby("agent", sort=False)
    axes = drawn["final_accuracy"].axes[0]
    assert [list(found.get_xdata()) for found in lines(axes, "_seeds")] == [list(g["test_accuracy"]) for _, g in done]
    assert [found.get_xdata()[0] for found in lines(axes, "_mean")] == pytest.approx(list(done["test_accuracy"].mean()))
    assert [text.get_text() for text in axes.get_yticklabels()] == [figure_style.short(str(name)) for name, _ in done]
    bars = drawn["time_split"].axes[0].containers
    for bar, part in zip(bars, ("agent", "reconstruction", "forward", "environment"), strict=True):
        widths = [patch.get_width() for patch in bar]  # type: ignore[attr-defined]
        assert widths == pytest.approx(list(done[f"{part}_seconds"].mean()))
    cells = drawn["preserve_ratios"].axes[0].collections[0].get_array()
    best = runs[runs["status"] == "done"].sort_values("reward_accuracy").groupby("agent").tail(1).sort_index()
    rows = best.to_dict("records")
    ratios = [experiment.run(r["agent"], r["seed"]).lines()[int(r["incumbent"])].realised for r in rows]
    np.testing.assert_array_equal(np.reshape(cells, (4, 4)), ratios)


def test_every_evaluation_is_a_dot(experiment: Experiment) -> None:
    evaluations = Results([experiment]).reading.evaluations
    within, beyond = figure_list.draw(Results([experiment]))["pareto"].axes
    for axes, part in ((within, evaluations["feasible"]), (beyond, ~evaluations["feasible"])):
        for agent, rows in evaluations[part].groupby("agent"):
            (dots,) = lines(axes, str(agent))
            np.testing.assert_array_equal(dots.get_xydata(), rows[["cost_kept", "accuracy"]])
    front = lines(within, "_front")[0].get_xydata()
    points = evaluations[["cost_kept", "accuracy"]].to_numpy()
    undominated = [p for p in points if not any((q[0] <= p[0]) & (q[1] >= p[1]) & (q != p).any() for q in points)]
    np.testing.assert_array_equal(front, sorted(map(tuple, undominated)))
    assert list(lines(within, "_budget")[0].get_xdata()) == [50, 50]


def test_clusters_and_their_stages(experiment: Experiment) -> None:
    tree, strips = figure_list.draw(Results([experiment]))["clusters"].axes
    assert [label.get_text() for label in tree.get_xticklabels()] == ["1", "2", "3", "4"]
    colours = [matplotlib.colors.to_hex(c) for c in tree.collections[0].get_edgecolor()]
    assert sorted(colours) == sorted([*figure_style.COLOURS[:2], figure_style.INK])
    texts = [text.get_text() for text in strips.texts]
    assert texts == ["2 clusters, from the start", "3 clusters, after evaluation 4", "every layer, not reached"]
    assert [len(bars) for bars in strips.containers] == [2, 3, 4]


@pytest.mark.parametrize(
    "notes",
    [
        None,
        {},
        {"tree": 3, "stages": "x"},
        NOTES | {"tree": [[0, 9, 1.0, 2]] * 3},
        NOTES | {"events": [{}]},
        {"tree": []},
    ],
)
def test_notes_of_another_kind_are_left_alone(experiment: Experiment, notes: Any) -> None:
    for seed in range(3):
        put(experiment, "clustered_bo", seed, EVALUATIONS, notes=notes)
    assert list(figure_list.draw(Results([experiment]))) == [name for name in SINGLE if name != "clusters"]


def test_without_runs_there_are_no_figures(tmp_path: Path) -> None:
    experiment = empty(tmp_path)
    assert write(experiment) == {}
    put(experiment, "random", 0, 0, status="failed", test=None)
    assert write(experiment) == {}
    put(experiment, "random", 0, 2, status="running", test=None)
    assert list(write(experiment)) == ["pareto"]


@pytest.mark.parametrize("accuracy", [0.0, 1.0])
def test_extreme_values_are_drawn(tmp_path: Path, accuracy: float) -> None:
    experiment = empty(tmp_path, seeds=1)
    for agent in ("uniform", "random"):
        put(experiment, agent, 0, 1, test={"accuracy": accuracy, "loss": 0.0})
        entry = line(0, np.random.default_rng(0)) | {
            "accuracy": accuracy,
            "cost": 0.5,
            "feasible": True,
            "probe": False,
        }
        entry["seconds"] = dict.fromkeys(entry["seconds"], 0.0)
        fake.put_lines(experiment.run(agent, 0), [entry])
    assert set(write(experiment)) == set(SINGLE) - {"clusters"}


def test_a_page_gets_clean_svg(experiment: Experiment) -> None:
    drawn = figure_list.draw(Results([experiment]))
    texts = {name: figure_inline.inline_svg(figure, name, f"{name} <&> x") for name, figure in drawn.items()}
    ids = [found for text in texts.values() for found in re.findall(r'\bid="([^"]*)"', text)]
    assert len(ids) == len(set(ids))
    for name, text in texts.items():
        root = ElementTree.fromstring(text)
        assert root.attrib.keys() == {"viewBox", "width", "role", "aria-label", "style"}
        assert (root.attrib["width"], root.attrib["role"]) == ("100%", "img")
        assert root[0].text == root.attrib["aria-label"] == f"{name} <&> x"
        assert re.findall(r"https?://[^\"]*", text) == ["http://www.w3.org/2000/svg"]
        assert set(re.findall(r'(?:url\(#|href="#)([^")]*)', text)) <= set(ids)
        assert not re.search(r"#000000|#010203|black|<\?xml|<!|<metadata|<style|<image|DejaVu", text)
        assert text.count("currentColor") > 10
        assert all("fill: currentColor" in e.attrib["style"] for e in root.iter() if e.tag.endswith("}text"))
    written = [element.text for element in ElementTree.fromstring(texts["pareto"]).iter()]
    assert {agent.label for agent in experiment.config.agents[:4]} <= set(written)
    assert figure_inline.inline_svg(drawn["pareto"], "pareto", "pareto <&> x") == texts["pareto"]


def test_colours_stand_out_from_light_and_dark_pages() -> None:
    def luminance(colour: str) -> float:
        channels = np.array(matplotlib.colors.to_rgb(colour))
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    for colour in (*figure_style.COLOURS, *figure_style.GREYS):
        for page in ("#ffffff", "#16181d"):
            low, high = sorted([luminance(colour), luminance(page)])
            assert (high + 0.05) / (low + 0.05) >= 3, colour


def test_looks_differ_and_do_not_depend_on_controls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "CONTROLS", ("uniform", "global", "random", "greedy"))
    others = tuple(f"agent{n}" for n in range(20))
    looks = figure_style.looks(ExperimentConfig(agents=("uniform", "random", *others, "greedy", "global")).agents)
    assert len(set(looks.values())) == 24
    assert looks["agent3"] == figure_style.looks(ExperimentConfig(agents=others).agents)["agent3"]
    assert {looks[name].colour for name in ("uniform", "random", "greedy", "global")} == set(figure_style.GREYS)


@pytest.mark.parametrize(("low", "high"), [(0, 100), (93.1, 93.4), (78, 98), (10, 40), (99, 100), (50, 50.01)])
def test_ticks_keep_their_distance(low: float, high: float) -> None:
    ticks = figure_style.accuracy_ticks(low, high)
    assert ticks == sorted(ticks)
    assert 2 <= len(ticks) <= 14
    assert all(low <= tick <= high for tick in ticks)
    assert list(figure_style.backward(figure_style.forward(ticks))) == pytest.approx(ticks)


def test_long_labels_keep_both_ends() -> None:
    labels = [f"clustered_bo:preset=gpyopt2021,similarity={name}" for name in ("ST", "JS")]
    assert [figure_style.short(label, 21) for label in labels] == ["clustered_…ilarity=ST", "clustered_…ilarity=JS"]
    assert figure_style.short("bo") == "bo"


@pytest.mark.parametrize(
    ("path", "short"),
    [
        ("M 0 0 \nL 10.04 0 \nL 20.06 0 \nL 20.06 5 \n", "M0 0H20.1V5"),
        ("M 0 0 \nL 10 0 \nL 5 0 \n", "M0 0H10H5"),  # it turns
        ("M 1 2 \nL 3 4.004 \nL 5.55 6 \nz\n", "M1 2L3 4L5.5 6z"),
        ("M 0 0 \nL 0 9 \nL 0.01 9 \nM 5 5 \nL 6 5 \n", "M0 0V9M5 5H6"),
        ("M 0 1.8 \nC 0.48 1.8 0.94 1.61 1.27 1.27 \nz\n", "M 0 1.8 C 0.48 1.8 0.94 1.61 1.27 1.27 z"),
    ],
)
def test_straight_lines_are_short(path: str, short: str) -> None:
    assert figure_inline._shortened(path) == short


def test_every_dot_is_in_the_page(experiment: Experiment) -> None:
    figure = figure_list.draw(Results([experiment]))["pareto"]
    dots = re.findall(r'<use [^>]*x="([^"]*)" y="([^"]*)" style="fill: #', figure_files.svg(figure, "pareto", "none"))
    text = figure_inline.inline_svg(figure, "p", "t")
    paths = re.findall(r'<path d="M([^"]*)" style="fill: none; stroke: none" marker', text)
    assert len(paths) > 4
    places = [place.split(" ") for path in paths for place in path.split("L")]
    places += re.findall(r'<use [^>]*x="([^"]*)" y="([^"]*)"', text)  # those that are alone
    told = np.array(places, dtype=float)
    for dot in np.array(dots, dtype=float):
        assert np.abs(told - dot).max(axis=1).min() < 0.11

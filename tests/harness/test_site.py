"""The site: only what was verified, one table to be sorted, downloads that are there, nothing from elsewhere."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import fake
import pandas as pd
import pytest
from browser import CHROMIUM, told_by_a_browser

from prunebench.harness import cli
from prunebench.harness.errors import ConfigError
from prunebench.harness.report import page, site_files
from prunebench.harness.report.figures import figure_list
from prunebench.harness.running import verify as verifying

REFERENCE = Path(__file__).parents[2] / "results" / "reference" / "vgg16"
LINK = re.compile(r'href="([^"#:]+)"')


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert isinstance(end.value.code, int)
    return end.value.code


def test_the_command_shows_what_was_verified_and_leaves_out_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the reference study, whose network nobody trains here: it cannot be scored again, and that is said."""
    monkeypatch.setattr(verifying, "_made_again", lambda *args: (None, "no network here"))
    monkeypatch.setattr(figure_list, "FIGURES", ())  # they are the report's, and take long
    monkeypatch.chdir(tmp_path)
    altered = tmp_path / "altered"
    shutil.copytree(REFERENCE, altered)
    path = next(altered.rglob("bo/seed-0.json"))
    path.write_text(path.read_text().replace('"incumbent": ', '"incumbent": 1'))
    before = {file: file.stat().st_mtime_ns for file in REFERENCE.rglob("*")}

    assert run("site", str(REFERENCE), str(altered)) == 1
    out, err = capsys.readouterr()
    assert "site: site/index.html, 1 of 2 experiments" in out
    assert f"left out: {altered}" in err
    assert "seed-0.json: incumbent: says" in err
    assert before == {file: file.stat().st_mtime_ns for file in REFERENCE.rglob("*")}
    text = (tmp_path / "site/index.html").read_text()
    assert "not verified: no network here" in text
    assert "Verified: partly" in text
    assert str(altered) in text
    assert "<pre>prunebench bench vgg16.yaml --out vgg16</pre>" in text
    assert "prunebench bench results/reference/vgg16.yaml" in text
    links = set(LINK.findall(text))
    assert "data/vgg16/vgg16.yaml" in links
    assert [link for link in links if not (tmp_path / "site" / link).is_file()] == []
    frame = pd.read_csv(tmp_path / "site/data/table.csv").set_index("agent")
    recorded = pd.read_csv(REFERENCE / "tables/table.csv").set_index("agent")
    assert frame["test_accuracy_mean_percent"].to_dict() == pytest.approx(
        recorded["test_accuracy_mean_percent"].to_dict()
    )
    assert set(frame["verified"]) == {"partly"}

    (altered / "manifest.json").unlink()
    assert run("site", str(altered), "--out", "other") == 1
    assert "manifest.json cannot be read" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()
    assert run("site", str(REFERENCE), "--out", str(altered)) == 2
    assert "holds something else" in capsys.readouterr().err


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site about two budgets of one network."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figure_list, "FIGURES", ())
        found = [fake.experiment(folder / f"x/p{p}", 2, preserve=p, agents=("random", "bo")) for p in (0.5, 0.3)]
        entries = [site_files.Entry(each, number == 0, ["a <b>sentence</b>"]) for number, each in enumerate(found)]
        site_files.write(entries, [], folder / "site", page.rendered)
    return folder / "site"


def test_budgets_of_one_network_are_one_page_and_one_trade_off(made: Path) -> None:
    text = (made / "index.html").read_text()
    assert sorted(path.name for path in made.glob("*.html")) == ["index.html", "mobilenetv2.html"]
    assert text.count("<svg") >= 1
    assert "Accuracy against cost" in text
    assert "to be drawn" not in text
    assert "a &lt;b&gt;sentence" in text
    frame = pd.read_csv(made / "data/table.csv")
    assert frame.groupby("budget")["verified"].unique().map(list).to_dict() == {
        "50 % of MACs": ["all"],
        "30 % of MACs": ["partly"],
    }
    assert [link for link in LINK.findall(text) if not (made / link).is_file()] == []


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: the site was not opened in a browser")
def test_a_browser_opens_it_and_sorts_it(made: Path, tmp_path: Path) -> None:
    told = told_by_a_browser((made / "index.html").read_text(), tmp_path)
    assert told["errors"] == []
    assert told["requests"] == []
    assert told["values"] == sorted(told["values"], reverse=True)
    assert len(told["values"]) == 6
    assert told["wide"] <= 500
    assert told["ends"]["test"] <= 500


def test_a_site_made_again_has_no_page_of_what_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figure_list, "FIGURES", ())
    entry = site_files.Entry(fake.experiment(tmp_path / "x", 1, agents=("random",)), True, [])
    site_files.write([entry], [], tmp_path / "site", page.rendered)
    (tmp_path / "site/CNAME").write_text("the user's")
    (tmp_path / "site/mobilenetv2.html").rename(tmp_path / "site/gone.html")
    site_files.write([entry], [], tmp_path / "site", page.rendered)
    assert sorted(path.name for path in (tmp_path / "site").iterdir()) == [
        *("CNAME", "data", "index.html", "mobilenetv2.html")
    ]
    (tmp_path / "site/index.html").write_text("another page")
    with pytest.raises(ConfigError, match="holds something else"):
        site_files.check(tmp_path / "site")

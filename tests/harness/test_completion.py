"""What the shell offers behind <TAB>, through click's own completion; and the words of the help."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.shell_completion import CompletionItem, ShellComplete

from prunebench.envs.choices import CRITERIA, DEVICES, RECONSTRUCTIONS, SCOPES
from prunebench.envs.data import datasets
from prunebench.envs.tasks.options import options
from prunebench.envs.tasks.task import TaskConfig
from prunebench.harness.cli import cli
from prunebench.harness.commands.completion import Choice
from prunebench.harness.experiments import gridfile
from prunebench.harness.record.store import NAME


def items(*words: str) -> list[CompletionItem]:
    *before, incomplete = words
    return ShellComplete(cli, {}, "prunebench", "_PRUNEBENCH_COMPLETE").get_completions(before, incomplete)


def offered(*words: str) -> list[str]:
    return [item.value for item in items(*words)]


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("option", "choices"),
    [
        ("--scope", SCOPES),
        ("--importance", CRITERIA),
        ("--reconstruction", RECONSTRUCTIONS),
        ("--device", DEVICES),
        ("--dataset", datasets.names()),
        ("--cost", ("macs", "parameters", "latency")),
        ("--budget", ("wall", "project")),
        ("--reward", ("accuracy", "accuracy-guaranteed")),
        ("--engine", ("local", "ray")),
    ],
)
def test_an_options_choices_complete(option: str, choices: list[str]) -> None:
    assert set(offered("bench", option, "")) == set(choices)


def test_a_choice_completes_from_its_beginning() -> None:
    assert offered("bench", "--scope", "i") == ["inner"]
    assert offered("table", "--format", "l") == ["latex"]
    assert offered("list", "agents", "mo") == ["models"]


def test_networks_complete() -> None:
    assert offered("bench", "--model", "resnet1") == ["resnet110"]
    assert offered("bench", "--model", "tor") == ["torchvision:"]
    assert offered("bench", "--model", "ti") == ["timm:"]


def test_agents_complete_one_by_one() -> None:
    assert offered("check-agent", "samp") == ["sampler"]
    assert offered("bench", "--agents", "samp") == ["sampler"]
    assert offered("bench", "--agents", "failing,samp") == ["failing,sampler"]
    assert offered("bench", "--agents", "failing samp") == ["failing sampler"]
    assert offered("export", "--agent", "samp") == ["sampler"]


@pytest.mark.parametrize("command", ["show", "table", "report", "finetune", "export", "score"])
def test_experiments_under_results_complete_and_other_folders_are_the_shells(command: str) -> None:
    for name in ("one", "two", "more/three"):
        folder = Path("results") / name
        folder.mkdir(parents=True)
        (folder / NAME).touch()
    assert offered(command, "") == ["results/more/three", "results/one", "results/two"]
    assert offered(command, "results/o") == ["results/one"]
    assert [(item.type, item.value) for item in items(command, "/tm")] == [("dir", "/tm")]


def test_the_installed_command_completes_without_torch() -> None:
    """As the line that the README names sets it up: bash asks the command itself."""
    code = (
        "import atexit, sys; atexit.register(lambda: print('torch' in sys.modules)); "
        "from prunebench.harness.cli import main; main()"
    )
    asked = {"_PRUNEBENCH_COMPLETE": "bash_complete", "COMP_WORDS": "prunebench bench --scope ", "COMP_CWORD": "3"}
    result = subprocess.run([sys.executable, "-c", code], env=os.environ | asked, capture_output=True, text=True)
    assert result.stdout.split() == ["plain,inner", "plain,all", "False"]


def test_every_help_text_is_a_whole_phrase() -> None:
    for name, command in cli.commands.items():
        assert len(command.get_short_help_str(95)) < 95, name
        for option in command.params:
            if isinstance(option, click.Option) and option.name != "help":
                text = (option.help or "").partition("  [default")[0]
                assert len(text.split()) >= 3, option.opts
                assert text[0].isupper(), option.opts
                assert text.endswith("."), option.opts
                assert not text.startswith(("Of ", "Per ", "Likewise", "At ", "For ")), option.opts


def test_every_option_of_a_task_is_a_flag_and_a_key_of_files() -> None:
    names = {name: known.choices for name, known in options(TaskConfig).items()}
    flags = {parameter.name: parameter for parameter in cli.commands["bench"].params}
    assert list(names) == [field.name for field in dataclasses.fields(TaskConfig)] == list(gridfile.TASK)
    assert set(names) <= set(flags)
    assert {name for name, choices in names.items() if choices} == {
        name for name in names if isinstance(flags[name].type, Choice)
    }
    assert flags["tf32"].is_flag
    assert [flags[name].type.name for name in ("image_size", "batch_size", "weights")] == ["integer", "integer", "path"]

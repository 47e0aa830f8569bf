from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from urllib.error import URLError

import pytest
import torch
import torchvision
from randomnets import random_network

from prunebench.envs.data.preprocessing import Preprocessing
from prunebench.envs.errors import TaskError
from prunebench.envs.networks import models, pretrained
from prunebench.envs.weights.checkpoint import load_weights


@pytest.mark.parametrize("name", ["squeezenet1_1", "mobilenet_v3_small", "shufflenet_v2_x0_5"])
def test_torchvision_s_networks_are_torchvision_s(name: str, tmp_path: Path) -> None:
    network = random_network(f"torchvision:{name}", classes=7)
    torch.save(network.state_dict(), tmp_path / "w")
    theirs = torchvision.models.get_model(name, num_classes=7)
    theirs.load_state_dict(network.state_dict())
    ours = models.build(f"torchvision:{name}", 7)
    load_weights(ours, tmp_path / "w")
    images = torch.randn(3, 3, 96, 96)
    with torch.inference_mode():
        logits = ours.eval()(images)
        assert torch.equal(logits, theirs.eval()(images))
    assert logits.shape == (3, 7)
    assert 0.1 < float(logits.std()) < 10


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_auxiliary_heads_are_left_out_and_nothing_else(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = torchvision.models.get_model(name, aux_logits=True, init_weights=False).state_dict()
    weights = torchvision.models.get_model_weights(name).DEFAULT
    monkeypatch.setattr(type(weights), "get_state_dict", lambda *_, **__: state)
    theirs = torchvision.models.get_model(name, weights=weights).eval()
    torch.save(state, tmp_path / "w")
    ours = models.build(f"torchvision:{name}", 1000).eval()
    load_weights(ours, tmp_path / "w")
    images = torch.randn(2, 3, 96, 96)
    with torch.inference_mode():
        assert torch.equal(ours(images), theirs(images))
        ours.transform_input = False
        assert not torch.allclose(ours(images), theirs(images))
    torch.save(state | {"aux3.weight": torch.zeros(1)}, tmp_path / "w")
    with pytest.raises(TaskError, match=r"1 unexpected keys \(aux3\.weight\)"):
        load_weights(ours, tmp_path / "w")


def test_the_preprocessing_is_that_of_the_published_weights() -> None:
    inception = pretrained.preprocessing("torchvision:inception_v3")
    assert inception is not None
    assert inception.crop == 299
    assert pretrained.preprocessing("resnet56") is None
    assert pretrained.preprocessing("nets.small:build") is None
    large = pretrained.preprocessing("torchvision:efficientnet_v2_l")
    assert large == Preprocessing(480, 480, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic")
    small = pretrained.preprocessing("torchvision:resnet18")
    assert small == Preprocessing(256, 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the file of some published weights belongs, whose hash is that of ``content``."""
    digest = hashlib.sha256(b"content").hexdigest()[:8]
    weights = SimpleNamespace(url=f"https://example.org/models/net-{digest}.pth")
    monkeypatch.setattr(torchvision.models, "get_model_weights", lambda name: SimpleNamespace(DEFAULT=weights))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr("torch.hub.urlopen", lambda *_: pytest.fail("downloads"))
    return tmp_path / "hub" / "checkpoints" / f"net-{digest}.pth"


def test_a_file_that_is_there_is_taken(published: Path) -> None:
    published.parent.mkdir(parents=True)
    published.write_bytes(b"content")
    assert pretrained.fetch("torchvision:resnet18") == published


def test_a_damaged_file_is_named(published: Path) -> None:
    published.parent.mkdir(parents=True)
    published.write_bytes(b"conten")
    with pytest.raises(TaskError, match=rf"{published.name}' are damaged .*delete the file$"):
        pretrained.fetch("torchvision:resnet18")


class Answer:
    """What a server says."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def info(self) -> SimpleNamespace:
        return SimpleNamespace(get_all=lambda _: [str(len(self.content))])

    def read(self, size: int) -> bytes:
        chunk, self.content = self.content[:size], self.content[size:]
        return chunk


def test_a_file_that_is_not_there_is_downloaded(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.hub.urlopen", lambda *_: Answer(b"content"))
    assert pretrained.fetch("torchvision:resnet18") == published
    assert published.read_bytes() == b"content"


def test_a_download_with_another_hash_is_not_kept(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.hub.urlopen", lambda *_: Answer(b"torn"))
    with pytest.raises(TaskError, match="invalid hash"):
        pretrained.fetch("torchvision:resnet18")
    assert list(published.parent.iterdir()) == []


def test_without_network_the_user_is_told_what_to_bring_where(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise URLError("no route")

    monkeypatch.setattr("torch.hub.urlopen", refuse)
    with pytest.raises(TaskError) as caught:
        pretrained.fetch("torchvision:resnet18")
    message = str(caught.value)
    assert f"bring https://example.org/models/{published.name} to '{published}', or name" in message
    assert "--weights" in message
    assert "\n" not in message


def test_networks_without_published_weights_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision.models, "get_model_weights", lambda name: SimpleNamespace())
    for name in ("torchvision:resnet18", "resnet56"):
        with pytest.raises(TaskError, match=f"'{name}': no weights are published"):
            pretrained.fetch(name)
    assert pretrained.preprocessing("torchvision:resnet18") is None

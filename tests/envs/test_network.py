"""Exactness: what the evaluator builds computes what the dense network computes when nobody reads removed channels."""

from __future__ import annotations

from itertools import product

import oddnets
import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prunebench.envs.choices import CRITERIA, RECONSTRUCTIONS, SCOPES
from prunebench.envs.errors import TaskError
from prunebench.envs.evaluation import reconstruction as least_squares
from prunebench.envs.pruning import cost_formulas
from prunebench.envs.pruning.network import PrunableNetwork

DIMENSIONS = {  # in scope `inner`, in scope `all`
    "resnet20": (9, 12),
    "resnet32": (15, 18),
    "resnet44": (21, 24),
    "resnet56": (27, 30),
    "resnet110": (54, 57),
    "mobilenetv1": (14, 14),
    "mobilenetv2": (18, 25),
    "vgg16": (13, 13),
    "torchvision:resnet18": (8, 12),
    "torchvision:resnet34": (16, 20),
    "torchvision:resnet50": (33, 37),
    "torchvision:mobilenet_v2": (18, 25),
    "torchvision:vgg16_bn": (15, 15),
    "torchvision:mobilenet_v3_large": (24, 30),
    "torchvision:efficientnet_b0": (33, 40),
    "torchvision:densenet121": (120, 120),
    "torchvision:regnet_y_400mf": (33, 37),
    "torchvision:googlenet": (57, 57),
    "torchvision:squeezenet1_1": (25, 25),
    "torchvision:convnext_tiny": (18, 18),  # layer norms leave out the rest
}
CASES = [(name, scope) for name in DIMENSIONS for scope in SCOPES]
NO_BATCH_NORM = {  # after some layer: those of squeeze-and-excite, or all
    f"torchvision:{name}"
    for name in (
        "vgg16_bn",
        "mobilenet_v3_large",
        "efficientnet_b0",
        "regnet_y_400mf",
        "squeezenet1_1",
        "convnext_tiny",
    )
}
SAME = {name for name, (inner, whole) in DIMENSIONS.items() if inner == whole}
LARGE = {f"torchvision:{name}" for name in ("resnet34", "resnet50", "efficientnet_b0", "regnet_y_400mf")}
HUGE = "torchvision:vgg16_bn"
TOLERANCE = 1e-4  # of the largest output
WAYS = list(product(CRITERIA, RECONSTRUCTIONS))


def difference(name: str, scope: str, importance: str, reconstruction: str, seed: int) -> float:
    """Of the evaluator's network and the reference for a random policy.

    Both recompute batch norm in float64: it divides by deviations that are next to nothing where channels are nearly
    dead, which makes 1e-3 out of float32's rounding.
    """
    found = reference.evaluator(name, scope, importance, reconstruction)
    counts = reference.random_counts(found.network, seed)
    images = reference.noise(name, reference.IMAGES, 2)
    exact = reconstruction in ("batch-norm", "both")
    dtype = torch.float64 if exact else torch.float32
    slow = reference.pruned(found, name, scope, counts, reconstruction, dtype)
    with torch.no_grad():
        expected = slow(images.to(dtype))
        if exact:
            return reference.difference(reference.recalibrated(found, name, counts)(images.to(dtype)), expected)
        plain = found.build(counts)(images)
        if reference.fused(found):
            images = images.contiguous(memory_format=found.network.layout)
            plain = torch.cat([plain, found.runner(counts)(images)])
            expected = torch.cat([expected, expected])
        return reference.difference(plain, expected)


def way(number: int, name: str) -> tuple[str, str]:
    """Criteria and reconstructions in turn, so that every one of them gets its networks."""
    importance, reconstruction = list(CRITERIA)[number % len(CRITERIA)], list(RECONSTRUCTIONS)[number // 2 % 4]
    return ("l2" if importance == "bn-scale" and name in NO_BATCH_NORM else importance), reconstruction


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave layers that take seconds to factorise as they are; both sides do."""
    monkeypatch.setattr(least_squares, "WIDEST", 1300)


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize(
    ("name", "scope", "importance", "reconstruction"),
    [
        (name, scope, *way(number, name))
        for number, (name, scope) in enumerate(CASES)
        if name != HUGE and (scope == "all" or name not in SAME | LARGE)  # what `all` prunes are those of `inner`, too
    ],
)
def test_every_network_is_pruned_exactly(name: str, scope: str, importance: str, reconstruction: str) -> None:
    assert difference(name, scope, importance, reconstruction, seed=0) <= TOLERANCE


@pytest.mark.parametrize(
    ("name", "scope", "importance", "reconstruction"),
    [
        *(("resnet20", scope, *way) for scope, way in product(SCOPES, WAYS)),
        *(("mobilenetv2", "all", importance, "both") for importance in CRITERIA),
    ],
)
def test_every_criterion_and_reconstruction_is_exact(
    name: str, scope: str, importance: str, reconstruction: str
) -> None:
    assert difference(name, scope, importance, reconstruction, seed=1) <= TOLERANCE


@pytest.mark.parametrize("reconstruction", RECONSTRUCTIONS)
@pytest.mark.parametrize(("name", "scope"), product(oddnets.PRUNABLE, SCOPES))
def test_odd_networks_are_pruned_exactly(name: str, scope: str, reconstruction: str) -> None:
    assert max(difference(name, scope, "l2", reconstruction, seed) for seed in range(3)) <= TOLERANCE


@given(
    st.sampled_from(["resnet20", "mobilenetv2", "torchvision:squeezenet1_1", *oddnets.PRUNABLE]),
    st.sampled_from(list(SCOPES)),
    st.sampled_from(["consumer-l1", "fpgm", "random"]),
    st.sampled_from(list(RECONSTRUCTIONS)),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=25, deadline=None, derandomize=True)
def test_any_policy_is_exact(name: str, scope: str, importance: str, reconstruction: str, seed: int) -> None:
    assert difference(name, scope, importance, reconstruction, seed) <= TOLERANCE


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("name", "scope", "importance", "reconstruction"),
    [
        (name, scope, *way)
        for (name, scope), way in product(CASES, WAYS)
        if (scope == "inner" or name not in SAME) and not (way[0] == "bn-scale" and name in NO_BATCH_NORM)
    ],
)
def test_everything_is_exact(
    name: str, scope: str, importance: str, reconstruction: str, record_property: pytest.RecordProperty
) -> None:
    found = difference(name, scope, importance, reconstruction, seed=2)
    record_property("difference", found)
    assert found <= TOLERANCE


@pytest.mark.parametrize("reconstruction", RECONSTRUCTIONS)
@pytest.mark.parametrize("scope", SCOPES)
def test_what_is_built_is_complete_and_one_wrong_channel_shows(scope: str, reconstruction: str) -> None:
    """In float32 as it stands; and what such comparisons are worth: a channel exchanged is far beyond the tolerance."""
    found = reference.evaluator("resnet20", scope, "l2", reconstruction)
    counts = tuple(channels // 2 for channels in found.dense)
    images = reference.noise("resnet20", reference.IMAGES, 2)
    slow = reference.pruned(found, "resnet20", scope, counts, reconstruction, torch.float32)
    wrong = reference.evaluator("resnet20", scope, "l2", reconstruction)
    rank = wrong._ranks[0]
    rank[[rank.argmin(), rank.argmax()]] = rank[[rank.argmax(), rank.argmin()]]
    with torch.no_grad():
        assert reference.difference(found.build(counts)(images), slow(images)) <= TOLERANCE
        assert reference.difference(wrong.build(counts)(images), slow(images)) > 10 * TOLERANCE


@pytest.mark.parametrize("name", sorted(SAME - {HUGE}))
def test_without_additions_the_scopes_are_the_same(name: str) -> None:
    inner, whole = (reference.network(name, scope).units for scope in SCOPES)
    for mine, other in zip(inner, whole, strict=True):
        assert (mine.inputs.owner == other.inputs.owner).all()
        assert (mine.outputs.owner == other.outputs.owner).all()


@pytest.mark.parametrize(("name", "scope"), [case for case in CASES if case[0] != HUGE])
def test_prunable_layers_are_the_papers(name: str, scope: str) -> None:
    assert len(reference.network(name, scope).layers) == DIMENSIONS[name][list(SCOPES).index(scope)]


def test_inner_layers_of_a_resnet_are_those_inside_its_blocks() -> None:
    layers = reference.network("resnet20", "inner").layers
    assert [layer.name for layer in layers][:2] == ["layer1.0.conv1", "layer1.1.conv1"]
    assert [layer.consumers[0].name for layer in layers][:2] == ["layer1.0.conv2", "layer1.1.conv2"]


def test_scope_all_adds_one_layer_per_stage_of_a_resnet() -> None:
    layers = reference.network("resnet20", "all").layers
    added = [layer for layer in layers if not layer.name.endswith(".conv1")]
    assert [(layer.name, layer.channels) for layer in added] == [
        ("conv1", 16),
        ("layer2.0.conv2", 32),
        ("layer3.0.conv2", 64),
    ]


def test_resnet56_costs_what_the_literature_says() -> None:
    network = PrunableNetwork(reference.dense("resnet56"), torch.zeros(1, 3, 32, 32))
    assert cost_formulas.macs(network)(network.channels) == 125_485_696


@pytest.mark.parametrize("name", sorted(NO_BATCH_NORM - {HUGE}))
def test_bn_scale_is_refused_where_a_layer_has_no_batch_norm(name: str) -> None:
    with pytest.raises(TaskError, match=r"importance 'bn-scale': layer \S+ has nothing to compute it from") as refused:
        reference.evaluator(name, "inner", "bn-scale", "none")
    assert "\n" not in str(refused.value)

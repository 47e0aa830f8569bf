"""A pruned network as files that need neither the data set nor the calibration: weights, a description, ONNX."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from prunebench.envs.data.batches import Batch
from prunebench.envs.errors import TaskError
from prunebench.envs.files import whole
from prunebench.envs.networks import models
from prunebench.envs.networks.baked import baked, example_image, materialised
from prunebench.envs.networks.resnet import PaddedShortcut

SCHEMA = 1
"""Version of the files."""
WEIGHTS, DESCRIPTION, ONNX = "network.safetensors", "network.json", "network.onnx"
_SIZES: dict[Any, tuple[str, ...]] = {
    nn.Conv2d: ("in_channels", "out_channels", "groups"),
    nn.Linear: ("in_features", "out_features"),
    (nn.BatchNorm1d, nn.BatchNorm2d, nn.InstanceNorm1d, nn.InstanceNorm2d): ("num_features",),
    nn.PReLU: ("num_parameters",),
}
TOLERANCE = 1e-4
"""Between outputs here and those of onnxruntime, at most, as a fraction of the largest output."""


def write(folder: Path, model: nn.Module, facts: dict[str, Any], images: Iterable[Batch]) -> float:
    """Write a network's three files into an existing folder.

    Args:
        folder: the folder that the files go to.
        model: the network, from :meth:`prunebench.envs.evaluation.evaluator.Evaluator.unfolded`, trained on or not; it
            is left as it is.
        facts: plain values for the description, ``model`` (the network's name) and ``classes`` (names) among them.
        images: images that the ONNX file's outputs are compared on.

    Returns:
        The largest absolute difference of an output.

    Raises:
        TaskError: it is above :data:`TOLERANCE`.
    """
    model = _on_processor(model)
    images = [(pixels.cpu(), labels) for pixels, labels in images]
    save_weights(model, folder / WEIGHTS)
    write_onnx(model, images[0][0], folder / ONNX)
    difference, largest = onnx_difference(model, images, folder / ONNX), largest_output(model, images)
    if not difference <= TOLERANCE * largest:
        raise TaskError(
            f"{ONNX}: largest difference of an output {difference:.3g}, expected at most {TOLERANCE:g} of the largest, "
            f"{largest:.3g}"
        )
    onnx = {"largest_difference": difference, "images": sum(len(labels) for _, labels in images)}
    content = {"schema": SCHEMA, **facts, "onnx": onnx, "modules": shapes(model)}
    (folder / DESCRIPTION).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return difference


def load(folder: Path) -> nn.Module:
    """The network that :func:`write` wrote, in evaluation mode; ``network.json`` and ``network.safetensors`` suffice.

    Raises:
        TaskError: a file is missing, damaged, or does not belong to the other.
    """
    path = Path(folder) / DESCRIPTION
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        name, classes, modules = content["model"], content["classes"], content["modules"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise TaskError(f"{str(path)!r} describes no network: {' '.join(str(error).split())}") from error
    if content.get("schema") != SCHEMA:
        raise TaskError(f"{str(path)!r}: expected version {SCHEMA} of the files, is {content.get('schema')}")
    size = int(content.get("input", {}).get("size", 32))
    model = baked(materialised(models.build(name, len(classes)), example_image(size)))
    found = dict(model.named_modules())
    for key, shape in modules.items():
        if key not in found:
            raise TaskError(f"{str(path)!r}: model {name!r} has no layer {key!r}")
        _reshape(found[key], shape)
    put_weights(model, Path(folder) / WEIGHTS)
    model.eval()
    return model


def save_weights(model: nn.Module, path: Path) -> None:
    """Write a network's state dict as safetensors, atomically."""
    from safetensors.torch import save

    state = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in model.state_dict().items()}
    with whole(path) as file:
        file.write(save(state))


def put_weights(model: nn.Module, path: Path) -> None:
    """Replace a network's parameters and buffers by those of a file, whatever their shapes.

    Raises:
        TaskError: the file cannot be read, or is another network's.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise TaskError(f"weights {str(path)!r} cannot be read: {' '.join(str(error).split())}") from error
    if others := sorted(set(state) ^ set(model.state_dict())):
        raise TaskError(f"weights {str(path)!r} are not of this network: {others[0]} is in one of the two only")
    found = dict(model.named_modules(remove_duplicate=False))  # a module may have several names
    for key, tensor in state.items():
        module, _, leaf = key.rpartition(".")
        trained = leaf in found[module]._parameters
        setattr(found[module], leaf, nn.Parameter(tensor) if trained else tensor)


def shapes(model: nn.Module) -> dict[str, dict[str, Any]]:
    """The attributes, besides tensors, that pruning changes: by module and by name."""
    return {name: shape for name, module in model.named_modules() if (shape := _shape(module))}


def _shape(module: nn.Module) -> dict[str, Any]:
    if isinstance(module, PaddedShortcut):
        return {"selected": None if module.selected is None else module.selected.tolist()}
    names = next((names for kind, names in _SIZES.items() if isinstance(module, kind)), ())
    return {name: getattr(module, name) for name in names}


def _reshape(module: nn.Module, shape: dict[str, Any]) -> None:
    for name, value in shape.items():
        if isinstance(value, list):  # a buffer, so that it goes where the network goes
            delattr(module, name)
            module.register_buffer(name, torch.tensor(value), persistent=False)
        else:
            setattr(module, name, value)


def _on_processor(model: nn.Module) -> nn.Module:
    model = copy.deepcopy(model).cpu().eval()
    for module in model.modules():
        if isinstance(module, PaddedShortcut) and module.selected is not None:
            module.selected = module.selected.cpu()
    return model


def write_onnx(model: nn.Module, example: Tensor, path: Path) -> None:
    """Write a network as ONNX: ``images`` ``(N, 3, S, S)``, normalised, to ``logits``; any number of images.

    Args:
        model: on the processor, in evaluation mode.
        example: two images or more; the first two are what the exporter follows.
        path: the file.

    Raises:
        TaskError: the exporter cannot follow the network, as where it decides by what is in an image.
    """
    import onnx

    try:
        with _silence():
            torch.onnx.export(
                _out_of_place(model, example),
                (example[:2].clone().contiguous(),),
                path,
                input_names=["images"],
                output_names=["logits"],
                dynamic_shapes=({0: "batch"},),
                external_data=False,
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # whatever the exporter runs into in a network of the user's
        raise TaskError(f"{ONNX}: {type(model).__name__} cannot be exported: {_reason(error)}") from error
    graph = onnx.load(path)
    _forget_origin(graph.graph)
    onnx.checker.check_model(graph, full_check=True)
    onnx.save(graph, path)


def _out_of_place(model: nn.Module, example: Tensor) -> nn.Module:
    """A copy whose activations of ``torch.nn`` leave their inputs alone: the exporter is sooner done with those.

    MobileNetV2 takes two thirds of the time. A network that computes something else then, because it uses such an
    input again, is given back as it is.
    """
    changed = copy.deepcopy(model)
    activations = [module for module in changed.modules() if _overwrites(module)]
    for module in activations:
        module.inplace = False  # type: ignore[assignment]
    with torch.no_grad():
        same = bool(activations) and torch.equal(model(example.clone()), changed(example.clone()))
    return changed if same else model


def _overwrites(module: nn.Module) -> bool:
    return type(module).__module__.startswith("torch.nn.") and getattr(module, "inplace", False) is True


def _reason(error: BaseException) -> str:
    """The first line of the error that an exporter's error goes back to."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _forget_origin(graph: Any) -> None:
    """Remove what the exporter notes about the sources that a node comes from: paths on this machine."""
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""


def onnx_difference(model: nn.Module, images: Iterable[Batch], path: Path) -> float:
    """Largest absolute difference between a network's outputs and those of onnxruntime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    largest = 0.0
    with torch.inference_mode():
        for pixels, _ in images:
            (theirs,) = session.run(None, {"images": pixels.contiguous().numpy()})
            difference = float((model(pixels) - torch.from_numpy(theirs)).abs().max())
            largest = difference if difference != difference else max(largest, difference)
    return largest


def largest_output(model: nn.Module, images: Iterable[Batch]) -> float:
    """Largest absolute value among a network's outputs."""
    with torch.inference_mode():
        return max(float(model(pixels).abs().max()) for pixels, _ in images)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """The exporter tells of its steps on both streams, and of deprecations inside itself."""
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield

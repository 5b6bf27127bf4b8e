"""Hold a bundle of a module of one's own against the PyTorch module, at several sizes of its free axes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zen_edge import compared_on
from zen_edge.attention_map import attention_file
from zen_edge.check_attention import compare_weights
from zen_edge.errors import InputError, ModuleError
from zen_edge.inputs import read_arrays
from zen_edge.manifest import Manifest
from zen_edge.parity import OutputDifference, ParityReport, compare_outputs

if TYPE_CHECKING:
    from zen_edge.exporters.axes import Axes
    from zen_edge.exporters.own_module import OwnModule

Array = np.ndarray[Any, Any]
Tell = Callable[[str], None]


def compare(
    folder: Path, manifest: Manifest, own: OwnModule, *, bisect: bool = False, tell: Tell = lambda step: None
) -> tuple[ParityReport, dict[str, int]]:
    """Every output at the sizes of the example and at others, smaller, larger, twice as large, all equal and all 1; those at which PyTorch fails are left out.

    Returns the report and what it counts. CheckFailedError for other weights.
    """
    from zen_edge.exporters.softmaxes import softmaxes
    from zen_edge.runtimes import load
    from zen_edge.runtimes.attention import Attending

    manifest.require_weights(own.weights_hash(), own.name)
    keeps = attention_file("module") in manifest.files
    attending = Attending(folder, manifest, compared_on.device(), None).one_graph() if keeps else None
    rows: list[OutputDifference] = []
    compared = 0
    with load(folder, device=compared_on.device()) as loaded:
        pipeline: Any = loaded
        for label, inputs in _cases(own, manifest):
            tell(f"compare {label}")
            try:
                with softmaxes() as seen:
                    expected = {name: value.numpy() for name, value in own(inputs).items()}
            except ModuleError:
                if label == EXAMPLE:
                    raise
                continue
            arrays = {name: value.numpy() for name, value in inputs.items()}
            given = pipeline(arrays)
            rows += [row for name in expected if (row := _difference(f"{name}, {label}", expected[name], given[name], manifest.precision))]
            if attending is not None:
                rows += compare_weights(attending.weights(arrays), seen, manifest.precision, f", {label}")
            compared += 1
    first = _first_difference(folder, manifest, own, tell) if bisect else None
    return ParityReport(manifest.precision, tuple(rows), bisect=first), {"sizes": compared}


EXAMPLE = "as in the example"


def _cases(own: OwnModule, manifest: Manifest) -> Iterator[tuple[str, Mapping[str, Any]]]:
    axes = free_axes(manifest)
    yield EXAMPLE, own.inputs
    here = axes.sizes(own.inputs)
    seen = [here]
    for sizes in (
        dict.fromkeys(here, 1),
        {letter: size + 1 + i for i, (letter, size) in enumerate(here.items())},
        {letter: max(1, size // 2 - i % 2) for i, (letter, size) in enumerate(here.items())},
        dict.fromkeys(here, 4),
        {letter: 2 * size + 9 + i for i, (letter, size) in enumerate(here.items())},  # beyond any size that the trace was given
        *(here | {letter: 1} for letter in here),
    ):
        sizes = {letter: min(size, manifest.limits.get(f"max_{letter}", size)) for letter, size in sizes.items()}
        if sizes not in seen:
            seen.append(sizes)
            yield " ".join(f"{letter}={size}" for letter, size in sizes.items()), axes.resized(own.inputs, sizes)


def free_axes(manifest: Manifest) -> Axes:
    from zen_edge.exporters.axes import Axes

    letters: dict[str, tuple[tuple[str, int], ...]] = {}
    for tensor in manifest.graph("module").inputs:
        for axis, size in enumerate(tensor.shape):
            if isinstance(size, str):
                letters[size] = (*letters.get(size, ()), (tensor.name, axis))
    return Axes(letters)


def declared(own: OwnModule, manifest: Manifest) -> dict[str, Any]:
    """The free axes of each input, by which a fresh export has the same."""
    return {name: letters for name in own.inputs if (letters := free_axes(manifest).of(name))}


def _difference(name: str, expected: Array, given: Array, precision: str) -> OutputDifference | None:
    """None where there is nothing to compare: no number at all, or whole numbers of a bundle whose precision may change them."""
    if expected.dtype.kind in "iub":
        return compare_outputs(name, expected, given, precision) if precision == "fp32" else None
    same = expected.shape == given.shape and np.array_equal(
        np.where(np.isfinite(expected), 0, expected), np.where(np.isfinite(given), 0, given), equal_nan=True
    )
    finite = np.isfinite(expected)
    if not same or finite.all():
        return compare_outputs(name, expected, given, precision)
    return compare_outputs(name, expected, given, precision, mask=finite) if finite.any() else None


def _first_difference(folder: Path, manifest: Manifest, own: OwnModule, tell: Tell) -> OutputDifference | None:
    import tempfile

    from zen_edge.check_again import export_again
    from zen_edge.check_tensors import first_of

    tell("export in fp32 and bisect")
    with tempfile.TemporaryDirectory() as name:
        fresh = Path(name) / "fresh"
        export_again(own, manifest, fresh, tell=tell)
        return first_of("module", {key: value.numpy() for key, value in own.inputs.items()}, fresh, folder, manifest)[0]


def with_inputs(own: OwnModule, inputs: object) -> OwnModule:
    """`own` with other inputs than its example's: arrays or tensors by name, or the path of an .npz file of them."""
    import torch

    from zen_edge.exporters.own_module import own_module

    if isinstance(inputs, str | Path):
        inputs = read_arrays(Path(inputs))
    if not isinstance(inputs, Mapping):
        raise InputError("inputs of a module are arrays by name, or an .npz file of them.")
    return own_module(own.module, {name: torch.as_tensor(value) for name, value in inputs.items()}, own.name)

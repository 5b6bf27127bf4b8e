"""zen-edge: trained attention models from PyTorch to ONNX with fused attention, proven equal, and run without PyTorch.

bundle = zen_edge.export("path/or/hub-id", "out", precision="int8")    needs zen-edge[export]
pipeline = zen_edge.load("out", threads=2)                             needs zen-edge[cpu] or zen-edge[gpu] only
report = zen_edge.parity("out", "path/or/hub-id")                      needs both
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zen_edge.attention_map import AttentionMap
from zen_edge.bundle import Bundle
from zen_edge.errors import (
    AudioError,
    BundleError,
    CheckFailedError,
    CheckpointError,
    InputError,
    MissingDependencyError,
    ModuleError,
    OptionError,
    UnsupportedModelError,
    ZenEdgeError,
)
from zen_edge.parity import ParityReport

if TYPE_CHECKING:
    import torch

__version__ = "0.1.0"


def load(
    bundle: str | Path,
    *,
    device: str | None = None,
    device_id: int = 0,
    providers: Sequence[str | tuple[str, Mapping[str, Any]]] | None = None,
    cuda_graphs: bool = False,
    threads: int | None = None,
    verify: bool = False,
    memory: str | None = None,
) -> Any:
    """Open a bundle as the pipeline of its task, a class of runtimes/pipelines/: `load("out")("Hello world")`.

    device: "cpu", "cuda", "auto"; None: the one it was exported for. device_id: which GPU. providers: in the place of a device, execution providers of ONNX
    Runtime in the order in which they may take nodes, each a name or (name, options). cuda_graphs: record steps of a decoder, or runs
    of fixed shapes, once and replay them. threads: None uses what the process may use. verify: compare every file with its sha256. memory: "mapped" leaves weights in the file, "packed" copies them for
    speed as it opens, "auto" (None) leaves those of graphs of half a gigabyte and more in the file until they first run. Raises BundleError for a damaged bundle,
    MissingDependencyError without ONNX Runtime or where what was asked for cannot start, OptionError for what there is not.
    """
    from zen_edge import runtimes

    return runtimes.load(
        bundle, device=device, device_id=device_id, providers=providers, cuda_graphs=cuda_graphs, threads=threads, verify=verify, memory=memory
    )


def export(
    model: str | Path | torch.nn.Module,
    out: str | Path,
    *,
    example_inputs: object = None,
    dynamic: Mapping[str, Mapping[int, str]] | None = None,
    task: str | None = None,
    precision: str | None = None,
    device: str = "cpu",
    revision: str | None = None,
    with_attention: bool = False,
    verify: bool = True,
    force: bool = False,
    tell: Callable[[str], None] = lambda step: None,
) -> Bundle:
    """Turn a PyTorch checkpoint into a bundle at `out`, checked against PyTorch unless `verify` is off.

    model: a checkpoint folder, a hub id, `file.py:factory`, or a torch.nn.Module with its `example_inputs`, a dict by argument of `forward` or a tuple in
    order; `dynamic` names its free axes, {"query": {0: "B", 1: "S"}}, which are found out otherwise. precision: "fp32", "fp16", "int8", "int8-blocks" or "int4"; None: fp16 for device "cuda", else fp32. with_attention: keep the
    weights of attention, for `attend`. force: replace a bundle that is there. tell: called with the name of
    each step. Raises UnsupportedModelError, CheckpointError, ModuleError, CheckFailedError or ZenEdgeError; then nothing is left behind.
    """
    from zen_edge import activations, check

    try:
        from zen_edge import exporters
    except ImportError as error:
        raise MissingDependencyError(f'exporting needs {error.name}: pip install "zen-edge[export]".') from error
    return exporters.export(
        model,
        out,
        example_inputs=example_inputs,
        dynamic=dynamic,
        task=task,
        precision=precision,
        device=device,
        revision=revision,
        with_attention=with_attention,
        force=force,
        verify=check.verify if verify else None,
        measure=activations.measure,
        tell=tell,
    )


def quantize(
    bundle: str | Path,
    out: str | Path,
    *,
    precision: str = "int8",
    recipe: Mapping[str, str] | None = None,
    verify: bool = True,
    force: bool = False,
    tell: Callable[[str], None] = lambda step: None,
) -> Bundle:
    """Make of an fp32 bundle one of another precision at `out`, without PyTorch, checked against the first unless `verify` is off.

    recipe: {part: precision} in place of `precision`, as `Bundle.manifest.recipe` tells it.
    Raises OptionError for an unknown precision or part, UnsupportedModelError for a bundle that is not fp32, CheckFailedError or ZenEdgeError; then nothing is
    left behind.
    """
    from zen_edge import quantizing

    return quantizing.quantize(Path(bundle), Path(out), precision=precision, recipe=recipe, verify=verify, force=force, tell=tell)


def parity(
    bundle: str | Path,
    model: str | Path | torch.nn.Module,
    *,
    inputs: Sequence[str] | Path | Mapping[str, torch.Tensor] | None = None,
    limit: int | None = None,
    revision: str | None = None,
    bisect: bool = False,
    device: str = "cpu",
    tell: Callable[[str], None] = lambda step: None,
) -> ParityReport:
    """Compare a bundle with its PyTorch model: outputs, generated tokens, text. The report is kept in the bundle; look at its `passed`.

    inputs: lines, or a .txt or .jsonl file; None: a built-in set. Of a module of one's own: arrays by name, or an .npz file; None: the factory's. bisect: also name the first tensor that is out of tolerance.
    device: where the bundle runs; the model runs on the CPU.
    Raises CheckFailedError if the bundle was made from other weights.
    """
    from zen_edge import check

    return check.parity(bundle, model, inputs=inputs, limit=limit, revision=revision, bisect=bisect, device=device, tell=tell)


__all__ = [
    "AttentionMap",
    "AudioError",
    "Bundle",
    "BundleError",
    "CheckFailedError",
    "CheckpointError",
    "InputError",
    "MissingDependencyError",
    "ModuleError",
    "OptionError",
    "ParityReport",
    "UnsupportedModelError",
    "ZenEdgeError",
    "__version__",
    "export",
    "load",
    "parity",
    "quantize",
]

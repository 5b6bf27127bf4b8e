"""Everything that needs torch: a trained model in, a bundle out."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zen_edge.bundle import Bundle
from zen_edge.errors import CheckFailedError, MissingDependencyError, OptionError, UnsupportedModelError
from zen_edge.exporters.seq2seq import Seq2Seq, Vocabulary
from zen_edge.files import MANIFEST, new_folder
from zen_edge.inspection import describe_graph, describe_recorded, on_device
from zen_edge.manifest import DEVICES, FORMAT, Manifest, describe_files, with_parity, write_manifest
from zen_edge.parity import ParityReport
from zen_edge.recipe import Recipe, require_kernels
from zen_edge.tasks import ENCODER_OUTPUTS, SEQUENCE_TO_SEQUENCE, require_task

if TYPE_CHECKING:
    import torch

    from zen_edge.exporters.axes import Declared
    from zen_edge.exporters.checkpoint import Checkpoint
    from zen_edge.exporters.halved import Measure
    from zen_edge.exporters.own_module import OwnModule
    from zen_edge.exporters.own_seq2seq import OwnSeq2Seq

Verify = Callable[[Path, "Checkpoint | OwnModule | OwnSeq2Seq"], ParityReport]
Tell = Callable[[str], None]

SOURCE_PAPERS = ("README.md", "LICENSE", "LICENSE.txt", "LICENSE.md", "NOTICE")
MADE_WITH = ("zen-edge", "torch", "transformers", "onnx", "onnx-ir", "onnxscript")


def export(
    model: str | Path | torch.nn.Module | Seq2Seq,
    out: str | Path,
    *,
    example_inputs: object = None,
    dynamic: Declared | None = None,
    task: str | None = None,
    precision: str | None = None,
    device: str = "cpu",
    revision: str | None = None,
    with_attention: bool = False,
    force: bool = False,
    verify: Verify | None = None,
    measure: Measure | None = None,
    tell: Tell = lambda step: None,
) -> Bundle:
    """load -> trace -> fuse -> quantize -> verify -> save.

    precision: None: half for CUDA, where everything has kernels for it, else fp32.
    model: a checkpoint folder, a hub id, or a module of one's own, itself with `example_inputs` or as `file.py:factory`; `dynamic` names its free axes.
    out: the bundle's folder, complete or not there at all. with_attention: keep the weights of attention, to be asked for with `attend`. verify: compares the bundle with the
    checkpoint before it gets its name; its report is kept in the manifest. measure: tells how large the numbers in an fp32 bundle become; what half precision could not hold then stays single. tell: called with the name of each step as it begins.
    Raises UnsupportedModelError, CheckpointError, CheckFailedError, or ZenEdgeError where OUT is in the way.
    """
    _require_libraries()
    if precision is None:
        precision = "fp16" if device == "cuda" else "fp32"
    _require_precision(precision, device)
    require_task(task)
    own = find_own(model, example_inputs, task)
    if own is not None:
        from zen_edge.exporters.own_seq2seq import OwnSeq2Seq

        if isinstance(own, OwnSeq2Seq):
            if dynamic is not None:
                raise OptionError("dynamic is for a module with inputs of its own: the free axes of a Seq2Seq are known.")
            from zen_edge.exporters.seq2seq_bundle import export_seq2seq

            return export_seq2seq(
                own, Path(out), precision=precision, device=device, force=force, verify=verify, with_attention=with_attention, tell=tell
            )
        from zen_edge.exporters.module_bundle import export_module

        return export_module(
            own,
            Path(out),
            declared=dynamic,
            precision=precision,
            device=device,
            force=force,
            verify=verify,
            measure=measure,
            with_attention=with_attention,
            tell=tell,
        )
    if example_inputs is not None or dynamic is not None:
        raise OptionError("example_inputs and dynamic are for a module of your own, and this is a checkpoint: leave them out.")
    if task in ("module", SEQUENCE_TO_SEQUENCE):
        raise OptionError(f"the task {task!r} is for a module of your own, given as file.py:factory, and this is a checkpoint: leave it out.")
    assert isinstance(model, str | Path)
    with new_folder(Path(out), force=force) as folder:
        from zen_edge.exporters.architectures import find_task
        from zen_edge.exporters.attention_outputs import save_attention_outputs
        from zen_edge.exporters.checkpoint import load_checkpoint
        from zen_edge.exporters.encoders import encoder_task
        from zen_edge.exporters.features import save_features
        from zen_edge.exporters.fixed_step import save_fixed_step
        from zen_edge.exporters.graphs import trace_graphs
        from zen_edge.exporters.halved import is_halved
        from zen_edge.exporters.heads import describe_head
        from zen_edge.exporters.tokenization import save_tokenizer, task_prefixes
        from zen_edge.exporters.weights import save_graphs

        tell("load the checkpoint")
        checkpoint = load_checkpoint(model, revision, task)
        found_task = encoder_task(checkpoint.model.config, task) or find_task(checkpoint.model.config, task, tell)
        tokenizer = save_tokenizer(checkpoint.tokenizer, folder, *task_prefixes(checkpoint.model.config, found_task))
        if checkpoint.feature_extractor is not None:
            save_features(checkpoint.feature_extractor, folder)
        outputs = describe_head(checkpoint, found_task, folder, tell)
        halves = measure is not None and is_halved(precision, device)
        graphs, limits = trace_graphs(checkpoint, found_task, "fp32" if halves else precision, device, tell)

        tell("write the graphs")
        save_graphs(graphs, folder)
        names = tuple(graphs)
        del graphs
        describe = functools.partial(_describe, folder, checkpoint, names, limits, found_task, device, tokenizer, outputs)
        activations = halve_measured(folder, describe("fp32"), measure, tell, precision) if halves and measure is not None else {}
        unrecorded = save_fixed_step(folder) if device == "cuda" and "decoder" in names else ""
        if unrecorded:
            tell(f"its steps cannot be recorded as CUDA graphs: {unrecorded}")
        if with_attention:
            save_attention_outputs(folder, names, checkpoint.model_type)
        _copy_papers(checkpoint.folder, folder)
        manifest = replace(describe(precision), activations=activations, unrecorded=unrecorded)
        _require_fused(manifest)
        tell_fallback(manifest, tell)
        return Bundle(Path(out), keep_verified(folder, manifest, None if verify is None else lambda: verify(folder, checkpoint), tell))


def find_own(model: object, example_inputs: object = None, task: str | None = None) -> OwnModule | OwnSeq2Seq | None:
    """What of one's own is meant by `model`; None for a checkpoint. Raises ModuleError, OptionError."""
    is_path = isinstance(model, str | Path)
    if is_path and (":" not in Path(str(model)).name or Path(str(model)).exists()):
        return None
    if task not in (None, "module", SEQUENCE_TO_SEQUENCE):
        raise OptionError(f"a module of your own is for the task 'module' or {SEQUENCE_TO_SEQUENCE!r}, not {task!r}: leave the task out.")
    from zen_edge.exporters.own_module import call_factory, own_module, returned_module
    from zen_edge.exporters.own_seq2seq import own_seq2seq

    if example_inputs is not None and (is_path or isinstance(model, Seq2Seq)):
        raise OptionError(
            "the example inputs come from the factory: leave example_inputs out." if is_path else "a Seq2Seq takes no example inputs: leave them out."
        )
    found = call_factory(str(model)) if is_path else model
    kind = SEQUENCE_TO_SEQUENCE if isinstance(found, Seq2Seq) else "module"
    if task not in (None, kind):
        raise OptionError(f"what you give is for the task {kind!r}, not {task!r}: leave the task out.")
    if isinstance(found, Seq2Seq):
        return own_seq2seq(found, str(model) if is_path else "")
    return returned_module(found, str(model)) if is_path else own_module(found, example_inputs)


def keep_verified(folder: Path, manifest: Manifest, verify: Callable[[], ParityReport] | None, tell: Tell) -> Manifest:
    """Writes the manifest, compares the bundle with PyTorch where that is asked for, and keeps the report. CheckFailedError where it did not hold."""
    write_manifest(folder, manifest)
    if verify is None:
        return manifest
    tell("verify against PyTorch")
    report = verify()
    if not report.passed:
        raise CheckFailedError(f"the bundle does not say what PyTorch says, and was not kept: {'; '.join(report.failures[:3])}.")
    if half := report.about.get("half"):
        tell(half["told"])
    manifest = with_parity(manifest, report.to_json())
    write_manifest(folder, manifest)
    return manifest


def halve_measured(folder: Path, manifest: Manifest, measure: Measure, tell: Tell, precision: str) -> dict[str, Any]:
    """`precision`, with activations in half precision, for the graphs of the fp32 bundle in `folder`, by what `measure` finds in them. Returns what the manifest tells of it."""
    from zen_edge.exporters.halved import halve

    tell("measure how large its numbers become")
    write_manifest(folder, manifest)
    largest = measure(folder)
    (folder / MANIFEST).unlink()
    tell(f"quantize to {precision}")
    return halve(folder, [graph.name for graph in manifest.graphs], largest, precision)


def tell_fallback(manifest: Manifest, tell: Tell) -> None:
    """Say which nodes the device that `manifest` was exported for leaves to the CPU, if there are any, in one step for each graph."""
    for graph in (*manifest.graphs, *manifest.recorded):
        found = on_device(graph, manifest.device)
        if manifest.device != "cpu" and found["fallback"]:
            some = "; ".join(f"{row['count']} {row['op']}: {row['reason']}" for row in found["reasons"][:3])
            tell(f"in {graph.name}, {sum(found['fallback'].values())} of the nodes run on the CPU ({some})")


def _require_libraries() -> None:
    for name in ("torch", "transformers", "onnx", "onnx-ir", "onnxscript", "safetensors"):
        try:
            version(name)
        except PackageNotFoundError as error:
            raise MissingDependencyError(f'exporting needs {name}: pip install "zen-edge[export]".') from error


def _require_precision(precision: str, device: str) -> None:
    from zen_edge.exporters.quantization import SCHEMES

    if precision not in SCHEMES:
        raise OptionError(f"precision {precision!r} is not exported; there are: {', '.join(SCHEMES)}.")
    if device not in DEVICES:
        raise OptionError(f"device {device!r} is not exported for; there are: {', '.join(DEVICES)}.")
    require_kernels(precision, device)


def _require_fused(manifest: Manifest) -> None:
    """An attention implementation that a model does not honour is only warned of by transformers; the graph tells for certain."""
    from zen_edge.exporters.architectures import nearest_supported

    if manifest.task in ENCODER_OUTPUTS:
        return  # whatever encoder there is: right before it is fast, and `zen-edge inspect` tells
    for graph in manifest.graphs:
        if graph.unfused_attention or (graph.name in ("encoder", "ctc") and not graph.fused_attention):
            raise UnsupportedModelError(
                f"{manifest.model_type}: {graph.unfused_attention} attention layers of the {graph.name} did not go through transformers' attention "
                f"interface and stayed unfused. The nearest that is exported: {nearest_supported(manifest.model_type)}."
            )


def _describe(
    folder: Path,
    checkpoint: Checkpoint,
    names: tuple[str, ...],
    limits: dict[str, int],
    task: str,
    device: str,
    tokenizer: dict[str, Any],
    head: dict[str, Any],
    precision: str,
) -> Manifest:
    return Manifest(
        format=FORMAT,
        task=task,
        model_type=checkpoint.model_type,
        precision=precision,
        device=device,
        graphs=tuple(describe_graph(folder / f"{name}.onnx", name) for name in names),
        generation=_generation(checkpoint, task),
        tokenizer=tokenizer,
        limits=limits,
        files=describe_files(folder),
        source={
            "name": Path(checkpoint.name).name if checkpoint.folder else checkpoint.name,
            "revision": checkpoint.revision,
            "weights_sha256": checkpoint.weights_hash(),
        },
        made_with={name: version(name) for name in MADE_WITH},
        head=head,
        recipe=dict(Recipe.uniform(precision).parts),
        recorded=describe_recorded(folder),
    )


def _generation(checkpoint: Checkpoint, task: str) -> dict[str, Any]:
    """The checkpoint's generation defaults, without what is not set."""
    from zen_edge.exporters.architectures import architecture
    from zen_edge.exporters.ctc import is_ctc

    if task in ENCODER_OUTPUTS:
        return {}
    known = architecture(checkpoint.model_type).generation(checkpoint.model)
    if is_ctc(checkpoint.model.config):
        return known  # every frame is one choice
    return known | {name: value for name, value in checkpoint.model.generation_config.to_dict().items() if value is not None}


def _copy_papers(source: Path | None, folder: Path) -> None:
    """The licence and the model card go where the weights go."""
    for name in SOURCE_PAPERS:
        if source is not None and (source / name).is_file():
            shutil.copyfile(source / name, folder / name)


__all__ = ["Bundle", "Seq2Seq", "Vocabulary", "export"]

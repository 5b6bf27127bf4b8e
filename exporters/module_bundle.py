"""A module of one's own as a bundle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from zen_edge.bundle import Bundle
from zen_edge.exporters import MADE_WITH, halve_measured, keep_verified, tell_fallback
from zen_edge.exporters.attention_outputs import save_attention_outputs
from zen_edge.exporters.axes import Declared
from zen_edge.exporters.fusions import OF_MODULES, fuse
from zen_edge.exporters.halved import Measure, is_halved
from zen_edge.exporters.module_graph import GRAPH, trace_module
from zen_edge.exporters.own_module import OwnModule
from zen_edge.exporters.quantization import quantize
from zen_edge.exporters.weights import save_graphs
from zen_edge.files import new_folder
from zen_edge.inspection import describe_graph
from zen_edge.manifest import FORMAT, Manifest, describe_files
from zen_edge.parity import ParityReport

Tell = Callable[[str], None]


def export_module(
    own: OwnModule,
    out: Path,
    *,
    declared: Declared | None,
    precision: str,
    device: str,
    force: bool,
    verify: Callable[[Path, OwnModule], ParityReport] | None,
    tell: Tell,
    measure: Measure | None = None,
    with_attention: bool = False,
) -> Bundle:
    """As `exporters.export`, of a module. declared: {input: {axis: letter}}, its free axes; None: they are found."""
    with new_folder(out, force=force) as folder:
        tell("find free axes and trace the module")
        traced = trace_module(own, declared)
        tell("fuse")
        fuse(traced.graph, OF_MODULES, device)
        halves = measure is not None and is_halved(precision, device)
        if not halves:
            tell(f"quantize to {precision}")
            quantize(traced.graph, precision)
        tell("write the graph")
        save_graphs({GRAPH: traced.graph}, folder)
        manifest = Manifest(
            format=FORMAT,
            task="module",
            model_type="module",
            precision="fp32" if halves else precision,
            device=device,
            graphs=(describe_graph(folder / f"{GRAPH}.onnx", GRAPH),),
            generation={},
            tokenizer={},
            limits=traced.limits,
            files=describe_files(folder),
            source={"name": own.name.rpartition("/")[2], "revision": None, "weights_sha256": own.weights_hash()},
            made_with={name: version(name) for name in MADE_WITH},
        )
        if measure is not None and halves:
            activations = halve_measured(folder, manifest, measure, tell, precision)
            graphs = (describe_graph(folder / f"{GRAPH}.onnx", GRAPH),)
            manifest = replace(manifest, precision=precision, graphs=graphs, files=describe_files(folder), activations=activations)
        if with_attention:
            save_attention_outputs(folder, (GRAPH,), manifest.model_type)
            manifest = replace(manifest, files=describe_files(folder))
        tell_fallback(manifest, tell)
        return Bundle(out, keep_verified(folder, manifest, None if verify is None else lambda: verify(folder, own), tell))

"""The model of a bundle exported once more, in fp32 and for the same device: what tells where a bundle parts from PyTorch, or that rounding alone parts them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from zen_edge.attention_map import attention_file
from zen_edge.manifest import Manifest

if TYPE_CHECKING:
    from zen_edge.exporters.checkpoint import Checkpoint
    from zen_edge.exporters.own_module import OwnModule
    from zen_edge.exporters.own_seq2seq import OwnSeq2Seq


def export_again(
    source: str | Path | Checkpoint | OwnModule | OwnSeq2Seq,
    manifest: Manifest,
    out: Path,
    *,
    revision: str | None = None,
    tell: Callable[[str], None] = lambda step: None,
) -> None:
    """Write what `manifest` is of into `out`, which is not there. revision: of a checkpoint that is named by its folder or hub id."""
    from zen_edge.check_module import declared
    from zen_edge.exporters import export
    from zen_edge.exporters.module_bundle import export_module
    from zen_edge.exporters.own_module import OwnModule
    from zen_edge.exporters.own_seq2seq import OwnSeq2Seq
    from zen_edge.exporters.seq2seq_bundle import export_seq2seq

    device = manifest.device
    attends = any(attention_file(graph.name) in manifest.files for graph in manifest.graphs)
    if isinstance(source, OwnModule):
        axes = declared(source, manifest)
        export_module(source, out, declared=axes, precision="fp32", device=device, force=False, verify=None, with_attention=attends, tell=tell)
    elif isinstance(source, OwnSeq2Seq):
        export_seq2seq(source, out, precision="fp32", device=device, force=False, verify=None, with_attention=attends, tell=tell)
    else:
        model, revision = (source, revision) if isinstance(source, str | Path) else (source.folder or source.name, source.revision)
        export(model, out, precision="fp32", task=manifest.task, device=device, revision=revision, with_attention=attends)

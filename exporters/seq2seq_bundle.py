"""An encoder and a step of one's own as a bundle that decodes."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from zen_edge.bundle import Bundle
from zen_edge.exporters import MADE_WITH, keep_verified, tell_fallback
from zen_edge.exporters.attention_outputs import save_attention_outputs
from zen_edge.exporters.own_seq2seq import OwnSeq2Seq
from zen_edge.exporters.seq2seq_graphs import trace_graphs
from zen_edge.exporters.weights import save_graphs
from zen_edge.files import new_folder
from zen_edge.inspection import describe_graph
from zen_edge.manifest import FORMAT, Manifest, describe_files
from zen_edge.parity import ParityReport
from zen_edge.recipe import Recipe
from zen_edge.tasks import SEQUENCE_TO_SEQUENCE

MODEL_TYPE = "seq2seq"
UNPADDED = (
    "a text is encoded otherwise beside longer ones, where it is padded: texts of one length are decoded together and others apart. With pack_padded_sequence and the mask in the "
    "attention all could be"
)


def export_seq2seq(
    own: OwnSeq2Seq,
    out: Path,
    *,
    precision: str,
    device: str,
    force: bool,
    verify: Callable[[Path, OwnSeq2Seq], ParityReport] | None,
    tell: Callable[[str], None],
    with_attention: bool = False,
) -> Bundle:
    """As `exporters.export`, of a `Seq2Seq`."""
    with new_folder(out, force=force) as folder:
        if not own.padded:
            tell(UNPADDED)
        graphs = trace_graphs(own, precision, device, tell)
        tell("write the graphs")
        save_graphs(graphs, folder)
        if with_attention:
            save_attention_outputs(folder, tuple(graphs), MODEL_TYPE)
        manifest = Manifest(
            format=FORMAT,
            task=SEQUENCE_TO_SEQUENCE,
            model_type=MODEL_TYPE,
            precision=precision,
            device=device,
            graphs=tuple(describe_graph(folder / f"{name}.onnx", name) for name in graphs),
            generation=_generation(own),
            tokenizer=_tokenizer(own, folder),
            limits={"vocab_size": own.vocab_size, "padded": int(own.padded)},
            files=describe_files(folder),
            source={"name": own.name.rpartition("/")[2], "revision": None, "weights_sha256": own.weights_hash()},
            made_with={name: version(name) for name in MADE_WITH},
            recipe=dict(Recipe.uniform(precision).parts),
        )
        tell_fallback(manifest, tell)
        return Bundle(out, keep_verified(folder, manifest, None if verify is None else lambda: verify(folder, own), tell))


def _generation(own: OwnSeq2Seq) -> dict[str, Any]:
    asked = own.declared
    return {
        "decoder_start_token_id": asked.start_token,
        "eos_token_id": asked.end_token,
        "pad_token_id": asked.pad_token,
        "max_new_tokens": asked.max_new_tokens,
        "num_beams": asked.num_beams,
        "length_penalty": asked.length_penalty,
    }


def _tokenizer(own: OwnSeq2Seq, folder: Path) -> dict[str, Any]:
    return {
        "kind": "declared",
        "pad_token_id": own.declared.pad_token,
        "before": list(own.declared.before),
        "after": list(own.declared.after),
        "source": own.source.save(folder, "source"),
        "target": own.target.save(folder, "target"),
        "examples": own.examples(),
    }

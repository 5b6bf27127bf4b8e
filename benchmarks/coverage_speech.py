"""Which of the model types that AutoModelForCTC loads become bundles that say what PyTorch says, and why the others do not.

    python -m zen_edge.benchmarks.coverage_speech docs/coverage-speech.md

A tiny model of every type, with random weights that say different letters, is exported in fp32 and in int8 and compared with PyTorch: features, scores
of every frame, alone and in a padded batch, texts and the times of words.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zen_edge.benchmarks.coverage import refused, write_page
from zen_edge.benchmarks.tiny_speech import model_types, write_tiny_ctc
from zen_edge.errors import ZenEdgeError

# The other way of each type, where checkpoints are of both: what a padded batch does, and where positions come from.
VARIANTS: dict[str, tuple[tuple[str, dict[str, Any]], ...]] = {
    **{
        name: (("normalized by layer", {"feat_extract_norm": "layer", "do_stable_layer_norm": True}),)
        for name in ("hubert", "unispeech", "unispeech-sat", "wavlm")
    },
    "sew-d": (("places with keys of their own", {"share_att_key": False}),),
    "wav2vec2": (
        ("normalized by layer", {"feat_extract_norm": "layer", "do_stable_layer_norm": True}),
        ("with adapters of a language", {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "adapter_attn_dim": 8}),
        ("with an adapter", {"feat_extract_norm": "layer", "add_adapter": True, "output_hidden_size": 32}),
    ),
    "wav2vec2-bert": (("relative", {"position_embeddings_type": "relative"}), ("rotary", {"position_embeddings_type": "rotary"})),
    "wav2vec2-conformer": (("rotary", {"position_embeddings_type": "rotary"}),),
}


@dataclass(frozen=True)
class Row:
    """What became of one model type. fused: attention operators, of two layers. batches: whether a padded batch can be heard. reason: why it is
    refused; "" if it is not."""

    model_type: str
    variant: str = ""
    reason: str = ""
    fused: int = 0
    batches: bool = False
    difference: float = 0.0
    identical: str = ""
    int8: float = 0.0


def row_of(model_type: str, variant: str = "", changes: dict[str, Any] | None = None) -> Row:
    from transformers import AutoConfig

    from zen_edge.exporters.architectures import require_exported

    try:
        require_exported(AutoConfig.for_model(model_type))
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_tiny_ctc(folder / "checkpoint", model_type, **(changes or {}))
            exact, rounded = (_compared(folder, precision) for precision in ("fp32", "int8"))
    except ZenEdgeError as error:
        return Row(model_type, variant, reason=str(error))
    manifest, report = exact
    failures = report.failures
    tokens = report.tokens
    return Row(
        model_type,
        variant,
        "; ".join(failures),
        manifest.graph("ctc").fused_attention,
        any(tensor.name == "attention_mask" for tensor in manifest.graph("ctc").inputs),
        max(output.max_abs for output in report.outputs),
        f"{tokens.identical} of {tokens.total}",
        max(output.max_rel for output in rounded[1].outputs),
    )


def _compared(folder: Path, precision: str) -> tuple[Any, Any]:
    from zen_edge import check_ctc
    from zen_edge.exporters import export
    from zen_edge.exporters.checkpoint import load_checkpoint

    bundle = export(folder / "checkpoint", folder / precision, precision=precision)
    report, _ = check_ctc.compare(bundle.path, bundle.manifest, load_checkpoint(folder / "checkpoint"), None, prove=True, tell=lambda step: None)
    return bundle.manifest, report


def page(rows: Iterable[Row]) -> str:
    from transformers import __version__

    rows = list(rows)
    good, bad = ([row for row in rows if bool(row.reason) is refused] for refused in (False, True))
    lines = [
        "# Which speech models can be exported",
        "",
        f"Every model type that `AutoModelForCTC` of transformers {__version__} loads. Written by",
        "`python -m zen_edge.benchmarks.coverage_speech docs/coverage-speech.md`: a tiny model of each type, with random weights that say different",
        "letters, is exported and compared with PyTorch: features, scores of every frame, texts and the times of words.",
        "",
        f"## Exported: {len({row.model_type for row in good})}",
        "",
        "Attention: fused operators, of two layers. Padded batches: yes where a recording is answered alike alone and beside longer ones; others",
        "normalize or convolve over padding, and their recordings are batched with those of the same length. Difference: the largest of any output in",
        "fp32. Same: recordings of which every frame has PyTorch's choice. int8: the largest difference over the largest value.",
        "",
        "| model type | attention | padded batches | difference | same | int8 |",
        "| --- | ---: | --- | ---: | ---: | ---: |",
        *(
            f"| {row.model_type}{f', {row.variant}' if row.variant else ''} | {row.fused} | {'yes' if row.batches else 'no'} | {row.difference:.0e} | "
            f"{row.identical} | {row.int8:.2f} |"
            for row in good
        ),
        "",
        *refused([(row.model_type, row.reason) for row in bad]),
    ]
    return "\n".join(lines)


def main() -> None:
    def rows_of(model_type: str) -> Iterator[Row]:
        for variant, changes in (("", {}), *VARIANTS.get(model_type, ())):
            yield row_of(model_type, variant, changes)

    write_page(sorted(model_types()), rows_of, page)


if __name__ == "__main__":
    main()

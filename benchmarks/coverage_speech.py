"""Which of the model types that AutoModelForCTC and AutoModelForSpeechSeq2Seq load become bundles that say what PyTorch says, and why the others do not.

    python -m zen_edge.benchmarks.coverage_speech docs/coverage-speech.md

A tiny model of every type, with random weights that say different letters or words, is exported in fp32 and in int8 and compared with PyTorch: features, scores
of every frame or `generate` greedy and with four beams, alone and in padded batches, texts and the times of words.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zen_edge.benchmarks.coverage import refused, write_page
from zen_edge.benchmarks.engines import SPEECH
from zen_edge.benchmarks.tiny_speech import model_types, write_tiny_ctc
from zen_edge.benchmarks.tiny_utterances import TYPES, write_tiny_utterances
from zen_edge.benchmarks.tiny_whisper import write_tiny_whisper
from zen_edge.bundle import Bundle
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

# The same of encoder-decoders, as what their checkpoints are written with.
DECODER_VARIANTS: dict[str, tuple[tuple[str, dict[str, Any]], ...]] = {
    "speech_to_text": (("told a language", {"languages": True}),),
    "whisper": (("English only", {"multilingual": False}),),
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

    from zen_edge import quantize
    from zen_edge.exporters import export
    from zen_edge.exporters.architectures import require_exported

    try:
        require_exported(AutoConfig.for_model(model_type))
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_tiny_ctc(folder / "checkpoint", model_type, **(changes or {}))
            bundle = export(folder / "checkpoint", folder / "fp32")
            exact, rounded = (_compared(made, folder / "checkpoint") for made in (bundle, quantize(bundle.path, folder / "int8", verify=False)))
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


@dataclass(frozen=True)
class DecoderRow:
    """What became of one encoder-decoder. fused: attention operators in encoder and decoder."""

    model_type: str
    variant: str = ""
    reason: str = ""
    fused: tuple[int, ...] = ()
    batches: bool = False
    difference: float = 0.0
    identical: str = ""
    int8: float = 0.0


def decoder_types() -> list[str]:
    """Every model type that AutoModelForSpeechSeq2Seq loads in the installed transformers."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES

    return sorted(MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES)


def decoder_row_of(model_type: str, variant: str = "", changes: dict[str, Any] | None = None) -> DecoderRow:
    from transformers import AutoConfig

    from zen_edge import quantize
    from zen_edge.check import parity
    from zen_edge.exporters import export
    from zen_edge.exporters.architectures import find_task, require_exported
    from zen_edge.manifest import hears_utterances

    try:
        config = AutoConfig.for_model(model_type)
        require_exported(config)
        find_task(config, SPEECH)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            if model_type in TYPES:
                write_tiny_utterances(folder / "checkpoint", model_type, **(changes or {}))
            else:
                write_tiny_whisper(folder / "checkpoint", max_target_positions=128, **(changes or {}))  # room for all that parity decodes
            bundle = export(folder / "checkpoint", folder / "fp32")
            bundles = [bundle, quantize(bundle.path, folder / "int8", verify=False)]
            exact, rounded = (parity(bundle.path, folder / "checkpoint", keep=False) for bundle in bundles)
    except ZenEdgeError as error:
        return DecoderRow(model_type, variant, reason=str(error))
    manifest, tokens = bundles[0].manifest, exact.tokens
    return DecoderRow(
        model_type,
        variant,
        "; ".join(exact.failures),
        tuple(manifest.graph(graph).fused_attention for graph in ("encoder", "decoder")),
        hears_utterances(manifest),
        max(output.max_abs for output in exact.outputs),
        f"{tokens.identical} of {tokens.total}",
        max(output.max_rel for output in rounded.outputs),
    )


def _compared(bundle: Bundle, checkpoint: Path) -> tuple[Any, Any]:
    from zen_edge import check_ctc
    from zen_edge.exporters.checkpoint import load_checkpoint

    report, _ = check_ctc.compare(bundle.path, bundle.manifest, load_checkpoint(checkpoint), None, prove=True, tell=lambda step: None)
    return bundle.manifest, report


def page(rows: Iterable[Row | DecoderRow]) -> str:
    from transformers import __version__

    rows = list(rows)
    frames, decoders = ([row for row in rows if isinstance(row, kind) and not row.reason] for kind in (Row, DecoderRow))
    bad = [row for row in rows if row.reason]
    lines = [
        "# Which speech models can be exported",
        "",
        f"Every model type that `AutoModelForCTC` and `AutoModelForSpeechSeq2Seq` of transformers {__version__} load. Written by",
        "`python -m zen_edge.benchmarks.coverage_speech docs/coverage-speech.md`: a tiny model of each type, with random weights that say different",
        "letters or words, is exported and compared with PyTorch: features, scores of every frame or what `generate` gives, greedy and with four beams,",
        "alone and in padded batches, texts and the times of words.",
        "",
        f"## One output for every frame (CTC), exported: {len({row.model_type for row in frames})}",
        "",
        "Attention: fused operators, of two layers. Padded batches: yes where a recording is answered alike alone and beside longer ones; others",
        "normalize or convolve over padding, and their recordings are batched with those of the same length. Difference: the largest of any output in",
        "fp32. Same: recordings of which every frame has PyTorch's choice. int8: the largest difference over the largest value.",
        "",
        *_table([(row, str(row.fused)) for row in frames]),
        "",
        f"## Encoder-decoders, exported: {len({row.model_type for row in decoders})}",
        "",
        "Attention: fused operators of encoder and decoder, of two layers each. Padded batches: no where the encoder hears windows of one length. Same: sequences that are",
        "`generate`'s. The other columns are as above.",
        "",
        *_table([(row, " + ".join(map(str, row.fused))) for row in decoders]),
        "",
        *refused([(row.model_type, row.reason) for row in bad]),
    ]
    return "\n".join(lines)


def _table(rows: Iterable[tuple[Row | DecoderRow, str]]) -> list[str]:
    """Each with its count of attention operators."""
    return [
        "| model type | attention | padded batches | difference | same | int8 |",
        "| --- | ---: | --- | ---: | ---: | ---: |",
        *(
            f"| {row.model_type}{f', {row.variant}' if row.variant else ''} | {fused} | {'yes' if row.batches else 'no'} | {row.difference:.0e} | "
            f"{row.identical} | {row.int8:.2f} |"
            for row, fused in rows
        ),
    ]


def main() -> None:
    def rows_of(model_type: str) -> Iterator[Row | DecoderRow]:
        of_frames = model_type in model_types()
        for variant, changes in (("", {}), *(VARIANTS if of_frames else DECODER_VARIANTS).get(model_type, ())):
            yield (row_of if of_frames else decoder_row_of)(model_type, variant, changes)

    write_page([*sorted(model_types()), *decoder_types()], rows_of, page, Row)


if __name__ == "__main__":
    main()

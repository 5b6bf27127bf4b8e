"""Which of the model types that AutoModelForSeq2SeqLM loads become bundles that say what PyTorch says, and why the others do not.

    python -m zen_edge.benchmarks.coverage docs/coverage.md

A tiny model of every type, with random weights that say different words, is exported in fp32 and in int8 and compared with `generate`: greedy and
with four beams, each line alone and in padded batches.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from zen_edge.benchmarks.tiny import model_types, write_tiny
from zen_edge.errors import ZenEdgeError
from zen_edge.inputs import BUILT_IN

SIMILAR = 0.9  # cosine of every int8 output; random weights that say much err more than trained ones, whose bound an export holds


@dataclass(frozen=True)
class Row:
    """What became of one model type. fused: attention operators in encoder and decoder. reason: why it is refused; "" if it is not."""

    model_type: str
    model_class: str
    reason: str = ""
    fused: tuple[int, int] = (0, 0)
    difference: float = 0.0
    identical: int = 0
    ties: int = 0
    total: int = 0
    int8: float = 0.0


def row_of(model_type: str) -> Row:
    from transformers import AutoConfig

    from zen_edge.exporters.architectures import require_exported

    row = Row(model_type, model_types()[model_type])
    try:
        require_exported(AutoConfig.for_model(model_type))  # before a model is made: the default sizes of some are billions
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_tiny(folder / "checkpoint", model_type)
            exact, rounded = (_compared(folder, precision) for precision in ("fp32", "int8"))
    except ZenEdgeError as error:
        return Row(row.model_type, row.model_class, str(error))
    manifest, report = exact
    if not report.passed:
        return Row(row.model_type, row.model_class, f"WRONG: {'; '.join(report.failures[:3])}")
    if not all(output.cosine > SIMILAR for output in rounded[1].outputs):
        return Row(row.model_type, row.model_class, f"WRONG in int8: {'; '.join(rounded[1].failures[:3])}")
    fused = tuple(manifest.graph(graph).fused_attention for graph in ("encoder", "decoder"))
    difference, tokens = max(output.max_abs for output in report.outputs), report.tokens
    int8 = max(output.max_rel for output in rounded[1].outputs)
    return Row(row.model_type, row.model_class, "", fused, difference, tokens.identical, tokens.ties, tokens.total, int8)


def _compared(folder: Path, precision: str) -> tuple[Any, Any]:
    """The manifest of an export in that precision, and its report."""
    from zen_edge.check import compare
    from zen_edge.exporters import export
    from zen_edge.exporters.checkpoint import load_checkpoint

    bundle = export(folder / "checkpoint", folder / precision, task="translation", precision=precision)
    return bundle.manifest, compare(bundle.path, bundle.manifest, load_checkpoint(folder / "checkpoint"), BUILT_IN, only_fitting=True)


def page(rows: Iterable[Row]) -> str:
    """docs/coverage.md."""
    import transformers

    rows = list(rows)
    good, bad = [row for row in rows if not row.reason], [row for row in rows if row.reason]
    lines = [
        "# Which models can be exported",
        "",
        f"Every model type that `AutoModelForSeq2SeqLM` of transformers {transformers.__version__} loads. Written by",
        "`python -m zen_edge.benchmarks.coverage docs/coverage.md`: a tiny model of each type, with random weights that say different words, is exported",
        "and compared with `generate`, greedy and with four beams, each line alone and in padded batches.",
        "",
        f"## Exported: {len(good)}",
        "",
        "Attention: fused operators in the encoder and the decoder, of two layers each. Difference: the largest of any output of any graph in fp32. Tokens:",
        "sequences that are the same as PyTorch's, of all compared; the others part at a tie. int8: the largest difference over the largest value.",
        "",
        "| model type | attention | difference | tokens | int8 |",
        "| --- | ---: | ---: | ---: | ---: |",
        *(
            f"| {row.model_type} | {row.fused[0]} + {row.fused[1]} | {row.difference:.0e} | {row.identical} of {row.total} | {row.int8:.2f} |"
            for row in good
        ),
        "",
        *refused([(row.model_type, row.reason) for row in bad]),
    ]
    return "\n".join(lines)


def refused(types: Sequence[tuple[str, str]]) -> list[str]:
    """The part of the page that says why."""
    return [
        f"## Refused: {len(types)}",
        "",
        "In the words that `zen-edge export` says.",
        "",
        "| model type | |",
        "| --- | --- |",
        *(f"| {model_type} | {reason.replace('|', '/')} |" for model_type, reason in types),
        "",
    ]


def write_page(types: Iterable[str], rows_of: Callable[[str], Iterable[Any]], page: Callable[[list[Any]], str], kind: type[Any]) -> None:
    """The command: every type that it names, or all of them, as a page in the file that it names, or on stdout. Types, or pairs of a type, a slash and
    more, whose rows, dataclasses of `kind`, are kept are not tried again."""
    from transformers.utils import logging

    parser = argparse.ArgumentParser(description="Write which model types are exported.")
    parser.add_argument("out", type=Path, nargs="?", help="a Markdown file; left out, the page goes to stdout")
    parser.add_argument("--only", default="", help="model types, separated by commas")
    parser.add_argument("--kept", type=Path, help="a file of the rows there are: read, and added to, so that a run that was cut short goes on")
    given = parser.parse_args()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    only = [name for name in given.only.split(",") if name]
    wanted = [name for name in types if not only or {name, name.partition("/")[0]} & set(only)]
    kept: dict[str, list[Any]] = {}
    if given.kept is not None and given.kept.exists():
        kept = {name: [kind(**row) for row in rows] for name, rows in map(json.loads, given.kept.read_text(encoding="utf-8").splitlines())}
    for model_type in wanted:
        if model_type in kept:
            continue
        kept[model_type] = []
        for row in rows_of(model_type):
            kept[model_type].append(row)
            print(row, file=sys.stderr, flush=True)
        if given.kept is not None:
            with given.kept.open("a", encoding="utf-8") as file:
                file.write(json.dumps([model_type, list(map(asdict, kept[model_type]))]) + "\n")
    text = page([row for model_type in wanted for row in kept[model_type]])
    given.out.write_text(text, encoding="utf-8") if given.out else print(text)


def main() -> None:
    write_page(model_types(), lambda model_type: [row_of(model_type)], page, Row)


if __name__ == "__main__":
    main()

"""How good the shipped summarizer is: ROUGE on test documents, beside what the first words of a document score.

    python -m zen_edge.benchmarks.evaluate_summarizer DATA CHECKPOINT [--write LINES.jsonl]

Packages of one source share wording, so documents count as distinct only if at most a fifth of their sequences of five words stand in any training
document or an earlier test document. --write keeps the first distinct documents as lines with source and target, for demos and benchmarks.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import zen_edge
from zen_edge.text_scores import rouge

SEQUENCE, MOST_SHARED = 5, 0.2
LEAD_WORDS = 10  # as long as nine in ten references
WRITTEN = 160
LONGEST = 120  # words of a document that is written


def sequences(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i : i + SEQUENCE]) for i in range(len(words) - SEQUENCE + 1)}


def distinct(rows: Sequence[dict[str, str]]) -> Iterator[dict[str, str]]:
    seen = set().union(*(sequences(row["document"]) for row in rows if row["split"] == "train"))
    for row in rows:
        if row["split"] == "test" and (own := sequences(row["document"])):
            if len(own & seen) <= MOST_SHARED * len(own):
                yield row
            seen |= own


def lead(document: str) -> str:
    """The beginning of the first sentence."""
    return " ".join(re.split(r"(?<=[.!?])\s", document, maxsplit=1)[0].split()[:LEAD_WORDS])


def figures(rows: Sequence[dict[str, str]], pipeline: zen_edge.runtimes.pipelines.text_to_text.TextToText) -> dict[str, dict[str, float]]:
    references, documents = [row["summary"] for row in rows], [row["document"] for row in rows]
    return {
        "model": rouge(pipeline(documents, overflow="truncate"), references),
        "first words": rouge([lead(document) for document in documents], references),
    }


def main(data: Path, checkpoint: Path, write: Path | None) -> None:
    with gzip.open(data, "rt", encoding="utf8") as file:
        rows = [json.loads(line) for line in file]
    test, apart = [row for row in rows if row["split"] == "test"], list(distinct(rows))
    with tempfile.TemporaryDirectory() as name:
        found = {}
        for precision in ("fp32", "int8"):
            out = Path(name) / precision
            zen_edge.export(checkpoint, out, task="summarization", precision=precision)
            with zen_edge.load(out) as pipeline:
                found[precision] = {f"{what}, {len(some)} documents": figures(some, pipeline) for what, some in (("all", test), ("distinct", apart))}
    print(json.dumps(found, indent=2))
    if write is not None:
        short = [row for row in apart if len(row["document"].split()) <= LONGEST][:WRITTEN]
        lines = (json.dumps({"source": row["document"], "target": row["summary"]}, ensure_ascii=False) for row in short)
        write.write_text("".join(f"{line}\n" for line in lines), encoding="utf8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Score a summarizer on package descriptions.")
    parser.add_argument("data", type=Path)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--write", type=Path)
    main(**vars(parser.parse_args()))

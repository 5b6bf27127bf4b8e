"""The answers of a bundle and of its PyTorch model, held against those that people gave."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zen_edge.answer_scores import answer_scores
from zen_edge.inputs import Line, Question, read_questions
from zen_edge.manifest import Manifest
from zen_edge.parity import TextScore

if TYPE_CHECKING:
    from zen_edge.exporters.checkpoint import Checkpoint


def asked(manifest: Manifest, inputs: object, limit: int | None) -> tuple[Question, ...]:
    """The questions of a .jsonl file, where the bundle answers questions; none of anything else."""
    is_file = isinstance(inputs, str | Path) and Path(inputs).suffix.lower() == ".jsonl"
    return read_questions(Path(str(inputs)), limit) if is_file and manifest.task == "question-answering" else ()


def as_lines(questions: Sequence[Question]) -> tuple[Line, ...]:
    return tuple(Line(one.question, pair=one.context) for one in questions)


def compare_answers(folder: Path, manifest: Manifest, checkpoint: Checkpoint, questions: Sequence[Question]) -> dict[str, TextScore]:
    """Exact match and F1 of both, in windows as they are by default; {} where no question has an answer. The search for spans is one; tokens and scores are
    transformers' and PyTorch's on the one side."""
    from zen_edge.exporters.reference_encoder import EncoderReference
    from zen_edge.runtimes.pipelines.answers import Wanted, Window, find_answers
    from zen_edge.runtimes.pipelines.question_answering import Pipeline

    scored = [one for one in questions if one.answers]
    if not scored:
        return {}
    reference = EncoderReference(checkpoint, manifest.task)
    none_at_times = any("" in one.answers for one in scored)
    wanted = Wanted(handle_impossible_answer=none_at_times)
    with Pipeline(folder, manifest) as pipeline:
        most = pipeline.max_seq_len
        options: dict[str, Any] = {"max_seq_len": most, "doc_stride": most // 4, "handle_impossible_answer": none_at_times}
        ours = pipeline(question=[one.question for one in scored], context=[one.context for one in scored], **options)
    theirs = []
    for one in scored:
        windows = [Window(*found) for found in reference.windows(one.question, one.context, most, most // 4)]
        best = find_answers(one.context, windows, manifest.head.get("cls_token_id"), wanted)
        theirs.append(best[0].text if best else "")
    given = [one.answers for one in scored]
    of_model, of_bundle = answer_scores(theirs, given), answer_scores([one.text for one in ours], given)
    return {name: TextScore(score, of_bundle[name]) for name, score in of_model.items()}

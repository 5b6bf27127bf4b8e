"""Texts against given references, 0 to 100: chrF and BLEU, ROUGE for summaries, the word error rate for speech. They need the extra `bench`."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from zen_edge.errors import MissingDependencyError

ROUGE = {"ROUGE-1": "rouge1", "ROUGE-2": "rouge2", "ROUGE-L": "rougeL"}
NEEDED = {"sacrebleu": "sacrebleu", "rouge_score": "rouge-score", "jiwer": "jiwer"}
OF_TASKS = {"summarization": ("sacrebleu", "rouge_score"), "speech-recognition": ("sacrebleu", "jiwer")}  # chrF and BLEU otherwise


def require_scores(task: str) -> None:
    """MissingDependencyError where `scores` would lack a library: asked before long work begins."""
    for module in OF_TASKS.get(task, ("sacrebleu",)):
        if find_spec(module) is None:
            raise MissingDependencyError(
                f'scoring text against targets needs {NEEDED[module]}: pip install "zen-edge[bench]", or give lines without targets.'
            )


def scores(task: str, texts: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """chrF and BLEU over all texts together; for summarization also ROUGE-1, ROUGE-2 and ROUGE-L; for
    speech recognition chrF and the word error rate, of which less is better. One reference for each text."""
    require_scores(task)
    if task == "speech-recognition":
        return {"chrF": chrf(texts, references), "WER": word_error_rate(texts, references)}
    from sacrebleu import corpus_bleu

    found = {"chrF": chrf(texts, references), "BLEU": float(corpus_bleu(list(texts), [list(references)]).score)}
    return found | (rouge(texts, references) if task == "summarization" else {})


def chrf(texts: Sequence[str], references: Sequence[str]) -> float:
    require_scores("translation")
    from sacrebleu import corpus_chrf

    return float(corpus_chrf(list(texts), [list(references)]).score)


def rouge(texts: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Mean F-measures of words and word pairs in common and of the longest common subsequence, words stemmed (Lin 2004, "ROUGE: A Package for
    Automatic Evaluation of Summaries"; the rouge-score library). It knows words of a-z and 0-9 only: texts in other scripts score 0."""
    require_scores("summarization")
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(list(ROUGE.values()), use_stemmer=True)
    rows = [scorer.score(reference, text) for text, reference in zip(texts, references, strict=True)]
    return {name: 100 * sum(row[key].fmeasure for row in rows) / len(rows) for name, key in ROUGE.items()}


def word_error_rate(texts: Sequence[str], references: Sequence[str]) -> float:
    """Words to put in, leave out or change to get from `texts` to `references`, of a hundred of theirs, by the jiwer library. Case and punctuation count."""
    import jiwer

    return 100 * float(jiwer.wer(list(references), list(texts)))

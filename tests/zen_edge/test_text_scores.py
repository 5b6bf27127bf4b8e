"""ROUGE by hand, and the libraries that scores need."""

import sys

import pytest

from zen_edge.errors import MissingDependencyError
from zen_edge.text_scores import rouge, scores


def test_rouge_is_the_mean_of_f_measures() -> None:
    # First pair: 4 of 5 words and 2 of 4 pairs are common; the longest common subsequence has 4 of 5. Second pair: nothing is.
    found = rouge(["small tool to read files", "nothing"], ["small tool that reads files", "another thing"])
    assert found == pytest.approx({"ROUGE-1": 50 * 4 / 5, "ROUGE-2": 50 * 2 / 4, "ROUGE-L": 50 * 4 / 5})


def test_order_counts_for_pairs_and_sequences_only() -> None:
    found = rouge(["c b a"], ["a b c"])
    assert found == pytest.approx({"ROUGE-1": 100, "ROUGE-2": 0, "ROUGE-L": 100 / 3})


def test_the_task_chooses_the_scores() -> None:
    texts = ["a small tool to read files"]
    assert scores("translation", texts, texts) == pytest.approx({"chrF": 100, "BLEU": 100})
    assert scores("summarization", texts, texts).keys() == {"chrF", "BLEU", "ROUGE-1", "ROUGE-2", "ROUGE-L"}


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rouge_score", None)
    assert scores("translation", ["a"], ["a"])["chrF"] == pytest.approx(100)
    with pytest.raises(MissingDependencyError, match=r'needs rouge-score: pip install "zen-edge\[bench\]"'):
        scores("summarization", ["a"], ["a"])

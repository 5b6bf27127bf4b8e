"""A trained model that embeds sentences: the same vectors as PyTorch, and int8 whose neighbours mostly are."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

import zen_edge

pytestmark = pytest.mark.checkpoint
DATA = Path(__file__).parents[1] / "data" / "descriptions.test.en-fr.jsonl"
TEXTS = [
    "The cat sits outside.",
    "A man is playing the guitar in the rain, and nobody listens to him.",
    "The library reads and writes text files. " * 12,
    *(json.loads(line)["source"] for line in DATA.read_text("utf-8").splitlines()[:120]),
]


@pytest.fixture(scope="module")
def folder(real_checkpoint):
    return real_checkpoint("all-minilm-l6-v2")


@pytest.fixture(scope="module")
def of_pytorch(folder):
    """(B,D) of TEXTS: the mean of the tokens' states, of length 1."""
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        means = [model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(0) for text in TEXTS]
    return torch.nn.functional.normalize(torch.stack(means)).numpy()


@pytest.fixture(scope="module")
def vectors(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("minilm")
    made = {precision: zen_edge.export(folder, out / precision, precision=precision).path for precision in ("fp32", "int8")}
    return {precision: zen_edge.load(path)(TEXTS) for precision, path in made.items()}


def test_its_own_pooling_and_normalization_are_found(vectors):
    for found in vectors.values():
        assert found.shape == (len(TEXTS), 384) and found.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_fp32_is_what_pytorch_says(vectors, of_pytorch):
    assert (vectors["fp32"] * of_pytorch).sum(1).min() > 0.9999


def test_int8_is_near_it_and_has_mostly_the_same_neighbours(vectors, of_pytorch):
    cosines = (vectors["int8"] * of_pytorch).sum(1)
    assert cosines.min() > 0.99
    nearest = [neighbours(found) for found in (vectors["int8"], of_pytorch)]
    assert np.mean(nearest[0] == nearest[1]) > 0.9


def neighbours(vectors):
    """(B,): the text that is nearest to each."""
    return (vectors @ vectors.T - 2 * np.eye(len(vectors), dtype=np.float32)).argmax(1)

"""The weights of attention of encoders, against transformers' `output_attentions`, and what pipelines make of them."""

from __future__ import annotations

import numpy as np
import pytest

from zen_edge import load
from zen_edge.errors import InputError, OptionError
from zen_edge.exporters import export
from zen_edge.exporters.checkpoint import load_checkpoint
from zen_edge.exporters.reference_encoder import EncoderReference
from zen_edge.manifest import read_manifest
from zen_edge.runtimes.attention import Attending
from zen_edge.runtimes.encoder import Encoder

LINES = ["library of functions for reading and writing image files", "tool", "simple text editor"]
TOLERANCE = 1e-4  # of weights from 0 to 1
WIDER = ("roberta", "distilbert", "electra", "albert", "modernbert", "xlm-roberta")


@pytest.fixture(scope="module")
def attending(bundle, keep_attention):
    with load(keep_attention(bundle("bert", "question-answering")), threads=1) as opened:
        yield opened


def compared(source, folder, task):
    """Asserts for a padded batch that the weights are PyTorch's; gives them."""
    manifest, reference = read_manifest(folder), EncoderReference(load_checkpoint(source, task=task), task)
    feeds = Encoder(folder, manifest, "cpu", 1).feeds([reference.encode(line) for line in LINES])
    found = Attending(folder, manifest, "cpu", 1).one_graph().weights(feeds)
    expected = reference.attention(feeds)
    assert found.keys() == {"encoder"}
    assert found["encoder"].shape == expected.shape
    assert np.abs(found["encoder"] - expected).max() < TOLERANCE
    return feeds, found["encoder"]


def test_in_a_padded_batch(checkpoint, bundle, keep_attention):
    feeds, weights = compared(checkpoint("bert", "question-answering"), keep_attention(bundle("bert", "question-answering")), "question-answering")
    hidden = feeds["attention_mask"] == 0
    assert hidden.any()
    assert not weights[1][..., hidden[1]].any()


def test_a_question_and_its_context(attending):
    seen = attending.attend("what is it", pair="a simple text editor")
    assert seen.source.count("</s>") == 2
    T = len(seen.source)
    assert seen.weights["encoder"].shape[-2:] == (T, T)
    shown = seen.chosen(layer=0, head=1)
    assert (shown.rows, shown.columns, shown.title) == (seen.source, seen.source, "encoder, layer 0, head 1")
    alone = attending.attend("what is it")
    assert len(alone.source) < T
    for wrong, kind in (
        (lambda: attending.attend(" "), InputError),
        (lambda: attending.attend(3), InputError),
        (lambda: attending.attend("a", num_beams=2), OptionError),
    ):
        with pytest.raises(kind):
            wrong()


@pytest.mark.sweep
@pytest.mark.parametrize("model_type", WIDER)
def test_other_types(checkpoint, bundle, keep_attention, model_type):
    compared(checkpoint(model_type, "token-classification"), keep_attention(bundle(model_type, "token-classification")), "token-classification")


@pytest.mark.sweep
def test_an_export_is_verified(checkpoint, tmp_path):
    from zen_edge import check

    made = export(checkpoint("bert", "text-embedding"), tmp_path / "made", task="text-embedding", with_attention=True, verify=check.verify)
    assert "attention.encoder" in {output["name"] for output in made.manifest.parity["outputs"]}
    with load(made.path, threads=1) as opened:
        assert opened.attend("simple text editor").chosen().weights.shape[0] > 3

"""pipeline.attend: the weights of attention with their tokens, and what a bundle without them says."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import zen_edge
from zen_edge.attention_map import attention_file
from zen_edge.errors import InputError, OptionError, UnsupportedModelError, ZenEdgeError
from zen_edge.exporters.attention_outputs import save_attention_outputs
from zen_edge.exporters.bundles import quantize_bundle
from zen_edge.manifest import read_manifest
from zen_edge.recipe import Recipe

LINE = "library of tools for reading text files"


@pytest.fixture(scope="module")
def attending(demo_attention):
    with zen_edge.load(demo_attention, threads=1) as opened:
        yield opened


def test_tokens_and_weights(attending):
    seen = attending.attend(LINE)
    assert seen.text == attending(LINE)
    assert seen.source == ("▁library", "▁of", "▁tools", "▁for", "▁reading", "▁text", "▁files", "</s>")
    assert seen.target[-1] == "</s>"
    assert seen.decoder_input == ("<pad>", *seen.target[:-1])
    assert "".join(seen.target[:-1]).replace("▁", " ").strip() == seen.text
    T, S = len(seen.source), len(seen.target)
    assert {kind: weights.shape for kind, weights in seen.weights.items()} == {
        "encoder": (3, 4, T, T),
        "decoder": (2, 4, S, S),
        "cross": (2, 4, S, T),
    }
    assert all(np.allclose(weights.sum(-1), 1, atol=1e-5) for weights in seen.weights.values())
    shown = seen.chosen()
    assert (shown.title, shown.rows, shown.columns) == ("cross, mean of 2 layers, mean of 4 heads", seen.target, seen.source)
    words = {shown.rows[i]: shown.columns[j] for i, j in enumerate(shown.weights.argmax(-1))}
    assert (words["▁bibliothèque"], words["▁lire"], words["▁texte"]) == ("▁library", "▁reading", "▁text")


def test_one_layer_and_head(attending):
    seen = attending.attend(LINE)
    assert np.array_equal(seen.chosen("encoder", 2, 3).weights, seen.weights["encoder"][2, 3])
    assert np.allclose(seen.chosen("encoder", 1).weights, seen.weights["encoder"][1].mean(0))
    assert np.allclose(seen.chosen("decoder", head=0).weights, seen.weights["decoder"][:, 0].mean(0))
    for wrong, message in (({"kind": "self"}, "cross, decoder, encoder"), ({"layer": 2}, "layers 0 to 1"), ({"head": -1}, "heads 0 to 3")):
        with pytest.raises(OptionError, match=message):
            seen.chosen(**wrong)


def test_several_lines_and_options(attending):
    lines = ["simple game", LINE]
    found = attending.attend(lines, num_beams=3, max_new_tokens=5)
    assert [seen.text for seen in found] == attending(lines, num_beams=3, max_new_tokens=5)
    alone = attending.attend(lines[1], num_beams=3, max_new_tokens=5)
    assert all(np.allclose(found[1].weights[kind], alone.weights[kind], atol=1e-5) for kind in alone.weights)
    begun = attending.attend("simple game", decoder_prefix="un petit")
    assert begun.target[:2] == ("▁un", "▁petit")


@pytest.mark.parametrize(("precision", "furthest"), [("fp16", 2e-3), ("int8", 0.1), ("int4", 0.3)])
def test_a_quantized_bundle(demo_attention, attending, tmp_path, precision, furthest):
    """Attends to what its own arithmetic says."""
    made = quantize_bundle(demo_attention, tmp_path, Recipe.uniform(precision), lambda step: None)
    with zen_edge.load(made.path, threads=1) as opened:
        seen = opened.attend(LINE, decoder_prefix=list(attending.generate(LINE)[0][0].tokens[:-1]), max_new_tokens=1)
    exact = attending.attend(LINE)
    assert seen.target == exact.target
    assert all(0 < np.abs(seen.weights[kind] - weights).max() < furthest for kind, weights in exact.weights.items())


def test_what_cannot_be_attended_to(attending, pipeline):
    with pytest.raises(ZenEdgeError, match="export it again with --with-attention"):
        pipeline.attend(LINE)
    with pytest.raises(InputError, match="a blank text"):
        attending.attend("  ")
    with pytest.raises(OptionError, match="split"):
        attending.attend(LINE, overflow="split")
    with pytest.raises(InputError, match="expected a text"):
        attending.attend(3)


def test_the_option_leaves_the_graphs_as_they_are(demo_checkpoint, demo_fp32, demo_attention, tmp_path):
    """The one export with the option that is verified too; the other tests add the same files to a bundle."""
    made = zen_edge.export(demo_checkpoint, tmp_path / "made", with_attention=True).path
    files = {path.name for path in made.iterdir()}
    more = {attention_file(name) for name in ("encoder", "decoder")}
    assert files - {path.name for path in demo_fp32.iterdir()} == more
    for name in files - {"zen-edge.json"}:
        assert (made / name).read_bytes() == ((demo_attention if name in more else demo_fp32) / name).read_bytes(), name
    assert sum((made / name).stat().st_size for name in more) < 16_000
    compared = {output["name"]: output["max_abs"] for output in read_manifest(made).parity["outputs"]}
    assert {name for name in compared if name.startswith("attention.")} == {"attention.encoder", "attention.decoder", "attention.cross"}
    assert max(value for name, value in compared.items() if name.startswith("attention.")) < 1e-5


def test_verification_sees_wrong_weights(demo_attention, demo_checkpoint, vouch, tmp_path):
    folder = tmp_path / "wrong"
    shutil.copytree(demo_attention, folder)
    encoder = (folder / "encoder.attention").read_bytes()
    assert encoder.count(b"encoder_attention_0") > 5
    swapped = encoder.replace(b"encoder_attention_0", b"encoder_attention_x").replace(b"encoder_attention_1", b"encoder_attention_0")
    (folder / "encoder.attention").write_bytes(swapped.replace(b"encoder_attention_x", b"encoder_attention_1"))
    vouch(folder, "encoder.attention")
    report = zen_edge.parity(folder, demo_checkpoint, limit=2)
    assert [output.name for output in report.outputs if not output.passed] == ["attention.encoder"]
    assert not report.passed


def test_a_graph_that_does_not_attend_is_refused(demo_fp32):
    before = {path.name for path in demo_fp32.iterdir()}
    with pytest.raises(UnsupportedModelError, match="has no attention"):
        save_attention_outputs(demo_fp32, ["reorder"], "marian")
    assert {path.name for path in demo_fp32.iterdir()} == before

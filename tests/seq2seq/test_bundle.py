"""A translator of one's own as a bundle: it says what its modules say, alone and beside others, and takes what a translation takes."""

import json
import shutil

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import zen_edge
from zen_edge.cli import app
from zen_edge.errors import CheckFailedError, InputError, OptionError, UnsupportedModelError, ZenEdgeError
from zen_edge.exporters.reference_seq2seq import Seq2SeqReference
from zen_edge.inspection import inspect_bundle
from zen_edge.runtimes.binding import Binding

from .translators import swaying

LINES = ["w1 w2 w3", "w9", "w4 w4 w30 w7 w12 w8 w1", "w5 w6", "w20 w21 w22 w23 w24 w25 w26 w27 w28 w29 w30", "w2 nowhere w3"]


def zen(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def pipeline(additive):
    with zen_edge.load(additive, threads=1) as opened:
        yield opened


def expected(own, line, **options):
    reference = Seq2SeqReference(own)
    ids = np.array([reference.encode(line)])
    return reference.generate(ids, np.ones_like(ids), options.get("num_beams", 1), options.get("max_new_tokens"))[0]


@pytest.mark.parametrize("options", [{}, {"num_beams": 3}, {"num_beams": 4, "max_new_tokens": 5}])
def test_it_says_what_the_modules_say(pipeline, own, options):
    found = pipeline.generate(LINES, **options)
    assert [one[0].tokens for one in found] == [expected(own, line, **options) for line in LINES]
    assert len({token for one in found for token in one[0].tokens}) > 6
    alone = [pipeline.generate(line, **options)[0][0] for line in LINES]
    assert [one.tokens for one in alone] == [one[0].tokens for one in found]
    np.testing.assert_allclose([one.score for one in alone], [one[0].score for one in found], rtol=1e-4)
    assert all(word.startswith("mot") for word in found[0][0].text.split())


def test_options_of_decoding_are_honoured(pipeline):
    best = pipeline.generate(LINES[0], num_beams=4, num_return_sequences=3)[0]
    assert len({one.tokens for one in best}) == 3
    assert best[0].score >= best[1].score >= best[2].score
    assert "".join(pipeline.stream(LINES[2])) == pipeline(LINES[2])
    said = pipeline.generate(LINES[2], no_repeat_ngram_size=1)[0][0].tokens
    assert len(set(said)) == len(said)
    drawn = [pipeline(LINES[0], do_sample=True, temperature=2.0, seed=seed) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    begun = pipeline.generate(LINES[0], decoder_prefix="mot7 mot8")[0][0]
    assert begun.text.startswith("mot7 mot8")
    log_probs = pipeline.generate(LINES[0], token_log_probs=True)[0][0].log_probs
    assert len(log_probs) == len(pipeline.generate(LINES[0])[0][0].tokens)
    with pytest.raises(OptionError, match="no language codes"):
        pipeline(LINES[0], target_lang="fr")
    assert pipeline(["", "w1"])[0] == ""


def test_what_the_step_computes_of_its_memory_alone_is_computed_once(pipeline):
    encoder, decoder = (pipeline.manifest.graph(name) for name in ("encoder", "decoder"))
    assert [tensor.name for tensor in encoder.outputs] == ["cross_memory", "past_state_0", "past_state_1", "cross_once_1"]
    assert [tensor.shape for tensor in decoder.inputs[:3]] == [("R",), ("R", "T"), ("R", "T", 32)]
    assert encoder.ops["LSTM"] == 2
    assert decoder.ops["MatMul"] == 5  # value, context, the cell's two (that of its state with the query), head; not the keys


def test_states_stay_on_the_device(additive, pipeline, load_bound, monkeypatch):
    """As a GPU runs it: what steps hand on goes from place to place, and only the best words and their scores come to the CPU."""
    copied, placed, run = set(), set(), Binding.run

    def watched(self, feeds, outputs, on_device, shapes=None):
        copied.update(name for name in outputs if name not in on_device)
        copied.update(name for name, value in feeds.items() if name.startswith(("past_", "cross_")) and isinstance(value, np.ndarray))
        placed.update(shapes or ())
        return run(self, feeds, outputs, on_device, shapes)

    monkeypatch.setattr(Binding, "run", watched)
    with load_bound(additive) as bound:
        for options in ({}, {"num_beams": 3}, {"decoder_prefix": "mot7 mot8"}, {"no_repeat_ngram_size": 1}, {"do_sample": True, "seed": 3}):
            found, told = (side.generate(LINES, **options) for side in (bound, pipeline))
            assert [one[0].tokens for one in found] == [one[0].tokens for one in told]
    assert copied == {"top_scores", "top_ids", "log_sum_exp"}
    assert placed == {"present_state_0", "present_state_1", "moved_state_0", "moved_state_1", "moved_memory", "moved_once_1"}


def test_half_precision_is_checked_in_half(factory, tmp_path):
    made = zen_edge.export(factory("additive"), tmp_path / "out", device="cuda")
    assert (made.manifest.precision, made.manifest.device, made.manifest.parity["passed"]) == ("fp16", "cuda", True)
    assert not any(graph["on_device"]["fallback"] for graph in inspect_bundle(made.path, "cuda")["graphs"])


@pytest.mark.sweep
def test_half_precision_that_sways_is_judged_on_lines_of_its_own(tmp_path):
    """Of modules themselves, which are exported once more to tell rounding from a fault: the lines are no example inputs of theirs."""
    torch.manual_seed(0)
    model = swaying()
    made = zen_edge.export(model, tmp_path / "out", device="cuda", verify=False)
    report = zen_edge.parity(made.path, model, inputs=LINES)
    assert report.passed, report.failures
    told = {output.name: output.max_rel for output in report.outputs if output.max_rel > report.tolerance.max_rel}
    assert told.keys() == report.about["half"]["rounding"].keys() >= {"decoder.logits"}


def test_it_tells_where_it_runs(additive, pipeline):
    assert pipeline.provider.device == "cpu"
    placed = pipeline.placement()
    assert placed.keys() == {graph.file for graph in pipeline.manifest.graphs}
    assert all(sum(counts.values()) > 0 for counts in placed.values())
    result = zen("run", additive, LINES[0], "--device", "auto")
    assert (result.exit_code, result.stdout.strip()) == (0, pipeline(LINES[0]))


def test_the_command_line(additive, factory, tmp_path):
    done = zen("run", additive, *LINES[:2], "--num-beams", 3, "--json", "--threads", 1)
    rows = [json.loads(row) for row in done.stdout.splitlines()]
    assert done.exit_code == 0, done.output
    with zen_edge.load(additive, threads=1) as pipeline:
        assert [row["text"] for row in rows] == pipeline(LINES[:2], num_beams=3)
    told = json.loads(zen("inspect", additive, "--json").stdout)
    assert told["task"] == "sequence-to-sequence"
    assert [graph["name"] for graph in told["graphs"]] == ["encoder", "decoder", "reorder", "share"]
    small = zen_edge.quantize(additive, tmp_path / "int8", precision="int8").path
    assert zen_edge.load(small, threads=1).manifest.graph("decoder").ops["MatMulIntegerToFloat"] >= 3
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps({"source": line, "target": "mot1"}) + "\n" for line in LINES[:3]))
    report = zen_edge.parity(small, factory("additive"), inputs=tmp_path / "pairs.jsonl")
    assert report.passed, report.failures
    assert set(report.text) == {"chrF", "BLEU"}


def test_parity_sees_a_changed_bundle_and_other_weights(additive, factory, own, tmp_path, vouch):
    copy = tmp_path / "copy"
    shutil.copytree(additive, copy)
    data = bytearray((copy / "weights.bin").read_bytes())
    weights = np.frombuffer(data, np.float32)  # a view: changed in place
    weights[: len(weights) // 2] *= 0.8
    (copy / "weights.bin").write_bytes(bytes(data))
    vouch(copy, "weights.bin")
    report = zen_edge.parity(copy, factory("additive"), inputs=LINES[:3])
    assert not report.passed
    with pytest.raises(CheckFailedError, match="other weights"):
        zen_edge.parity(additive, factory("stacked"), inputs=LINES[:2])
    with pytest.raises(OptionError, match="give the factory that returns a Seq2Seq"):
        zen_edge.parity(additive, "no/checkpoint")


@pytest.mark.sweep  # a trace each
@pytest.mark.parametrize("name", ["dot", "general", "concat", "unpacked", "stacked"])
def test_others_say_what_their_modules_say(name, factory, tmp_path):
    from zen_edge.exporters import find_own

    told = []
    bundle = zen_edge.export(factory(name), tmp_path / "out", tell=told.append).path
    report = zen_edge.parity(bundle, factory(name))
    assert report.passed, report.failures
    assert all(case.identical + case.ties == case.total for case in report.cases.values())
    assert any("decoded together" in step for step in told) == (name == "unpacked")
    own = find_own(factory(name))
    with zen_edge.load(bundle, threads=1) as pipeline:
        lines = own.examples()
        assert [one[0].tokens for one in pipeline.generate(lines, num_beams=1)] == [expected(own, line) for line in lines]
        assert len({token for one in pipeline.generate(lines) for token in one[0].tokens}) > 8
    for precision in ("int8", "int8-blocks"):
        report = zen_edge.parity(zen_edge.quantize(bundle, tmp_path / precision, precision=precision).path, factory(name))
        assert report.passed, report.failures


@pytest.mark.sweep
def test_an_export_does_not_deny_attention_that_has_no_operator(factory, tmp_path):
    done = zen("export", factory("additive"), tmp_path / "out", "--no-verify")
    assert done.exit_code == 0, done.output
    assert "0 attention layers fused" in done.stderr
    assert "no attention was found" not in done.stderr


@pytest.mark.sweep
def test_ids_in_and_out_where_there_is_no_vocabulary(factory, tmp_path):
    bundle = zen_edge.export(factory("concat"), tmp_path / "ids").path
    with zen_edge.load(bundle, threads=1) as pipeline:
        row = pipeline([5, 8, 3])
        assert row == [int(id) for id in pipeline("5 8 3").split()]
        assert row == [id for id in pipeline.generate([5, 8, 3])[0][0].tokens if id > 2]
        assert pipeline([[5, 8, 3], np.array([7, 7])]) == [row, pipeline([7, 7])]
        for given, words in (([5, 99], "the id 99 is beyond the 40"), (["a b"], "'a' is no id"), ([[-1]], "expected a row of ids")):
            with pytest.raises(InputError, match=words):
                pipeline(given)


@pytest.fixture(scope="module")
def attending(additive, keep_attention):
    with zen_edge.load(keep_attention(additive), threads=1) as opened:
        yield opened


def test_the_alignment_is_what_the_step_returns(attending, own, pipeline):
    line = LINES[2]
    seen = attending.attend(line, num_beams=3)
    best = pipeline.generate(line, num_beams=3)[0][0]
    assert (seen.text, seen.source, len(seen.target)) == (best.text, tuple(line.split()), len(best.tokens))
    reference = Seq2SeqReference(own)
    ids = np.array([reference.encode(line)])
    _, weights = reference.along(ids, np.ones_like(ids), np.array([[reference.start_token_id, *best.tokens[:-1]]]))
    np.testing.assert_allclose(seen.weights["cross"], weights[None], atol=1e-6)
    assert [one.text for one in attending.attend(LINES[:2])] == pipeline(LINES[:2])
    with pytest.raises(ZenEdgeError, match="export it again with --with-attention"):
        pipeline.attend(line)


@pytest.mark.sweep  # a trace each
@pytest.mark.parametrize("name", ["additive", "dot", "general", "concat"])
def test_maps_are_compared_with_pytorch(name, factory, tmp_path):
    made = zen_edge.export(factory(name), tmp_path / "fp32", with_attention=True)
    (compared,) = (row for row in made.manifest.parity["outputs"] if row["name"].startswith("attention."))
    assert compared["name"] == "attention.cross"
    assert compared["max_abs"] < 1e-5
    small = zen_edge.quantize(made.path, tmp_path / "int8", precision="int8")
    report = zen_edge.parity(small.path, factory(name))
    assert report.passed, report.failures
    assert "attention.cross" in {row.name for row in report.outputs}
    with zen_edge.load(small.path, threads=1) as opened:
        seen = opened.attend([5, 8, 3]) if name == "concat" else opened.attend(LINES[0])
    assert seen.weights["cross"].shape == (1, 1, len(seen.target), 3)
    np.testing.assert_allclose(seen.weights["cross"].sum(-1), 1, atol=1e-5)


@pytest.mark.sweep
def test_a_step_that_does_not_attend_is_refused(factory, tmp_path):
    with pytest.raises(UnsupportedModelError, match="seq2seq has no attention, of which a map could be drawn: leave out --with-attention"):
        zen_edge.export(factory("stacked"), tmp_path / "out", with_attention=True)
    assert not list(tmp_path.iterdir())

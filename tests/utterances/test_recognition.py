"""Recordings through bundles that hear utterances, against `generate`, and what may be asked of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

import zen_edge
from zen_edge.cli import app
from zen_edge.errors import AudioError, InputError, OptionError, UnsupportedModelError, ZenEdgeError
from zen_edge.manifest import describe_files, write_manifest
from zen_edge.sounds import voice

from .conftest import RATE

OPTIONS = ({}, {"num_beams": 4}, {"num_beams": 2, "length_penalty": 0.3, "no_repeat_ngram_size": 2}, {"max_new_tokens": 5})
SPEECH = Path(__file__).parents[1] / "data" / "speech.flac"


@pytest.mark.parametrize("name", ["moonshine", "translator"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_tokens_in_a_padded_batch(name, options, request, sounds):
    """Each recording gives what PyTorch gives for it alone; transformers' own padded batches let these models hear the padding."""
    exported = request.getfixturevalue(name)
    found = [best for best, *_ in exported.pipeline.generate(sounds, sampling_rate=RATE, **options)]
    expected = [exported.theirs(audio, **options)[0] for audio in sounds]
    assert [one.tokens for one in found] == expected
    assert [one.text for one in found] == [exported.tokenizer.decode(row, skip_special_tokens=True).strip() for row in expected]
    assert max(len(set(row)) for row in expected) >= 4 and len(set(expected)) == len(expected)


@pytest.mark.parametrize("name", ["moonshine", "translator"])
def test_a_batch_of_one_length_is_that_of_transformers(name, request):
    exported = request.getfixturevalue(name)
    sounds = [voice(RATE, RATE, seed) for seed in range(3)]
    for options in ({}, {"num_beams": 3}):
        found = exported.pipeline.generate(sounds, sampling_rate=RATE, **options)
        assert [best.tokens for best, *_ in found] == exported.theirs(sounds, **options)


def test_attention_is_fused_and_the_report_is_kept(moonshine):
    manifest = moonshine.bundle.manifest
    assert [(graph.fused_attention, graph.unfused_attention) for graph in manifest.graphs if graph.name != "reorder"] == [(2, 0), (4, 0)]
    assert manifest.task == "speech-recognition"
    assert manifest.parity["passed"]
    assert set(manifest.parity["cases"]) == {"greedy padded", "beam padded"}
    assert manifest.limits["min_source_length"] == 1279  # two states of the encoder


def test_a_language_is_what_the_target_begins_with(translator, sounds):
    ids = translator.tokenizer.lang_code_to_id
    (found,) = translator.pipeline.generate(sounds[0], sampling_rate=RATE, language="de")[0]
    assert found.tokens == translator.theirs(sounds[0], forced_bos_token_id=ids["de"])[0]
    assert found.tokens[0] == ids["de"] and found.language == "de"
    assert "<lang" not in found.text
    assert translator.pipeline(sounds[0], sampling_rate=RATE, forced_bos_token_id=ids["de"]) == found.text
    with pytest.raises(OptionError, match=r"language='xx' is not a language that this model is told; it has de"):
        translator.pipeline(sounds[0], sampling_rate=RATE, language="xx")
    with pytest.raises(OptionError, match="another one is given"):
        translator.pipeline(sounds[0], sampling_rate=RATE, language="de", forced_bos_token_id=5)


def test_scores_are_those_of_transformers(moonshine, sounds):
    import torch

    (found,) = moonshine.pipeline.generate(sounds[0], sampling_rate=RATE, num_beams=3, token_log_probs=True)[0]
    inputs = moonshine.extractor(sounds[0], sampling_rate=RATE, return_tensors="pt")
    with torch.no_grad():
        out = moonshine.model.generate(**inputs, num_beams=3, return_dict_in_generate=True, output_scores=True)
    assert found.score == pytest.approx(float(out.sequences_scores[0]), abs=1e-4)
    assert len(found.log_probs) == len(found.tokens)


@pytest.fixture(scope="module")
def long(sounds) -> np.ndarray:
    """Speech, silence, speech: 3.8 s, 3 s and 3.8 s."""
    from zen_edge.runtimes.audio import read_audio

    speech = read_audio(SPEECH, None, RATE)
    return np.concatenate([speech, np.zeros(3 * RATE, np.float32), speech])


def test_a_long_recording_is_cut_where_nobody_speaks(moonshine, long, tmp_path):
    options = {"sampling_rate": RATE, "chunk_length_s": 6}
    (found,) = moonshine.pipeline.generate(long, **options, token_log_probs=True)[0]
    assert len(found.segments) >= 2
    ends = [end for segment in found.segments for end in (segment.start, segment.end)]
    assert ends == sorted(ends) and ends[-1] <= len(long) / RATE
    assert not any(segment.start < 5 and segment.end > 6 for segment in found.segments)
    for segment in found.segments:
        piece = long[round(segment.start * RATE) : round(segment.end * RATE)]
        assert segment.end - segment.start <= 6
        alone = moonshine.pipeline.generate(piece, sampling_rate=RATE)[0][0]
        assert len(alone.tokens) == len(segment.tokens)  # its ends are rounded here, by less than a frame
    assert found.tokens == tuple(token for segment in found.segments for token in segment.tokens)
    assert found.text == " ".join(segment.text.strip() for segment in found.segments)
    assert len(found.log_probs) == len(found.tokens)
    soundfile.write(tmp_path / "long.wav", long, RATE, subtype="FLOAT")
    assert moonshine.pipeline(tmp_path / "long.wav", chunk_length_s=6) == found.text
    together = moonshine.pipeline.generate([long[:RATE], long, long[: 2 * RATE]], **options)
    assert together[1][0].text == found.text and not together[0][0].segments


def test_speech_while_it_comes(moonshine, long):
    blocks = [long[start : start + RATE] for start in range(0, len(long), RATE)]
    segments = list(moonshine.pipeline.stream(blocks, sampling_rate=RATE))
    assert len(segments) >= 2 and segments[0].end < 5 < 6 < segments[-1].end
    assert all(segment.text and segment.tokens for segment in segments)


def test_without_cuts_or_speech(moonshine, long):
    (whole,) = moonshine.pipeline.generate(long[: 9 * RATE], sampling_rate=RATE, chunk_length_s=0)[0]
    assert whole.tokens == moonshine.theirs(long[: 9 * RATE])[0] and not whole.segments
    (silent,) = moonshine.pipeline.generate(np.zeros(5 * RATE, np.float32), sampling_rate=RATE, chunk_length_s=2)[0]
    assert (silent.text, silent.tokens, silent.segments) == ("", (), ())


def test_times_of_a_short_recording_are_its_own(moonshine, sounds):
    (plain,), (timed,) = (moonshine.pipeline.generate(sounds[0], sampling_rate=RATE, segments=told)[0] for told in (False, True))
    (segment,) = timed.segments
    assert (segment.start, segment.end, segment.tokens) == (0.0, 2.0, plain.tokens)
    assert plain.text == timed.text and not plain.segments


WRONG = {
    "words": ({"words": True}, OptionError, "tells no times of words; segments=True"),
    "word": ({"return_timestamps": "word"}, OptionError, "tells no times of words"),
    "timestamps": ({"return_timestamps": "segment"}, OptionError, "return_timestamps must be true or false"),
    "windows": ({"window": "full"}, OptionError, "window is for models that hear windows"),
    "task": ({"task": "translate"}, OptionError, "task is for models that hear windows"),
    "language": ({"language": "en"}, OptionError, "no codes of languages: leave it out"),
    "unknown": ({"beams": 3}, OptionError, "beams; did you mean num_beams"),
    "ids": ({"encoder_no_repeat_ngram_size": 2}, OptionError, "audio has no tokens"),
    "several": ({"num_return_sequences": 2, "num_beams": 2}, OptionError, "a recording has one transcript"),
    "not batched": ({"batched": False}, OptionError, "chunk_length_s=0"),
    "switch": ({"segments": 1}, OptionError, "segments must be true or false"),
    "chunk": ({"chunk_length_s": 1}, OptionError, "chunk_length_s must be 1.4 seconds or more, or 0"),
    "no number": ({"chunk_length_s": "x"}, OptionError, "chunk_length_s"),
    "start": ({"decoder_start_token_id": 10**6}, OptionError, "decoder_start_token_id"),
    "too short": ({"samples": 500}, AudioError, "too short for the model: it lasts 31.2 ms"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_done_is_said(moonshine, sounds, name):
    options, kind, message = WRONG[name]
    options = dict(options)
    audio = sounds[0][: options.pop("samples", None)]
    with pytest.raises(kind, match=message):
        moonshine.pipeline(audio, sampling_rate=RATE, **options)


def test_positions_that_the_model_has_not(translator, sounds):
    with pytest.raises(OptionError, match="201 tokens are asked for, the start counted in, and the model has 128 positions"):
        translator.pipeline(sounds[0], sampling_rate=RATE, max_new_tokens=200)
    with pytest.raises(AudioError, match=r"the audio lasts 61 s, and the model takes 60 s at once: give chunk_length_s"):
        translator.pipeline(voice(61 * RATE, RATE, 0), sampling_rate=RATE, chunk_length_s=0)


def test_a_bad_recording_among_others(moonshine, sounds, tmp_path):
    (tmp_path / "b.wav").write_text("no sound")
    soundfile.write(tmp_path / "a.flac", sounds[0], RATE)
    answers = moonshine.pipeline.generate_each([tmp_path / "a.flac", tmp_path / "b.wav", (tmp_path / "a.flac").read_bytes()])
    assert answers[0][0].tokens == answers[2][0].tokens
    assert isinstance(answers[1], AudioError)
    with pytest.raises(InputError, match="type int"):
        moonshine.pipeline(3)


def test_the_command_line(moonshine, sounds, tmp_path):
    soundfile.write(tmp_path / "a.wav", sounds[0], RATE, subtype="FLOAT")

    def zen(*arguments: object):
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    text = moonshine.pipeline(sounds[0], sampling_rate=RATE)
    assert zen("run", moonshine.bundle.path, tmp_path / "a.wav").stdout.strip() == text
    timed = zen("run", moonshine.bundle.path, tmp_path / "a.wav", "--timestamps", "segment", "--json")
    assert json.loads(timed.stdout)["segments"][0]["end"] == 2.0
    refused = zen("run", moonshine.bundle.path, tmp_path / "a.wav", "--timestamps", "word")
    assert refused.exit_code == 1 and "tells no times of words" in refused.stderr


def test_without_torch(moonshine, sounds, tmp_path):
    """In an interpreter where neither torch nor transformers can be imported."""
    soundfile.write(tmp_path / "a.wav", sounds[0], RATE, subtype="FLOAT")
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('torch', 'transformers', 'onnx')))\n"
        f"import zen_edge; print(zen_edge.load({str(moonshine.bundle.path)!r}, threads=1)({str(tmp_path / 'a.wav')!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == moonshine.pipeline(sounds[0], sampling_rate=RATE)


def test_parity_counts_words_and_sees_damage(moonshine, translator, sounds, tmp_path):
    lines = []
    for i, audio in enumerate(sounds[:3]):
        soundfile.write(tmp_path / f"{i}.wav", audio, RATE, subtype="FLOAT")
        said = moonshine.tokenizer.decode(moonshine.theirs(audio)[0], skip_special_tokens=True)
        lines.append(json.dumps({"source": str(tmp_path / f"{i}.wav"), "target": f"{said} X"}))
    (tmp_path / "lines.jsonl").write_text("\n".join(lines))
    report = zen_edge.parity(moonshine.bundle.path, moonshine.checkpoint, inputs=tmp_path / "lines.jsonl")
    assert report.passed, report.failures
    assert set(report.cases) == {"greedy alone", "greedy padded", "beam padded"}
    assert report.text["WER"].reference == report.text["WER"].bundle > 0
    with pytest.raises(ZenEdgeError, match="other weights"):
        zen_edge.parity(moonshine.bundle.path, translator.checkpoint)
    with pytest.raises(OptionError, match="bisecting is for texts"):
        zen_edge.parity(moonshine.bundle.path, moonshine.checkpoint, bisect=True)


def test_a_damaged_graph_does_not_pass(moonshine, tmp_path):
    import onnx
    from onnx import numpy_helper

    copytree(moonshine.bundle.path, tmp_path / "bundle")
    model = onnx.load(tmp_path / "bundle" / "encoder.onnx")
    weights = next(tensor for tensor in model.graph.initializer if len(tensor.dims) == 3)
    weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights) * np.float32(1.05), weights.name))
    onnx.save(model, tmp_path / "bundle" / "encoder.onnx")
    write_manifest(tmp_path / "bundle", replace(moonshine.bundle.manifest, files=describe_files(tmp_path / "bundle")))
    report = zen_edge.parity(tmp_path / "bundle", moonshine.checkpoint)
    assert not report.passed


@pytest.mark.sweep
@pytest.mark.parametrize(("model_type", "options"), [("moonshine", {}), ("speech_to_text", {})], ids=str)
def test_int8(export_utterances, sounds, model_type, options):
    exported = export_utterances(model_type, "int8", **options)
    manifest = exported.bundle.manifest
    assert manifest.parity["passed"]
    assert manifest.graph("decoder").ops["MatMulIntegerToFloat"] > 4
    assert all(isinstance(text, str) for text in exported.pipeline(sounds, sampling_rate=RATE))


@pytest.mark.sweep
@pytest.mark.parametrize(
    ("model_type", "changes"),
    [
        ("moonshine", {"pad_head_dim_to_multiple_of": None, "attention_bias": True}),
        ("moonshine", {"encoder_num_hidden_layers": 1, "decoder_num_hidden_layers": 3, "tie_word_embeddings": False}),
        ("speech_to_text", {"scale_embedding": False, "num_conv_layers": 1, "conv_kernel_sizes": (5,)}),
        ("speech_to_text", {"encoder_layers": 3, "decoder_layers": 1, "tie_word_embeddings": False}),
    ],
    ids=str,
)
def test_variants(export_utterances, sounds, model_type, changes):
    exported = export_utterances(model_type, **changes)
    found = exported.pipeline.generate(sounds, sampling_rate=RATE, num_beams=2)
    assert [best.tokens for best, *_ in found] == [exported.theirs(audio, num_beams=2)[0] for audio in sounds]


def test_a_bundle_is_quantized_without_its_checkpoint(moonshine, translator, sounds, tmp_path):
    """The check follows words with the encoder's mask of its states."""
    for name, one in (("moonshine", moonshine), ("translator", translator)):
        made = zen_edge.quantize(one.bundle.path, tmp_path / name, precision="int8")
        assert made.manifest.precision == "int8"
        with zen_edge.load(made.path, threads=1) as pipeline:
            assert len(pipeline(sounds[0], sampling_rate=RATE)) > 0


def test_other_tasks_are_refused(moonshine, tmp_path):
    with pytest.raises(ZenEdgeError, match="a moonshine checkpoint is for speech-recognition, not for translation"):
        zen_edge.export(moonshine.checkpoint, tmp_path / "out", task="translation")
    assert not (tmp_path / "out").exists()


def test_other_types_are_refused_in_words():
    from transformers import AutoConfig

    from zen_edge.exporters.architectures import find_task, require_exported

    for model_type, message in (
        ("moonshine_streaming", "sliding windows.*nearest that is exported: moonshine"),
        ("cohere_asr", "not exported yet.*nearest that is exported: whisper"),
        ("voxtral", "no encoder-decoder model for speech.*whisper"),
        ("dia", "writes sound"),
    ):
        with pytest.raises(UnsupportedModelError, match=message):
            require_exported(AutoConfig.for_model(model_type))
    with pytest.raises(ZenEdgeError, match="half that reads text is exported, which is not for speech-recognition"):
        find_task(AutoConfig.for_model("seamless_m4t"), "speech-recognition")

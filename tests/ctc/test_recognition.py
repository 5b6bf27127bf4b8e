"""A wav2vec2 bundle against transformers: each recording alone, in batches, and in chunks."""

import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import transformers

from zen_edge import check
from zen_edge.errors import AudioError, BundleError, CheckFailedError, InputError, OptionError
from zen_edge.exporters import mapped_once
from zen_edge.exporters.checkpoint import load_checkpoint
from zen_edge.runtimes import load, memory
from zen_edge.runtimes.audio import read_audio
from zen_edge.runtimes.audio.voice_activity import Rules, VoiceActivity

SECONDS = (2.0, 0.7, 3.3, 0.7, 1.9)


def of_transformers(exported, audio, **options):
    """The ids of every frame, of a recording alone, decoded by transformers."""
    features = exported.extractor(audio, sampling_rate=16000, return_tensors="pt")
    with torch.no_grad():
        logits = exported.model(features["input_values"]).logits
    return exported.tokenizer.decode(logits.argmax(-1)[0], **options)


@pytest.fixture(scope="module")
def pipeline(wav2vec2):
    with load(wav2vec2.bundle.path, threads=1) as opened:
        yield opened


def test_texts_of_each_and_of_a_batch(wav2vec2, pipeline, noise):
    recordings = [noise(seconds, i) for i, seconds in enumerate(SECONDS)]
    expected = [of_transformers(wav2vec2, audio) for audio in recordings]
    assert pipeline(recordings, sampling_rate=16000) == expected
    assert [pipeline(audio, sampling_rate=16000) for audio in recordings] == expected
    assert len(set("".join(expected))) >= 8
    assert len(set(expected)) == len(expected)


def test_times_of_words(wav2vec2, pipeline, noise):
    audio = noise(6.0, 3)
    expected = of_transformers(wav2vec2, audio, output_word_offsets=True)
    (found,) = pipeline.generate(audio, sampling_rate=16000, words=True)[0]
    ratio = wav2vec2.model.config.inputs_to_logits_ratio / 16000
    assert found.text == expected.text
    assert [(word.text, word.start, word.end) for word in found.words] == [
        (word["word"], word["start_offset"] * ratio, word["end_offset"] * ratio) for word in expected.word_offsets
    ]
    assert all(0 < word.probability <= 1 for word in found.words)
    assert " ".join(segment.text for segment in found.segments).split() == found.text.split()
    assert not pipeline.generate(audio, sampling_rate=16000)[0][0].segments


def test_a_stream_is_heard_stretch_by_stretch(pipeline):
    clip = read_audio(Path(__file__).parents[1] / "data" / "speech.flac", None, 16000)
    sound = np.concatenate([clip, np.zeros(16000, np.float32), clip[:40_000]])
    stretches = list(VoiceActivity().segments([sound], Rules(longest=15.0)))
    parts = [sound[round(start * 16000) : round(end * 16000)] for start, end in stretches]
    found = list(pipeline.stream(np.split(sound, range(700, len(sound), 700)), sampling_rate=16000))
    assert [one.text for one in found] == pipeline(parts, sampling_rate=16000)
    assert [(one.start, one.end) for one in found] == [(round(start, 2), round(end, 2)) for start, end in stretches]
    assert len({one.text for one in found}) == 2
    timed = list(pipeline.stream([sound], sampling_rate=16000, words=True))
    alone = pipeline.generate(parts[1], sampling_rate=16000, words=True)[0][0]
    assert [word.text for one in timed for word in one.words][-len(alone.words) :] == [word.text for word in alone.words]
    assert timed[-1].words[-1].end == pytest.approx(stretches[1].start + alone.words[-1].end, abs=0.011)
    with pytest.raises(OptionError, match="language"):
        pipeline.stream([], sampling_rate=16000, language="en")


def test_it_stops_between_chunks_and_batches(pipeline, noise):
    long, short = noise(9.0, 3), [noise(1.0, seed) for seed in range(4)]
    options = {"sampling_rate": 16000, "chunk_length_s": 3.0, "stride_length_s": 0.5}
    shown = []

    def stop(progress):
        shown.append((progress.inputs, progress.steps, progress.tokens(), progress.texts()))
        return progress.steps == 2

    found = pipeline.generate([short[0], long, *short[1:]], should_stop=stop, **options)
    whole = pipeline.generate(long, **options)[0][0]
    assert [one[:2] for one in shown] == [((1,), 1), ((1,), 2)]
    assert [(one.tokens, one.text) for (one,) in found] == [((), ""), (shown[-1][2][0], shown[-1][3][0]), *[((), "")] * 3]
    assert whole.text.startswith(found[1][0].text[:-2]) and 2 < len(found[1][0].text) < len(whole.text)
    seen = []
    assert pipeline(short, should_stop=lambda progress: seen.append(progress), **options) == pipeline(short, **options)
    assert sorted(place for progress in seen for place in progress.inputs) == [0, 1, 2, 3]
    assert {place: text for progress in seen for place, text in zip(progress.inputs, progress.texts(), strict=True)} == dict(
        enumerate(pipeline(short, **options))
    )
    with pytest.raises(OptionError, match="must be a function"):
        pipeline(short, should_stop=1, **options)


def test_tokens_and_score(wav2vec2, pipeline, noise):
    audio = noise(1.0)
    (found,) = pipeline.generate(audio, sampling_rate=16000, token_log_probs=True)[0]
    features = wav2vec2.extractor(audio, sampling_rate=16000, return_tensors="pt")
    with torch.no_grad():
        table = torch.log_softmax(wav2vec2.model(features["input_values"]).logits[0], -1)
    ids = table.argmax(-1).tolist()
    starts = [i for i in range(len(ids)) if ids[i] != 0 and (i == 0 or ids[i] != ids[i - 1])]
    assert found.tokens == tuple(ids[i] for i in starts)
    expected = []
    for i in starts:
        end = next((j for j in range(i, len(ids)) if ids[j] != ids[i]), len(ids))
        expected.append(float(table[i:end, ids[i]].mean()))
    assert np.allclose(found.log_probs, expected, atol=1e-4)
    assert found.score == pytest.approx(np.mean(expected), abs=1e-4)


@pytest.mark.parametrize(("chunk", "stride"), [(2.0, None), (3.0, 0.5), (2.5, [0.8, 0.4])])
def test_chunks_are_those_of_transformers(wav2vec2, pipeline, noise, chunk, stride):
    audio = noise(9.7, 5)
    theirs = transformers.pipeline(
        "automatic-speech-recognition", model=wav2vec2.model, tokenizer=wav2vec2.tokenizer, feature_extractor=wav2vec2.extractor
    )
    options = {"chunk_length_s": chunk} | ({} if stride is None else {"stride_length_s": stride})
    expected = theirs(audio.copy(), return_timestamps="word", **options)
    (found,) = pipeline.generate(audio, sampling_rate=16000, return_timestamps="word", **options)[0]
    assert found.text == expected["text"]
    assert [(word.text, (word.start, word.end)) for word in found.words] == [(word["text"], word["timestamp"]) for word in expected["chunks"]]
    assert found.text != pipeline(audio, sampling_rate=16000)  # the edges are heard with less around them


def test_long_files_take_the_memory_of_a_chunk(pipeline, noise, tmp_path):
    path = tmp_path / "long.wav"
    with soundfile.SoundFile(path, "w", 16000, 1, "PCM_16") as file:
        for i in range(40):
            file.write(noise(15.0, i))
    tracemalloc.start()
    (found,) = pipeline.generate(path, words=True)[0]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.words[-1].end > 590
    assert peak < 25e6  # 600 s are 38 MB


def test_files_and_a_bad_one_among_them(pipeline, noise, tmp_path):
    soundfile.write(tmp_path / "a.flac", noise(1.0), 16000)
    (tmp_path / "b.wav").write_text("no sound")
    answers = pipeline.generate_each([tmp_path / "a.flac", tmp_path / "b.wav", (tmp_path / "a.flac").read_bytes()])
    assert answers[0][0].text == answers[2][0].text != ""
    assert isinstance(answers[1], AudioError)
    with pytest.raises(AudioError, match=r"input 2 of 2: .*b\.wav cannot be read as audio"):
        pipeline([tmp_path / "a.flac", tmp_path / "b.wav"])


def test_silence_gives_an_answer(pipeline):
    (found,) = pipeline.generate(np.zeros(16000, np.float32), sampling_rate=16000, words=True)[0]
    assert np.isfinite(found.score)


def test_threads_share_a_pipeline(pipeline, noise):
    recordings = [noise(1.0 + 0.1 * i, i) for i in range(4)]
    expected = [pipeline(audio, sampling_rate=16000) for audio in recordings]
    found = {}
    threads = [threading.Thread(target=lambda i=i: found.update({i: pipeline(recordings[i], sampling_rate=16000)})) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[i] for i in range(4)] == expected


WRONG = {
    "too short": ({"samples": 500}, AudioError, "too short: 31.2 ms, and the model takes 40.0 ms"),
    "unknown": ({"beams": 4}, OptionError, "beams"),
    "beams": ({"num_beams": 4}, OptionError, "num_beams=4 is for models with a decoder"),
    "chunk": ({"chunk_length_s": -1}, OptionError, "chunk_length_s must be"),
    "stride": ({"chunk_length_s": 1, "stride_length_s": 0.5}, OptionError, "longer than both strides"),
    "strides": ({"stride_length_s": [1, 2, 3]}, OptionError, "one for each end"),
    "stride without chunks": ({"chunk_length_s": 0, "stride_length_s": 1}, OptionError, "leave one out"),
    "words": ({"words": "yes"}, OptionError, "words must be true or false"),
    "timestamps": ({"return_timestamps": "segment"}, OptionError, "return_timestamps must be"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_done_is_said(pipeline, noise, name):
    options, kind, message = WRONG[name]
    options = dict(options)
    audio = noise(1.0)[: options.pop("samples", None)]
    with pytest.raises(kind, match=message):
        pipeline(audio, sampling_rate=16000, **options)


def test_inputs_of_another_kind_are_said(pipeline):
    with pytest.raises(InputError, match="type int"):
        pipeline(3)
    with pytest.raises(InputError, match="NoneType"):
        pipeline([None])


def test_every_attention_is_fused_and_checked(wav2vec2):
    manifest = wav2vec2.bundle.manifest
    assert manifest.task == "speech-recognition"
    (graph,) = manifest.graphs
    assert (graph.fused_attention, graph.unfused_attention) == (2, 0)
    assert manifest.parity["passed"]
    assert {output["name"] for output in manifest.parity["outputs"]} == {"features", "ctc.frame_logits", "ctc.frame_logits padded"}
    assert manifest.parity["tokens"]["identical"] == 4


def test_parity_scores_texts(wav2vec2, noise, tmp_path):
    lines = []
    for i in range(3):
        soundfile.write(tmp_path / f"{i}.wav", noise(1.0, i), 16000, subtype="FLOAT")
        lines.append(f'{{"source": "{tmp_path / f"{i}.wav"}", "target": "{of_transformers(wav2vec2, noise(1.0, i))} X"}}')
    (tmp_path / "lines.jsonl").write_text("\n".join(lines))
    report = check.parity(wav2vec2.bundle.path, wav2vec2.checkpoint, inputs=tmp_path / "lines.jsonl", keep=False)
    assert report.passed
    assert report.text["WER"].reference == report.text["WER"].bundle > 0


def test_parity_sees_other_weights_and_damage(wav2vec2, export_ctc, tmp_path):
    with pytest.raises(CheckFailedError, match="other weights"):
        other = export_other(tmp_path)
        check.parity(wav2vec2.bundle.path, other, keep=False)


def export_other(folder):
    from zen_edge.benchmarks.tiny_speech import tiny_model, write_tokenizer

    words = write_tokenizer(folder)
    tiny_model("wav2vec2", words, seed=77, feat_extract_norm="layer", do_stable_layer_norm=True).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(folder)
    return folder


def test_a_bundle_without_its_numbers_is_refused(wav2vec2, tmp_path):
    from dataclasses import replace
    from shutil import copytree

    from zen_edge.manifest import write_manifest

    copytree(wav2vec2.bundle.path, tmp_path / "bundle")
    limits = {name: value for name, value in wav2vec2.bundle.manifest.limits.items() if name != "samples_per_frame"}
    write_manifest(tmp_path / "bundle", replace(wav2vec2.bundle.manifest, limits=limits))
    with pytest.raises(BundleError, match="samples_per_frame"):
        load(tmp_path / "bundle")


def test_a_large_model_is_verified_in_turns(wav2vec2, monkeypatch):
    for owner, name, size in ((mapped_once, "LARGE", 0), (mapped_once, "SMALL", 2**10), (memory, "LARGE", 0)):
        monkeypatch.setattr(owner, name, size)
    report = check.verify(wav2vec2.bundle.path, load_checkpoint(wav2vec2.checkpoint))
    assert report.passed, report.failures

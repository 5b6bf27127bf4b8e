"""Every extractor gives the numbers of transformers' own."""

import json
import time

import numpy as np
import pytest
import transformers

from zen_edge.errors import AudioError, BundleError
from zen_edge.runtimes.audio import load_extractor
from zen_edge.runtimes.audio.log_mel import LogMel

# Settings, each with the tolerance it holds.
OTHERS = {
    "raw": (transformers.Wav2Vec2FeatureExtractor(do_normalize=True), 1e-5),
    "raw as it is": (transformers.Wav2Vec2FeatureExtractor(do_normalize=False), 0.0),
    "seamless": (transformers.SeamlessM4TFeatureExtractor(), 1e-3),
    "seamless, 40 bands": (transformers.SeamlessM4TFeatureExtractor(num_mel_bins=40, feature_size=40), 1e-3),
    "speech to text": (transformers.Speech2TextFeatureExtractor(), 1e-3),
    "speech to text, means": (transformers.Speech2TextFeatureExtractor(normalize_vars=False), 1e-3),
    "speech to text, plain": (transformers.Speech2TextFeatureExtractor(do_ceptral_normalize=False, num_mel_bins=40, feature_size=40), 1e-3),
    "parakeet": (transformers.ParakeetFeatureExtractor(), 1e-3),
    "parakeet, no emphasis": (transformers.ParakeetFeatureExtractor(feature_size=128, preemphasis=None), 1e-3),
    "lasr": (transformers.LasrFeatureExtractor(), 1e-3),
}


def ours(theirs):
    return load_extractor(json.loads(theirs.to_json_string()))


@pytest.mark.parametrize("samples", [16000, 16001, 16320, 3999, 60007])
@pytest.mark.parametrize("name", OTHERS)
def test_same_as_transformers(name, samples, speech):
    theirs, tolerance = OTHERS[name]
    audio = speech(5)[:samples]
    expected = theirs(audio, sampling_rate=16000, return_tensors="np", return_attention_mask=True)
    features = np.asarray(expected["input_features" if "input_features" in expected else "input_values"][0], np.float32)
    if "attention_mask" in expected:
        features = features[: int(expected["attention_mask"][0].sum())]
    found = ours(theirs).features(audio)
    assert found.dtype == np.float32
    assert found.shape == features.shape
    assert np.abs(found - features).max() <= tolerance


@pytest.mark.parametrize("bins", [80, 128])
@pytest.mark.parametrize(
    ("seconds", "padding"), [(30, None), (30, 480000), (3.217, 480000), (29.99, 480000), (0.05, 480000), (31.5, 480000), (2.0001, None)]
)
def test_log_mel_same_as_transformers(bins, seconds, padding, speech):
    audio = speech(seconds)
    theirs = transformers.WhisperFeatureExtractor(feature_size=bins)
    extractor = LogMel.from_config(json.loads(theirs.to_json_string()))
    options = {"padding": "max_length", "max_length": padding} if padding else {"padding": "longest", "truncation": False}
    expected = theirs(audio, sampling_rate=16000, return_tensors="np", **options)["input_features"][0]
    found = extractor.features(audio, padding_to=padding)
    assert found.shape == expected.shape
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < 1e-4


@pytest.mark.parametrize(
    "audio", [np.zeros(16000, np.float32), np.sign(np.sin(np.arange(16000) * 0.2)).astype(np.float32)], ids=["silence", "clipped"]
)
def test_log_mel_of_silence_and_clipping(audio):
    theirs = transformers.WhisperFeatureExtractor()
    expected = theirs(audio, sampling_rate=16000, return_tensors="np")["input_features"][0]
    assert np.abs(LogMel.from_config({}).features(audio, padding_to=480000) - expected).max() < 1e-4


@pytest.mark.parametrize("size", [1, 100, 201, 4000, 50000])
def test_log_power_of_pieces_is_that_of_the_whole(size, speech):
    audio = speech(3)[:: 1 if size > 1 else 20]
    extractor = LogMel.from_config({})
    (whole,) = [np.concatenate(list(extractor.log_power([audio])), axis=1)]
    pieces = list(extractor.log_power(audio[i : i + size] for i in range(0, len(audio), size)))
    joined = np.concatenate(pieces, axis=1)
    assert joined.shape == whole.shape == (80, len(audio) // 160)
    assert np.abs(joined - whole).max() < 1e-4
    assert np.array_equal(extractor.normalized(whole.copy()), extractor.features(audio))


def test_a_maximum_from_outside_joins_pieces(speech):
    audio = np.concatenate((speech(2), 0.001 * speech(2, 1)))
    extractor = LogMel.from_config({})
    whole = extractor.features(audio)
    maximum = max(piece.max() for piece in extractor.log_power([audio]))
    quiet = extractor.features(audio[32000:], maximum=maximum)
    assert np.abs(quiet[:, 2:] - whole[:, 202:]).max() < 1e-4
    assert np.abs(extractor.features(audio[32000:])[:, 2:] - whole[:, 202:]).max() > 0.1  # its own maximum is another


@pytest.mark.alone
def test_log_mel_is_fast(speech):
    audio = speech(30)
    extractor = LogMel.from_config({})
    times = []
    for _ in range(7):
        start = time.process_time()
        extractor.features(audio, padding_to=480000)
        times.append(time.process_time() - start)
    assert min(times) < 0.12  # of all threads; it takes 0.04 on a quiet machine


@pytest.mark.parametrize("name", [name for name in OTHERS if name != "raw as it is"])
@pytest.mark.parametrize("audio", [np.zeros(16000, np.float32), np.ones(16000, np.float32)], ids=["silence", "constant"])
def test_silence_gives_numbers(name, audio):
    assert np.isfinite(ours(OTHERS[name][0]).features(audio)).all()


@pytest.mark.parametrize("name", OTHERS)
def test_too_short_is_said(name):
    with pytest.raises(AudioError, match="no samples" if name.startswith("raw") else "too short: 0.0 ms"):
        ours(OTHERS[name][0]).features(np.zeros(0, np.float32))
    with pytest.raises(AudioError, match=r"12\.5 ms"):
        LogMel.from_config({}).features(np.zeros(200, np.float32))


def test_wrong_settings_are_said():
    with pytest.raises(BundleError, match=r"unknown feature extractor 'ClapFeatureExtractor'; this zen-edge knows .*WhisperFeatureExtractor"):
        load_extractor({"feature_extractor_type": "ClapFeatureExtractor"})
    with pytest.raises(BundleError, match=r"dither is 0\.1"):
        load_extractor({"feature_extractor_type": "WhisperFeatureExtractor", "dither": 0.1})
    with pytest.raises(BundleError, match="settings of the WhisperFeatureExtractor"):
        load_extractor({"feature_extractor_type": "WhisperFeatureExtractor", "n_fft": "many"})

"""Write short clips of synthetic English speech with their words, for speech recognition to be measured on without a corpus.

    pip install espeakng-loader
    python -m zen_edge.benchmarks.make_speech OUT

OUT gets one NN.wav (16 kHz, mono) and NN.txt per sentence: clips of 1 to 13 seconds in eight voices. The synthesizer is eSpeak NG (GPL-3.0),
which runs here and is no part of zen-edge; what it says is intelligible, and further from a microphone than the real thing.
"""

from __future__ import annotations

import argparse
import ctypes
import sys
from pathlib import Path

import numpy as np

from zen_edge.errors import MissingDependencyError

RATE = 16_000
VOICES = ("en-us", "en-gb-x-rp", "en-us+f3", "en-gb-x-rp+m3", "en-us+m7", "en-gb-x-rp+f4", "en-gb-scotland", "en-us+f2")
SPEEDS = (150, 165, 140)  # words per minute
SENTENCES = (
    "Good morning.",
    "The train leaves at nine.",
    "Please close the window before you go.",
    "She bought apples, bread and a bottle of milk.",
    "It has been raining since Tuesday evening.",
    "Can you tell me where the library is?",
    "We walked along the river until the sun went down.",
    "The teacher asked every child to read one page of the story.",
    "My brother plays the violin, and my sister plays the drums.",
    "There was nobody in the house, but all the lights were on.",
    "The meeting was moved to Friday because the manager is ill.",
    "He opened the letter slowly and read it twice.",
    "After the storm, the fishermen repaired their boats and waited for the wind to change.",
    "Turn left at the second street, then go straight on until you see the church.",
    "The old clock in the hall has not worked for twenty years, yet nobody wants to remove it.",
    "Scientists found water under the ice, which surprised everyone who had read the earlier reports.",
    "I would like a table for two people near the window, and we will need a chair for the baby.",
    "When the music stopped, the dancers looked at each other and began to laugh.",
    "The price of coffee went up again this month, so the small shop at the corner sells more tea.",
    "If you mix blue and yellow you get green, but if you add too much blue it turns dark very quickly.",
    "The museum is open from ten in the morning until six in the evening, except on Mondays, when it is closed all day.",
    "They had planned to travel by car, but the road over the mountain was blocked by snow, and so they took the night train to the coast.",
    "A good map shows the roads, the rivers and the hills, but it cannot show you how tired you will be when you finally reach the top.",
    "The engineer explained that the bridge would be closed for three weeks, that buses would run every ten minutes, and that nobody would have to walk.",
)


class Synthesizer:
    """eSpeak NG through its C interface (speak_lib.h); one in a process."""

    def __init__(self) -> None:
        try:
            import espeakng_loader
        except ImportError as error:
            raise MissingDependencyError("synthetic speech needs eSpeak NG: pip install espeakng-loader.") from error
        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        retrieval, milliseconds = 1, 0  # sound is handed to the callback, in pieces of a length of its choice
        self.rate = self._library.espeak_Initialize(retrieval, milliseconds, str(espeakng_loader.get_data_path()).encode(), 0)
        if self.rate <= 0:
            raise RuntimeError(f"eSpeak NG did not start ({self.rate})")
        self._pieces: list[np.ndarray] = []
        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
        self._callback = kind(self._take)  # kept: the library holds only its address
        self._library.espeak_SetSynthCallback(self._callback)

    def __call__(self, text: str, voice: str, words_per_minute: int) -> np.ndarray:
        """(samples,) float32 at `rate`."""
        self._pieces.clear()
        said, rate, plain_utf8 = text.encode() + b"\0", 1, 1
        if self._library.espeak_SetVoiceByName(voice.encode()) or self._library.espeak_SetParameter(rate, words_per_minute, 0):
            raise RuntimeError(f"eSpeak NG has no voice {voice!r}")
        if self._library.espeak_Synth(said, ctypes.c_size_t(len(said)), 0, 0, 0, plain_utf8, None, None):
            raise RuntimeError(f"eSpeak NG did not say {text!r}")
        self._library.espeak_Synchronize()
        return np.concatenate(self._pieces).astype(np.float32) / 2**15

    def _take(self, samples: ctypes._Pointer[ctypes.c_short], count: int, events: object) -> int:
        if samples and count:
            self._pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0


def write(out: Path) -> None:
    """MissingDependencyError without eSpeak NG."""
    import soundfile
    import soxr

    say = Synthesizer()
    out.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0)
    for i, text in enumerate(SENTENCES):
        sound = soxr.resample(say(text, VOICES[i % len(VOICES)], SPEEDS[i % len(SPEEDS)]), say.rate, RATE)
        sound = np.pad(sound / max(np.abs(sound).max(), 1e-9) * 0.5, RATE // 4)
        sound = sound + noise.normal(0, 0.001, len(sound))  # a room is never silent
        soundfile.write(out / f"{i:02}.wav", sound.astype(np.float32), RATE, subtype="PCM_16")
        (out / f"{i:02}.txt").write_text(text + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description="Write clips of synthetic speech and their words.")
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    write(out)
    print(f"{len(SENTENCES)} clips in {out}", file=sys.stderr)


if __name__ == "__main__":
    main()

"""Clips of speech to be measured on: folders of sound files with their words, and longer clips joined of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zen_edge.errors import InputError, MissingDependencyError
from zen_edge.inputs import Line
from zen_edge.runtimes.audio import read_audio
from zen_edge.text_scores import word_error_rate

RATE = 16_000
SOUNDS = (".wav", ".flac")
PAUSE_S = 0.7  # between clips that are joined, besides what is around them


def clips(folder: Path, limit: int | None = None) -> tuple[Line, ...]:
    """Every NAME.wav or NAME.flac, in the order of names, as a line whose source is its path and whose target is what NAME.txt holds."""
    if not folder.is_dir():
        raise InputError(
            f"{folder} is no folder: speech is measured on a folder of NAME.wav with its words in NAME.txt; "
            "python -m zen_edge.benchmarks.make_speech makes one."
        )
    files = sorted(file for file in folder.iterdir() if file.suffix in SOUNDS)[:limit]
    if not files:
        raise InputError(f"{folder} holds no sound files ({', '.join(SOUNDS)}).")
    found = []
    for file in files:
        words = file.with_suffix(".txt")
        found.append(Line(str(file.resolve()), words.read_text(encoding="utf-8").strip() if words.exists() else None))
    return tuple(found)


def seconds(path: str) -> float:
    """How long a sound file lasts."""
    try:
        import soundfile
    except ImportError as error:
        raise MissingDependencyError('measuring speech needs soundfile: pip install "zen-edge[audio]".') from error
    return float(soundfile.info(path).duration)


def joined(lines: Sequence[Line], length_s: float, count: int, out: Path) -> tuple[Line, ...]:
    """`count` clips of exactly so many seconds each, of whole clips with pauses between them: one after the other through `lines`, which begin again where
    they end; silence fills the rest. InputError where the shortest is longer."""
    import soundfile

    sounds = [(read_audio(line.source, None, RATE), line.target or "") for line in lines]
    pause, room = np.zeros(int(PAUSE_S * RATE), np.float32), int(length_s * RATE)
    if min(len(sound) for sound, _ in sounds) > room:
        raise InputError(f"no clip is as short as {length_s:g} s.")
    out.mkdir(parents=True, exist_ok=True)
    found, at = [], 0
    for number in range(count):
        parts: list[Any] = []
        words: list[str] = []
        used, skipped = 0, 0
        while skipped < len(sounds):
            sound, text = sounds[at % len(sounds)]
            at += 1
            if used + len(sound) > room:
                if words and length_s < 60:
                    at -= 1  # begins the next one
                    break
                skipped += 1
                continue
            parts += [sound, pause]
            used += len(sound) + len(pause)
            words.append(text)
            skipped = 0
        sound = np.concatenate(parts)[:room]
        path = out / f"{number:03}.wav"
        soundfile.write(path, np.pad(sound, (0, room - len(sound))), RATE, subtype="PCM_16")
        path.with_suffix(".txt").write_text(" ".join(words) + "\n", encoding="utf-8")
        found.append(Line(str(path.resolve()), " ".join(words)))
    return tuple(found)


def plain_word_error_rate(texts: Sequence[str], references: Sequence[str]) -> float:
    """The word error rate in which case and punctuation do not count."""
    return word_error_rate([_plain(text) for text in texts], [_plain(text) for text in references])


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[^\w\s']", " ", text.lower()).split())

"""Sound in: files, bytes and arrays as mono float32 at the rate a model wants, and the numbers a model takes for them; numpy, no torch.

    audio = read_audio("speech.mp3", None, extractor.sampling_rate)    # (samples,)
    extractor = load_extractor(preprocessor_config)
    features = extractor.features(audio)

One file per feature extractor of transformers, with its name as `TYPE` and a function `load(config)`: the folder is the registry.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from zen_edge.errors import BundleError
from zen_edge.runtimes.audio.reading import read_audio, read_blocks

__all__ = ["Extractor", "Sound", "load_extractor", "read_audio", "read_blocks"]

Sound = NDArray[np.float32]


class Extractor(Protocol):
    """What turns sound into a model's input. Safe to share between threads."""

    @property
    def sampling_rate(self) -> int: ...

    def features(self, audio: Sound) -> NDArray[np.float32]:
        """audio (samples,) -> what the model takes for it alone, unpadded: (samples,), or (F, n) frames, or Whisper's (n_mels, F).

        Raises AudioError for audio that is too short to make one frame.
        """


def load_extractor(config: Mapping[str, Any]) -> Extractor:
    """The extractor of a preprocessor_config. Raises BundleError for one that is not known here, or whose settings are wrong."""
    kind = config.get("feature_extractor_type")
    loaders = {module.TYPE: module.load for module in map(_module, sorted(m.name for m in pkgutil.iter_modules(__path__))) if hasattr(module, "TYPE")}
    if kind not in loaders:
        raise BundleError(
            f"unknown feature extractor {kind!r}; this zen-edge knows {', '.join(loaders)}. Update zen-edge, or add a file in runtimes/audio/."
        )
    try:
        return cast(Extractor, loaders[kind](config))
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise BundleError(f"the settings of the {kind} in the bundle are wrong ({error}): export the model again.") from error


def _module(name: str) -> Any:
    return importlib.import_module(f"{__name__}.{name}")

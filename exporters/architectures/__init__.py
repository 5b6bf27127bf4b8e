"""What one architecture does differently, one file per `model_type`; the folder is the registry.

A file may define any of these names; what it leaves out follows the common path:

    TASK     what checkpoints of this architecture are for, where they do not tell themselves
    NOTE     what a user should know of that choice; told at every export that goes by it
    refuse   (config) -> why such a checkpoint is not exported, in words that follow its name; None if it is
    NEAREST  the supported type to take instead of a refused one
    tracing  (model) -> context in which the model does in a traceable way what it does, the same numbers included
    limits   (model, limits) -> the limits, where they are not only a matter of positions
    READS    what the encoder takes: "input_ids", or of audio "input_features" or "input_values"
    MASKED   False where it takes no mask: windows of audio, every frame of which is seen
    example  (model) -> features (1,C,F) of a window, or of an utterance, (1,S) or (1,S,n), that the model takes as they are
    generation  (model) -> what decoding must know and the generation config does not say
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from transformers import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CTC_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
    MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES,
    MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES,
    MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES,
)

from zen_edge.errors import UnsupportedModelError, ZenEdgeError
from zen_edge.exported import exported
from zen_edge.tasks import TASKS, require_task

if TYPE_CHECKING:
    from zen_edge.exporters.limits import Limits

SPEECH = "speech-recognition"
MOST_COMMON = {"encoder-decoders": "bart", "speech": "whisper", "ctc": "wav2vec2", "encoders": "bert"}
ENCODERS = (
    MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES.keys()
    | MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES.keys()
    | MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES.keys()
    | MODEL_FOR_MASKED_LM_MAPPING_NAMES.keys()
    | MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES.keys()
)  # model types with a class for texts that are not generated


@dataclass(frozen=True)
class Architecture:
    """See the names above."""

    task: str | None = None
    note: str | None = None
    refuse: Callable[[Any], str | None] = lambda config: None
    nearest: str | None = None
    tracing: Callable[[Any], AbstractContextManager[None]] = lambda model: nullcontext()
    limits: Callable[[Any, Limits], Limits] = lambda model, limits: limits
    reads: str = "input_ids"
    masked: bool = True
    example: Callable[[Any], Any] | None = None
    generation: Callable[[Any], dict[str, Any]] = lambda model: {}

    @property
    def hears(self) -> bool:
        """Whether it is an encoder-decoder that reads audio."""
        return self.reads != "input_ids"


def known() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def architecture(model_type: str) -> Architecture:
    name = model_type.replace("-", "_")
    if name not in known():
        return Architecture()
    module = importlib.import_module(f"{__name__}.{name}")
    given = {name: attribute for name in vars(module) for attribute in [getattr(module, name)]}
    named = {field.name: given.get(field.name.upper(), given.get(field.name)) for field in fields(Architecture)}
    return Architecture(**{name: value for name, value in named.items() if value is not None})


def nearest_supported(model_type: str, kind: str | None = None) -> str:
    """The type to recommend in the place of one that is not exported, itself exported: the one its file names, or that with the most similar name.

    kind: what is asked for, as zen_edge/exported.py has them; None: what `model_type` is.
    """
    kind = kind or _kind(model_type)
    others = [name for name in exported()[kind] if name != model_type]
    named = (architecture(model_type).nearest, f"{model_type}_text")  # Gemma 3 without its images
    known = next((name for name in named if name in others), named[0])
    if known is not None:
        return known
    like = [] if kind in ("ctc", "speech") else difflib.get_close_matches(_bare(model_type), map(_bare, others), 1, 0.65)
    return next(name for name in (*(name for name in others if _bare(name) in like), MOST_COMMON[kind], *others) if name != model_type)


def _bare(model_type: str) -> str:
    """Without what half of a model it is."""
    return model_type.removesuffix("_model").removesuffix("_text")


def _kind(model_type: str) -> str:
    if model_type in MODEL_FOR_CTC_MAPPING_NAMES:
        return "ctc"
    if _reads_audio_only(model_type):
        return "speech"
    return "encoders" if model_type in ENCODERS and model_type not in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES else "encoder-decoders"


def _reads_audio_only(model_type: str) -> bool:
    """A model for speech; some have an encoder and a decoder for text besides, which are exported."""
    reads_text = model_type in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES and getattr(CONFIG_MAPPING[model_type], "is_encoder_decoder", False)
    return model_type in MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES and not reads_text


def require_exported(config: Any) -> None:
    """UnsupportedModelError for a checkpoint whose architecture is known not to be exported."""
    known = architecture(config.model_type)
    if not getattr(config, "is_encoder_decoder", False) and config.model_type not in MODEL_FOR_CTC_MAPPING_NAMES:
        kind = "speech" if _reads_audio_only(config.model_type) else "text"
        raise UnsupportedModelError(
            f"{config.model_type} is no encoder-decoder model for {kind}: its decoder reads speech or images in one row with the words. "
            f"The nearest that is exported: {nearest_supported(config.model_type)}."
        )
    reason = known.refuse(config)
    if reason is None and _reads_audio_only(config.model_type) and not known.hears:
        reason = "reads audio in a way that is not exported yet"
    if reason is not None:
        raise UnsupportedModelError(f"{config.model_type} {reason}. The nearest that is exported: {nearest_supported(config.model_type)}.")


def find_task(config: Any, asked: str | None, tell: Callable[[str], None] = lambda note: None) -> str:
    """The task that was asked for, or the one the checkpoint tells of. A ZenEdgeError where it does not, because a wrong guess would be silent."""
    require_task(asked)
    if config.model_type in MODEL_FOR_CTC_MAPPING_NAMES or architecture(config.model_type).hears:
        if asked not in (None, SPEECH):
            raise ZenEdgeError(f"a {config.model_type} checkpoint is for {SPEECH}, not for {asked}.")
        return SPEECH
    if asked == SPEECH:
        raise ZenEdgeError(f"of a {config.model_type} checkpoint the half that reads text is exported, which is not for {SPEECH}.")
    if asked is not None:
        return asked
    named = {name.partition("_")[0] for name in getattr(config, "task_specific_params", None) or {}} & set(TASKS)
    if len(named) == 1:
        return named.pop()
    known = architecture(config.model_type)
    if named or known.task is None:
        says = f"names several tasks ({', '.join(sorted(named))})" if named else "does not say what it is for"
        raise ZenEdgeError(f"the checkpoint {says}; give --task: {', '.join(TASKS)}.")
    if known.note is not None:
        tell(known.note)
    return known.task

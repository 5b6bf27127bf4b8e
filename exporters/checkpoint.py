"""Load a trained model from a folder in Hugging Face layout, or from the hub."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import warnings
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModelForCTC,
    AutoModelForSeq2SeqLM,
    AutoModelForSpeechSeq2Seq,
    AutoTokenizer,
    PreTrainedModel,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_CTC_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES,
)
from transformers.utils import logging as transformers_logging

from zen_edge.checked import printable
from zen_edge.errors import CheckpointError, UnsupportedModelError
from zen_edge.exporters.architectures import architecture, require_exported
from zen_edge.exporters.encoders import OF_TEXTS, class_of, drop_what_is_not_read, encoder_task
from zen_edge.exporters.mapped_once import mapped_once
from zen_edge.exporters.turns import in_pytorch
from zen_edge.tasks import ENCODER_OUTPUTS

WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")


@dataclass(frozen=True)
class Checkpoint:
    """A trained model in float32, ready to be evaluated. folder: where its files lie; None if they came from the hub's cache. feature_extractor:
    transformers', of a model that reads audio."""

    name: str
    folder: Path | None
    revision: str | None
    model: PreTrainedModel
    tokenizer: Any
    feature_extractor: Any = None

    @property
    def model_type(self) -> str:
        return str(self.model.config.model_type)

    @in_pytorch
    def weights_hash(self) -> str:
        return weights_hash(self.model)


def weights_hash(model: torch.nn.Module) -> str:
    """sha256 over names, shapes and float32 values of all parameters: the same for every file format of the same weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        real = torch.view_as_real(tensor) if tensor.is_complex() else tensor
        if real.numel():  # MobileBERT has a projection to no numbers where embeddings are as wide as states
            digest.update(memoryview(real.detach().float().contiguous().numpy()).cast("B"))
    return digest.hexdigest()


def load_checkpoint(model: str | Path, revision: str | None = None, task: str | None = None) -> Checkpoint:
    """task: what the model is to do, where it is known; the checkpoint tells otherwise. Raises CheckpointError for what cannot be read as a checkpoint, UnsupportedModelError for one that zen-edge does not export."""
    name = str(model)
    folder = Path(model) if _exists(Path(model)) else None
    if folder is not None:
        _require_checkpoint(folder)
    elif ":" in name:
        raise UnsupportedModelError(f"{name!r} looks like a factory of your own module, and a checkpoint is expected here.")
    elif len(Path(name).parts) > 2 or name.startswith((".", "/", "~")):
        raise CheckpointError(
            f"there is no folder {name!r}; give a checkpoint folder (config.json and weights) or a hub id such as Helsinki-NLP/opus-mt-en-fr."
        )
    source = str(folder or name)
    where: dict[str, Any] = {"local_files_only": folder is not None, "trust_remote_code": False} | ({"revision": revision} if revision else {})
    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    with warnings.catch_warnings(), ExitStack() as after:
        warnings.simplefilter("ignore")  # of libraries that would change nothing here
        after.callback(transformers_logging.set_verbosity, verbosity)
        if bars:
            after.callback(transformers_logging.enable_progress_bar)
        config = _read(source, lambda: AutoConfig.from_pretrained(source, **where))
        _require_no_code(config)
        encodes = encoder_task(config, task)
        if encodes is None:
            _require_supported(config)
        # Weights of another shape come back in the report, and are refused below by name.
        options = {"config": config, "dtype": torch.float32, "output_loading_info": True, "ignore_mismatched_sizes": True}
        ctc = config.model_type in MODEL_FOR_CTC_MAPPING_NAMES
        hears = encodes is None and (ctc or architecture(config.model_type).hears)
        generates = AutoModelForCTC if ctc else AutoModelForSpeechSeq2Seq if hears else AutoModelForSeq2SeqLM
        kind = generates if encodes is None else class_of(encodes, config)
        with mapped_once():
            loaded, report = _read(source, lambda: kind.from_pretrained(source, **options, **where))
        tokenizer = _read(f"the tokenizer of {source}", lambda: AutoTokenizer.from_pretrained(source, **where))
        extractor = _read(f"the feature extractor of {source}", lambda: AutoFeatureExtractor.from_pretrained(source, **where)) if hears else None
    if encodes is not None:
        report = {**report, "missing_keys": drop_what_is_not_read(loaded.eval(), tokenizer, list(report.get("missing_keys") or ()), encodes)}
    _require_whole(source, report)
    return Checkpoint(name, folder, revision, loaded.eval(), tokenizer, extractor)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # too long for a name
        return False


def _require_checkpoint(folder: Path) -> None:
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is a file; give the checkpoint folder that holds config.json and the weights.")
    if (folder / "zen-edge.json").exists():
        raise CheckpointError(f"{folder} is a zen-edge bundle already; give the PyTorch checkpoint it was made from.")
    if (folder / "adapter_config.json").exists() and not (folder / "config.json").exists():
        raise UnsupportedModelError(
            f"{folder} holds an adapter without its base model; merge it first (peft's merge_and_unload) and save the whole model."
        )
    if not (folder / "config.json").exists():
        raise CheckpointError(f"{folder} has no config.json; a checkpoint folder holds config.json, weights and tokenizer files.")
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf8"))
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{folder / 'config.json'} is not JSON: {_line(error)}.") from error
    if not isinstance(config, dict) or "model_type" not in config:
        raise CheckpointError(f"{folder / 'config.json'} names no model_type, so its architecture is unknown.")
    if "auto_map" in config:
        raise UnsupportedModelError(
            f"{folder} needs code of its own (auto_map in config.json); only architectures that transformers ships are exported."
        )
    if not any((folder / name).exists() for name in WEIGHTS):
        raise CheckpointError(f"{folder} has no weights; expected one of {', '.join(WEIGHTS)}.")


def _require_no_code(config: Any) -> None:
    if getattr(config, "auto_map", None):
        raise UnsupportedModelError(
            "this checkpoint needs code of its own (auto_map in config.json); only architectures that transformers ships are exported."
        )


def _require_supported(config: Any) -> None:
    kind = config.model_type
    if kind in {*MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES, *MODEL_FOR_CTC_MAPPING_NAMES, *MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES}:
        return require_exported(config)
    if kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and kind not in MODEL_FOR_MASKED_LM_MAPPING_NAMES:  # encoders can be run as decoders too
        reads = " For labels or vectors of texts give --task." if kind in OF_TEXTS else ""
        raise UnsupportedModelError(
            f"{kind} is a decoder-only model; zen-edge exports encoder-decoder models such as marian. For text generation use llama.cpp or vLLM.{reads}"
        )
    if kind in OF_TEXTS:
        named = f" ({', '.join(config.architectures)})" if getattr(config, "architectures", None) else ""
        raise UnsupportedModelError(f"the {kind} checkpoint{named} does not say what it is for; give --task: {', '.join(ENCODER_OUTPUTS)}.")
    near = difflib.get_close_matches(kind, MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES, 1, 0.3) or ["marian"]
    raise UnsupportedModelError(f"{kind} is not an encoder-decoder model for text; the nearest that is: {near[0]}.")


def _require_whole(source: str, report: dict[str, Any]) -> None:
    missing = sorted(report.get("missing_keys") or [])
    wrong = sorted(str(key) for key, *_ in report.get("mismatched_keys") or [])
    for what, names in (("lacks", missing), ("holds the wrong shape for", wrong)):
        if names:
            raise CheckpointError(
                f"{source} {what} {len(names)} of the model's weights ({names[0]} first); they would be random. Save the whole model again."
            )


def _read(what: str, load: Any) -> Any:
    """`load()`, with whatever a broken checkpoint makes of it told in one line."""
    try:
        return load()
    except Exception as error:
        if os.environ.get("ZEN_EDGE_DEBUG") == "1":
            raise
        if isinstance(error, UnpicklingError):  # torch's own words recommend to load it all the same
            reason = "its weights are damaged, or hold more than tensors, which could run code when they are unpickled; save them as safetensors."
        else:
            reason = _line(error)
        raise CheckpointError(f"{what} cannot be loaded: {reason}") from error


def _line(error: BaseException) -> str:
    text = printable(" ".join(str(error).split()))
    if not isinstance(error, OSError | ValueError | RuntimeError) or not text:  # a bare key or word says nothing by itself
        text = f"{type(error).__name__}: {text}"
    return text if len(text) <= 300 else f"{text[:300]}..."

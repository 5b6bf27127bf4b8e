"""Models of one graph for texts: which class of transformers a task is loaded by, what the graph reads, and its trace.

    encoder graph:  input_ids, attention_mask (B,T) [, token_type_ids (B,T)] [, mask_positions (B,M)]  ->  the outputs of the task, see zen_edge/tasks.py

Some models answer otherwise for a text that is padded than for the same one alone: they convolve over padding, or have no mask. Which do is measured, and
the graph of those has no mask: the runtime gives them texts of one length.

A model that fills masks gives scores (B,M,V) at the places it is asked for only: those of every place would be gigabytes.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir
import torch
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTextEncoding,
    AutoModelForTokenClassification,
    PreTrainedModel,
)
from transformers.models.auto import modeling_auto as auto
from transformers.utils import ModelOutput

from zen_edge.errors import CheckpointError, UnsupportedModelError
from zen_edge.exporters.architectures import architecture, nearest_supported
from zen_edge.exporters.attention import NotFusedError, fused, spelled
from zen_edge.exporters.limits import Limits, a_word
from zen_edge.exporters.trace import export_graph
from zen_edge.tasks import ENCODER_OUTPUTS

GRAPH = "encoder"
MASK, TYPES, PLACES = "attention_mask", "token_type_ids", "mask_positions"
EXAMPLE = (2, 7, 3)  # B, T, M: sizes that no weight has
LEAST = 3  # tokens: a trace takes lengths of one apart, and some models look at neighbours or leave one out
TEXT = "a a a a"  # said again and again, so that its ids are not taken for places
SAME = 1e-4  # of the largest score: one head, whether it is given every place or some

# By task: transformers' class, and the model types that have it, with the class of each.
CLASSES: dict[str, tuple[Any, Mapping[str, str]]] = {
    "question-answering": (AutoModelForQuestionAnswering, auto.MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES),
    "text-classification": (AutoModelForSequenceClassification, auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES),
    "token-classification": (AutoModelForTokenClassification, auto.MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES),
    "fill-mask": (AutoModelForMaskedLM, auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES),
    "text-embedding": (AutoModelForTextEncoding, auto.MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES),
}
OF_TEXTS = frozenset().union(*(types for _, types in CLASSES.values()))  # model types that have any of these classes
# What some models read besides words, and take for nothing where it is not given: their answers would be of another document.
BESIDES = ("bbox", "xpath_tags_seq", "pixel_values", "image", "visual_feats", "input_features", "input_values")


def encoder_task(config: Any, asked: str | None = None) -> str | None:
    """The task that was asked for where it is one of these, or the one that the checkpoint's class tells of; None for every other model."""
    if asked is not None:
        return asked if asked in ENCODER_OUTPUTS else None
    kind, names = config.model_type, set(getattr(config, "architectures", None) or ())
    if kind not in OF_TEXTS or auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES.get(kind) in names:
        return None
    told = [task for task, (_, types) in CLASSES.items() if types.get(kind) in names]
    return next(iter(told), "text-embedding" if _bare_class(kind) in names else None)


def _bare_class(kind: str) -> str | None:
    name = auto.MODEL_MAPPING_NAMES.get(kind)
    return name if isinstance(name, str) else None


def class_of(task: str, config: Any) -> Any:
    """The class of transformers that loads the checkpoint. UnsupportedModelError where there is none, or its model is no encoder of text."""
    kind = config.model_type
    loader, types = CLASSES[task]
    if task == "text-embedding" and kind not in types and _bare_class(kind) is not None:
        loader, types = AutoModel, auto.MODEL_MAPPING_NAMES
    if kind not in types:
        others = [name for name, (_, known) in CLASSES.items() if kind in known]
        raise UnsupportedModelError(
            f"transformers has no {kind} for {task}"
            + (f"; it has it for {', '.join(others)}." if others else f". The nearest that is exported: {nearest_supported(kind, 'encoders')}.")
        )
    reason = architecture(kind).refuse(config)
    if reason is not None:
        raise UnsupportedModelError(f"{kind} {reason}. The nearest that is exported: {nearest_supported(kind, 'encoders')}.")
    _require_text_only(kind, loader._model_mapping[type(config)])
    return loader


def drop_what_is_not_read(model: PreTrainedModel, tokenizer: Any, missing: Sequence[str], task: str) -> list[str]:
    """Zeroes weights that the checkpoint lacks and that no output depends on, such as a pooler's under a model without one; returns the others."""
    known = dict(model.named_parameters())
    absent = {name: known[name] for name in missing if name in known}
    before = {name: weight.requires_grad for name, weight in known.items()}
    for name, weight in known.items():
        weight.requires_grad_(name in absent)
    with torch.enable_grad():
        out = _tried(model, tokenizer, task)
        read = any(out[name].requires_grad for name in ENCODER_OUTPUTS[task])
    for name, weight in known.items():
        weight.requires_grad_(before[name])
    if read:
        return list(missing)
    for weight in absent.values():
        weight.data.zero_()
    return [name for name in missing if name not in absent]


def _tried(model: PreTrainedModel, tokenizer: Any, task: str) -> Any:
    """What the model says of a text without anything else. UnsupportedModelError where it asks for more."""
    try:
        return model(**_example(model, tokenizer, task), return_dict=True)
    except Exception as error:
        reason = " ".join(str(error).split())[:200].removesuffix(".")
        raise UnsupportedModelError(
            f"{model.config.model_type} cannot be run on what its tokenizer makes of a text ({type(error).__name__}: {reason})."
        ) from error


def _require_text_only(kind: str, model_class: type[PreTrainedModel]) -> None:
    reads = inspect.signature(model_class.forward).parameters
    besides = [name for name in BESIDES if name in reads]
    if besides or model_class.main_input_name != "input_ids":
        raise UnsupportedModelError(
            f"{kind} reads {', '.join(besides or [model_class.main_input_name])} besides text, which is not exported. The nearest that is exported: "
            f"{nearest_supported(kind, 'encoders')}."
        )


def example_ids(model: PreTrainedModel, tokenizer: Any, task: str) -> torch.Tensor:
    """What the tokenizer makes of a text, or of two where the task reads two, (1,T): models look for the tokens that it puts around them."""
    ids = tokenizer(TEXT, TEXT if task == "question-answering" else None)["input_ids"]
    return torch.tensor([ids if len(ids) >= EXAMPLE[1] else [a_word(model)] * (EXAMPLE[1] - len(ids)) + ids])


def _example(model: PreTrainedModel, tokenizer: Any, task: str) -> dict[str, torch.Tensor]:
    ids = example_ids(model, tokenizer, task)
    return {"input_ids": ids, MASK: torch.ones_like(ids)}


@dataclass(frozen=True)
class Reading:
    """inputs: what the graph reads beside input_ids. gathered: whether the head of a model that fills masks says of some places what it says of
    all of them, so that it is given no others."""

    inputs: tuple[str, ...]
    gathered: bool

    @classmethod
    def of(cls, model: PreTrainedModel, tokenizer: Any, task: str) -> Reading:
        types = TYPES in tokenizer.model_input_names and _reads_types(model, tokenizer, task)
        places = task == "fill-mask"
        masked = _honours_padding(model, tokenizer, task)
        return cls((MASK,) * masked + (TYPES,) * types + (PLACES,) * places, places and _head_by_places(model))


@torch.no_grad()
def _reads_types(model: PreTrainedModel, tokenizer: Any, task: str) -> bool:
    """Measured: configurations tell of types that models do not read, and the other way round."""
    if TYPES not in inspect.signature(model.forward).parameters:
        return False
    inputs = _example(model, tokenizer, task)
    name = ENCODER_OUTPUTS[task][0]
    kinds = torch.zeros_like(inputs["input_ids"])
    try:
        first, second = (model(**inputs, **{TYPES: kinds + kind}, return_dict=True)[name] for kind in (0, 1))
    except IndexError:  # there is one kind only
        return False
    return not torch.equal(first, second)


@torch.no_grad()
def _honours_padding(model: PreTrainedModel, tokenizer: Any, task: str) -> bool:
    inputs = _example(model, tokenizer, task)
    T, padding = inputs[MASK].shape[1], 1 if model.config.pad_token_id is None else model.config.pad_token_id
    padded = {"input_ids": _wider(inputs["input_ids"], padding), MASK: _wider(inputs[MASK], 0)}
    for name in ENCODER_OUTPUTS[task]:
        alone, found = (model(**given, return_dict=True)[name] for given in (inputs, padded))
        if found.shape != alone.shape:  # one for every token
            found = found[:, :T]
        if not (found - alone).abs().max() <= SAME * alone.abs().max():
            return False
    return True


def _wider(x: torch.Tensor, filler: int) -> torch.Tensor:
    """(1,T) -> (1,T+M)."""
    return torch.nn.functional.pad(x, (0, EXAMPLE[2]), value=filler)


@torch.no_grad()
def _head_by_places(model: PreTrainedModel) -> bool:
    """Whether scores at some places are the same where the head is given these places alone."""
    random = torch.Generator().manual_seed(0)
    ids = torch.randint(3, min(100, model.config.vocab_size), EXAMPLE[:2], generator=random)
    places = torch.tensor([[0, 3, 6], [5, 1, 1]])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    every = at(model(**inputs, return_dict=True).logits, places)
    try:
        with _only_at(model, places):
            some = model(**inputs, return_dict=True).logits
    except (RuntimeError, ValueError, IndexError):
        return False
    return some.shape == every.shape and bool((some - every).abs().max() <= SAME * every.abs().max())


def at(x: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """x (B,T,D), places (B,M) -> (B,M,D)."""
    return torch.gather(x, 1, places[..., None].expand(-1, -1, x.shape[-1]))


@contextmanager
def _only_at(model: PreTrainedModel, places: torch.Tensor) -> Iterator[None]:
    """`model` whose head is given the states at `places` only."""

    def gather(module: torch.nn.Module, inputs: Any, output: Any) -> Any:
        if isinstance(output, ModelOutput):
            output.last_hidden_state = at(output.last_hidden_state, places)
        return output

    hook = model.base_model.register_forward_hook(gather)
    try:
        yield
    finally:
        hook.remove()


class _Encoder(torch.nn.Module):
    """([input_ids, attention_mask, ...]) in the order of `names` -> the outputs of the task."""

    def __init__(self, model: PreTrainedModel, task: str, names: Sequence[str], gathered: bool) -> None:
        super().__init__()
        self.model, self.names, self.outputs, self.gathered = model, names, ENCODER_OUTPUTS[task], gathered
        self.once = {"use_cache": False} if "use_cache" in inspect.signature(model.forward).parameters else {}

    def forward(self, inputs: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        given = dict(zip(self.names, inputs, strict=True))
        places = given.pop(PLACES, None)
        with _only_at(self.model, places) if self.gathered and places is not None else nullcontext():
            out = self.model(**given, **self.once, return_dict=True)
        found = [out[name] for name in self.outputs]
        return tuple(at(x, places) if places is not None and not self.gathered else x for x in found)


def trace(model: PreTrainedModel, task: str, reading: Reading, limits: Limits) -> ir.Model:
    """Fused through transformers' interface where the model goes through it and asks for nothing that the operator does not do; another's attention stays as
    it is, unless its architecture's file says it with the operator."""
    most = {"B": 2**16, "T": limits.source or 2**20, "M": 2**20}
    B, T, M = (torch.export.Dim(name, min=LEAST if name == "T" else 1, max=size) for name, size in most.items())
    names = ["input_ids", *reading.inputs]
    axes = {PLACES: {0: B, 1: M}}
    example = [torch.ones(EXAMPLE[0], EXAMPLE[2 if name == PLACES else 1], dtype=torch.long) for name in names]
    traced = functools.partial(
        export_graph,
        model,
        _Encoder(model, task, names, reading.gathered),
        (example,),
        ([axes.get(name, {0: B, 1: T}) for name in names],),
        names,
        list(ENCODER_OUTPUTS[task]),
        GRAPH,
    )
    with _without_cache(model):
        if not model._can_set_attn_implementation():
            return traced(attention=nullcontext)
        try:
            return traced(attention=fused)
        except NotFusedError:  # right before it is fast
            return traced(attention=spelled)


@contextmanager
def _without_cache(model: PreTrainedModel) -> Iterator[None]:
    """For models under a head that does not hand `use_cache` on, such as Mistral's for questions: keys and values of a window are cut to it."""
    before = vars(model.config).get("use_cache")
    model.config.use_cache = False
    try:
        yield
    finally:
        if before is None:
            del model.config.use_cache
        else:
            model.config.use_cache = before


def head(model: PreTrainedModel, tokenizer: Any, task: str) -> dict[str, Any]:
    """What the runtime must know of the outputs, for the manifest."""
    config = model.config
    if task in ("text-classification", "token-classification"):
        labels = [str(config.id2label.get(i, f"LABEL_{i}")) for i in range(config.num_labels)]
        told = {"problem_type": config.problem_type} if task == "text-classification" else {"unk_token_id": tokenizer.unk_token_id}
        return {"labels": labels, **{name: value for name, value in told.items() if value is not None}}
    if task == "fill-mask":
        if tokenizer.mask_token_id is None:
            raise CheckpointError("the tokenizer has no mask_token, which a model that fills masks needs: set it in tokenizer_config.json.")
        return {"mask_token": str(tokenizer.mask_token), "mask_token_id": int(tokenizer.mask_token_id)}
    return {}

"""A `Seq2Seq` that was tried: which of its tensors are state and which are memory, which axes are rows and which are the source's, whether padding changes anything."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from zen_edge.errors import ModuleError
from zen_edge.exporters.checkpoint import weights_hash
from zen_edge.exporters.own_module import blamed, evaluated
from zen_edge.exporters.seq2seq import Seq2Seq
from zen_edge.exporters.vocabularies import Side, side_of

MASK, SCORES, ATTENTION = "mask", ("scores", "logits"), "attention"
ROWS, WIDTHS = (2, 3), (5, 7)  # batches and lengths that differ, to see which axes follow
SAME = 1e-4  # largest difference, over the largest number, that padding may make

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Kept:
    """A tensor that goes from the encoder to the step. rows: its axis of rows; source: its axis of the source's length, if it has one; shape: its others' sizes."""

    name: str
    rows: int
    source: int | None
    shape: tuple[int, ...]
    dtype: torch.dtype

    def axes(self, rows: str) -> dict[int, str]:
        return {self.rows: rows} | ({} if self.source is None else {self.source: "T"})


@dataclass(frozen=True)
class OwnSeq2Seq:
    """state, memory: what the encoder hands on. attends: whether the step returns its attention. padded: whether a text has the same answer beside longer ones, where it is padded.
    structure: how the encoder's tensors lie in what it returns."""

    name: str
    declared: Seq2Seq
    structure: Mapping[str, Any]
    state: tuple[Kept, ...]
    memory: tuple[Kept, ...]
    vocab_size: int
    attends: bool
    padded: bool
    source: Side
    target: Side

    @property
    def module(self) -> torch.nn.ModuleDict:
        return torch.nn.ModuleDict({"encoder": self.declared.encoder, "step": self.declared.step})

    def weights_hash(self) -> str:
        return weights_hash(self.module)

    def encode(self, ids: torch.Tensor, mask: torch.Tensor) -> Tensors:
        """ids, mask (B,T) -> what is handed on, by name."""
        found = flat(encoded(self.declared, ids, mask, self.name))
        return {kept.name: found[kept.name] for kept in (*self.memory, *self.state)}

    def advance(self, token: torch.Tensor, mask: torch.Tensor, values: Tensors) -> tuple[torch.Tensor, Tensors, torch.Tensor | None]:
        """token (R,), mask (R,T), what the encoder or the last step handed on -> scores (R,V), the state after it, attention (R,T)."""
        return advanced(self.declared, token, mask, values, self.structure, self.name)

    def read(self, text: str) -> list[int]:
        return [*self.declared.before, *self.source.encode(text), *self.declared.after]

    def examples(self) -> list[str]:
        return list(self.declared.examples) or self.source.made_up()


def own_seq2seq(declared: Seq2Seq, name: str = "") -> OwnSeq2Seq:
    """Tries what was declared. ModuleError in one line for what does not fit, with the tensor, its shape and what was expected."""
    name = name or "Seq2Seq"
    for role, module in (("encoder", declared.encoder), ("step", declared.step)):
        if not isinstance(module, torch.nn.Module):
            raise ModuleError(f"{name}: the {role} should be a torch.nn.Module, and is a value of type {type(module).__name__}.")
    _require_numbers(declared, name)
    source = side_of(declared.source, _embedded(declared.encoder), declared, name)
    target = side_of(declared.source if declared.target is None else declared.target, None, declared, name)
    rows = _ids(source, declared, ROWS[0], WIDTHS[0])
    first = encoded(declared, *rows, name)
    structure = {key: _names(value, key) for key, value in first.items()}
    values = flat(first)
    taken = set(flat({key: first[key] for key in _taken(declared, structure, name)}))
    kept = _measured(declared, source, taken, name)
    token = torch.full((ROWS[0],), declared.start_token)
    scores, after, attention = advanced(declared, token, rows[1], values, structure, name)
    _require_state(values, after, name)
    state = tuple(kept[key] for key in values if key in after and key in taken)
    memory = tuple(kept[key] for key in values if key in taken and key not in after)
    if not state:
        raise ModuleError(
            f"{name}: the step returns none of what the encoder does ({', '.join(structure)}): without a state every word is the first."
        )
    if attention is not None and tuple(attention.shape) != tuple(rows[0].shape):
        raise ModuleError(f"{name}: the step's {ATTENTION!r} has the shape {list(attention.shape)}; expected {list(rows[0].shape)}, rows by source.")
    size = int(scores.shape[1])
    for label in ("start_token", "end_token"):
        if getattr(declared, label) >= size:
            raise ModuleError(f"{name}: {label} is {getattr(declared, label)}, and the step's scores have {size} words, 0 to {size - 1}.")
    if target.size is not None and target.size != size:
        raise ModuleError(
            f"{name}: the step's scores have the shape {list(scores.shape)}; expected {target.size} words, those of the target vocabulary."
        )
    tried = OwnSeq2Seq(name, declared, structure, state, memory, size, attention is not None, False, source, target)
    return replace(tried, padded=_same_when_padded(tried))


def encoded(declared: Seq2Seq, ids: torch.Tensor, mask: torch.Tensor, name: str) -> dict[str, Any]:
    parameters = inspect.signature(declared.encoder.forward).parameters
    with torch.no_grad(), evaluated(declared.encoder), blamed(f"{name}: the encoder"):
        found = declared.encoder(ids, **({MASK: mask} if MASK in parameters else {}))
    return _by_name(found, f"{name}: the encoder", '{"memory": ..., "state": ...}')


def advanced(
    declared: Seq2Seq, token: torch.Tensor, mask: torch.Tensor, values: Tensors, structure: Mapping[str, Any], name: str
) -> tuple[torch.Tensor, Tensors, torch.Tensor | None]:
    given = {key: _filled(structure[key], values) for key in _taken(declared, structure, name)}
    parameters = inspect.signature(declared.step.forward).parameters
    with torch.no_grad(), evaluated(declared.step), blamed(f"{name}: the step"):
        found = declared.step(token, **given, **({MASK: mask} if MASK in parameters else {}))
    found = _by_name(found, f"{name}: the step", '{"scores": ..., "state": ...}')
    label = next((label for label in SCORES if label in found), None)
    if label is None:
        told = ", ".join(f"{key} {list(value.shape)}" for key, value in flat(found).items())
        raise ModuleError(f"{name}: the step returns no 'scores'; it returns {told}. Expected 'scores' of the shape [{len(token)}, words].")
    scores, attention = found.pop(label), found.pop(ATTENTION, None)
    if not isinstance(scores, torch.Tensor) or scores.dim() != 2 or scores.shape[0] != token.shape[0]:
        shape = list(scores.shape) if isinstance(scores, torch.Tensor) else type(scores).__name__
        raise ModuleError(f"{name}: the step's {label!r} has the shape {shape}; expected [{len(token)}, words], one row for each token.")
    if unknown := [key for key in found if key not in structure]:
        shapes = ", ".join(f"{key} {list(value.shape)}" for key, value in flat({unknown[0]: found[unknown[0]]}).items())
        raise ModuleError(
            f"{name}: the step returns {shapes}, for which the encoder gives no first value; expected 'scores', {ATTENTION!r} or {', '.join(structure)}."
        )
    return scores, flat(found), attention


def flat(found: Mapping[str, Any]) -> Tensors:
    return dict(pair for key, value in found.items() for pair in _leaves(value, key))


def _leaves(value: Any, name: str) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        yield from (pair for key, one in value.items() for pair in _leaves(one, f"{name}_{key}"))
    elif isinstance(value, tuple | list):
        yield from (pair for i, one in enumerate(value) for pair in _leaves(one, f"{name}_{i}"))
    else:
        raise ModuleError(f"{name!r} is a value of type {type(value).__name__}; expected a tensor, or a tuple of tensors.")


def _names(value: Any, name: str) -> Any:
    """`value` with the names of its tensors in their places."""
    if isinstance(value, Mapping):
        return {key: _names(one, f"{name}_{key}") for key, one in value.items()}
    return name if isinstance(value, torch.Tensor) else tuple(_names(one, f"{name}_{i}") for i, one in enumerate(value))


def _filled(names: Any, values: Tensors) -> Any:
    if isinstance(names, str):
        return values[names]
    return {key: _filled(one, values) for key, one in names.items()} if isinstance(names, Mapping) else tuple(_filled(one, values) for one in names)


def _by_name(found: object, what: str, example: str) -> dict[str, Any]:
    if isinstance(found, tuple) and hasattr(found, "_fields"):
        found = dict(zip(found._fields, found, strict=True))
    if not isinstance(found, Mapping) or not all(isinstance(key, str) for key in found):
        raise ModuleError(f"{what} returns a value of type {type(found).__name__}; expected tensors by name, {example}.")
    named = {str(key): value for key, value in found.items() if value is not None}
    flat(named)
    return named


def _taken(declared: Seq2Seq, structure: Mapping[str, Any], name: str) -> list[str]:
    """The encoder's names that the step takes."""
    parameters = list(inspect.signature(declared.step.forward).parameters.values())[1:]
    named = [one for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY) and one.name != MASK]
    if missing := [one.name for one in named if one.name not in structure and one.default is one.empty]:
        raise ModuleError(
            f"{name}: the step takes {missing[0]!r}, which is neither {MASK!r} nor one of what the encoder returns: {', '.join(structure)}."
        )
    return [one.name for one in named if one.name in structure]


def _require_numbers(declared: Seq2Seq, name: str) -> None:
    for label in ("start_token", "end_token", "pad_token", "max_new_tokens", "num_beams"):
        value, least = getattr(declared, label), 0 if label.endswith("token") else 1
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ModuleError(f"{name}: {label} is {value!r}; expected {'the id of a word' if least == 0 else 'a whole number from 1'}.")


def _require_state(before: Tensors, after: Tensors, name: str) -> None:
    for key, value in after.items():
        if key not in before:
            raise ModuleError(
                f"{name}: the step returns {key} {list(value.shape)}, for which the encoder gives no first value; it has {', '.join(before)}."
            )
        if value.shape != before[key].shape or value.dtype != before[key].dtype:
            raise ModuleError(
                f"{name}: the state {key!r} has the shape {list(value.shape)} ({value.dtype}) after a step; expected {list(before[key].shape)} "
                f"({before[key].dtype}), as the encoder gives it: a state keeps its shape from word to word."
            )


def _ids(source: Side, declared: Seq2Seq, rows: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.tensor(source.made_up_ids(rows, width))
    return ids, torch.ones_like(ids)


def _measured(declared: Seq2Seq, source: Side, taken: set[str], name: str) -> dict[str, Kept]:
    """Which axes of what the step takes of the encoder follow the rows, and which the length."""

    def shapes(rows: int, width: int) -> Tensors:
        return flat(encoded(declared, *_ids(source, declared, rows, width), name))

    here, more, longer = shapes(ROWS[0], WIDTHS[0]), shapes(ROWS[1], WIDTHS[0]), shapes(ROWS[0], WIDTHS[1])
    found = {}
    for key, value in here.items():
        if key not in taken:
            continue
        follows = [
            [axis for axis, size in enumerate(other.shape) if size != value.shape[axis]] if other.dim() == value.dim() else []
            for other in (more[key], longer[key])
        ]
        if len(follows[0]) != 1 or len(follows[1]) > 1 or value.shape[follows[0][0]] != ROWS[0]:
            raise ModuleError(
                f"{name}: the encoder's {key!r} has the shape {list(value.shape)} for {ROWS[0]} texts of {WIDTHS[0]} ids, {list(more[key].shape)} for "
                f"{ROWS[1]} and {list(longer[key].shape)} for {WIDTHS[1]} ids; expected one axis of texts, and at most one of ids."
            )
        found[key] = Kept(key, follows[0][0], follows[1][0] if follows[1] else None, tuple(value.shape), value.dtype)
    return found


def _same_when_padded(own: OwnSeq2Seq) -> bool:
    """Whether the shorter of two texts is encoded, and its first words scored, as when it is alone."""
    short, long = 3, 7
    ids = torch.tensor(own.source.made_up_ids(2, long))
    mask = torch.ones_like(ids)
    ids[0, short:], mask[0, short:] = own.declared.pad_token, 0
    alone, beside = own.encode(ids[:1, :short], mask[:1, :short]), own.encode(ids, mask)
    for kept in (*own.memory, *own.state):
        one = beside[kept.name].narrow(kept.rows, 0, 1)
        if not _near(alone[kept.name], one if kept.source is None else one.narrow(kept.source, 0, short)):
            return False

    def scored(seen: torch.Tensor, values: Tensors) -> torch.Tensor:
        """Of the first text, the first two words' scores: the second ones tell what the state has become."""
        token = torch.full((len(seen),), own.declared.start_token)
        first, state, _ = own.advance(token, seen, values)
        second, _, _ = own.advance(token, seen, values | state)
        return torch.stack([first[0], second[0]])

    return _near(scored(mask[:1, :short], alone), scored(mask, beside))


def _near(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool((a.double() - b.double()).abs().max() <= SAME * a.double().abs().max().clamp_min(1e-9)) if a.numel() else True


def _embedded(encoder: torch.nn.Module) -> int | None:
    """Words of the encoder's embedding, the first there is."""
    return next((layer.num_embeddings for layer in encoder.modules() if isinstance(layer, torch.nn.Embedding)), None)

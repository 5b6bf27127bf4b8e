"""Recipes: which precision each part of a model has."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from zen_edge.errors import OptionError

# From the finest to the coarsest.
PRECISIONS = ("fp32", "fp16", "int8-blocks", "int8", "int4")
GROUPS = ("embeddings", "encoder", "self-attention", "cross-attention", "feed-forward")
PART = re.compile(r"([a-z-]+)(?:\.(0|[1-9][0-9]{0,3}))?")


@dataclass(frozen=True)
class Recipe:
    """{part: precision}. A part is a group of weights, or one layer of it ("encoder.3"), which then goes before its group.

    embeddings: word tables and output heads. encoder: its layers, and everything of models without a decoder. The others are the decoder's:
    self-attention, cross-attention (with the projections of its keys and values, at the end of the encoder), feed-forward.
    """

    parts: Mapping[str, str]

    @classmethod
    def uniform(cls, precision: str) -> Recipe:
        return cls.of(dict.fromkeys(GROUPS, precision))

    @classmethod
    def of(cls, parts: Mapping[str, str]) -> Recipe:
        """OptionError for a part or precision that there is none of, and for a group that is left out."""
        for part, precision in parts.items():
            found = PART.fullmatch(part)
            if found is None or found[1] not in GROUPS:
                near = difflib.get_close_matches(part.split(".")[0], GROUPS, 1)
                hint = f"; did you mean {near[0]}" if near else ""
                raise OptionError(f"a recipe has no part {part[:80]!a}{hint}: there are {', '.join(GROUPS)}, and layers of them such as encoder.0.")
            if precision not in PRECISIONS:
                raise OptionError(f"precision {precision!r} of {part} is not known; there are: {', '.join(PRECISIONS)}.")
        if missing := [group for group in GROUPS if group not in parts]:
            raise OptionError(f"the recipe says nothing of {', '.join(missing)}: give every group a precision, fp32 to leave it as it is.")
        return cls(dict(sorted(parts.items())))

    def precision_of(self, group: str, layer: int | None = None) -> str:
        return self.parts.get(f"{group}.{layer}", self.parts[group])

    def of_groups(self, groups: Collection[str]) -> dict[str, str]:
        """What it says of these groups and their layers."""
        return {part: precision for part, precision in self.parts.items() if part.split(".")[0] in groups}

    def changed(self, part: str, precision: str) -> Recipe:
        return Recipe.of({**self.parts, part: precision})

    @property
    def precision(self) -> str:
        """The name for all of it: the coarsest, whose tolerance its outputs are held to."""
        return max(self.parts.values(), key=PRECISIONS.index)

    @property
    def is_half(self) -> bool:
        """Whether keys and values between the graphs are in half precision: where both kinds of attention are."""
        return set(self.of_groups(("self-attention", "cross-attention")).values()) == {"fp16"}


def require_kernels(precision: str, device: str) -> None:
    """OptionError for a precision that `device` has no kernels for."""
    if device == "cuda" and precision == "int8":
        raise OptionError("int8 quantizes activations as they come, and ONNX Runtime has no CUDA kernels for that: choose fp16, int8-blocks or int4.")

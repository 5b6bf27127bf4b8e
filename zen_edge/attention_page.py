"""A map of attention as one HTML page that needs nothing else: kinds, layers and heads to choose from, as a map or as lines from token to token."""

from __future__ import annotations

import base64
import json
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np

from zen_edge.attention_map import AttentionMap
from zen_edge.checked import printable
from zen_edge.errors import InputError

LARGEST = 64e6  # bytes of weights in a page
STEPS = 65535  # weights are kept in 16 bits


def page(seen: AttentionMap, kind: str | None = None, layer: int | None = None, head: int | None = None) -> str:
    """kind, layer, head: what is shown first, as `AttentionMap.chosen` takes them. Kinds for which there is no room are left out. InputError where the first has more weights than a browser likes."""
    seen.chosen(kind, layer, head)  # raises for what is not there
    kinds = fitting(seen, kind)
    if not kinds:
        first = kind or seen.kinds[0]
        raise InputError(f"a page with its {first} weights would have {_size(seen, first) / 1e6:.0f} MB: shorten the input, or draw one map as .png.")
    data = {
        "kinds": {name: _kind(seen, name) for name in kinds},
        "first": {"kind": kind, "layer": layer, "head": head},
    }
    template = (files("zen_edge") / "data" / "attention.html").read_text("utf-8")
    # A page ends a script at "</script" wherever it stands; in JSON "<" may be written as its number.
    filled = {"DATA": json.dumps(data, ensure_ascii=True).replace("<", "\\u003c"), "TEXT": escape(printable(seen.text))}
    for name, value in filled.items():
        before, after = template.split(f"<!--{name}-->")
        template = before + value + after
    return template


def fitting(seen: AttentionMap, kind: str | None = None) -> list[str]:
    """The kinds that a page has room for, if `kind` is among them, in their order."""
    room, kept = LARGEST, set[str]()
    for name in sorted(seen.kinds, key=lambda name: name != kind):
        if (size := _size(seen, name)) <= room:
            kept.add(name)
            room -= size
        elif not kept:
            return []
    return [name for name in seen.kinds if name in kept]


def _size(seen: AttentionMap, kind: str) -> float:
    """Bytes of its weights in a page."""
    return seen.weights[kind].size * 2 * 4 / 3


def _kind(seen: AttentionMap, name: str) -> dict[str, Any]:
    weights = seen.weights[name]
    rows, columns = ([printable(token) for token in tokens] for tokens in seen.tokens(name))
    kept = np.round(np.clip(weights, 0, 1) * STEPS).astype("<u2")
    return {
        "rows": rows,
        "columns": columns,
        "layers": weights.shape[0],
        "heads": weights.shape[1],
        "weights": base64.b64encode(kept.tobytes()).decode(),
    }

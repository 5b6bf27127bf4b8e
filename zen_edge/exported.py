"""Which model types are really exported, as the pages of what was tried tell: data/exported.json, made by `python -m zen_edge.benchmarks.exported docs`."""

import json
from functools import cache
from importlib.resources import files

KINDS = ("encoder-decoders", "speech", "ctc", "encoders")


@cache
def exported() -> dict[str, tuple[str, ...]]:
    """{kind: model types, in the order of their names}"""
    held = json.loads((files("zen_edge") / "data" / "exported.json").read_text("utf-8"))
    return {kind: tuple(held[kind]) for kind in KINDS}

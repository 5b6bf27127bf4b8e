"""What the graphs of an encoder and a step say along words that are given, and the same as something to hold a quantized bundle against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from zen_edge.check_tensors import open_graph
from zen_edge.manifest import Manifest, read_manifest

Array = npt.NDArray[Any]
TOP = 8  # candidates to compare
OUTPUTS = ("logits", "top_scores", "top_ids", "log_sum_exp")


def encoded(folder: Path, manifest: Manifest, ids: Array, mask: Array) -> dict[str, Array]:
    """Everything that the encoder hands on, of ids and mask (B,T)."""
    encoder = open_graph(folder, manifest, "encoder")
    feeds = {"input_ids": ids, "attention_mask": mask}
    found = encoder.run({name: feeds[name] for name in encoder.inputs}, list(encoder.outputs))
    return {name: value.numpy() for name, value in found.items()}


def along(folder: Path, manifest: Manifest, handed: Mapping[str, Array], mask: Array, forced: Array) -> dict[str, Array]:
    """What the step returns for each column of `forced` (B,S), one after another: logits (B,S,V), top_scores and top_ids (B,S,K), log_sum_exp (B,S)."""
    decoder = open_graph(folder, manifest, "decoder")
    feeds: dict[str, Any] = {**handed, "attention_mask": mask, "top_k": np.array([TOP]), "want_log_sum_exp": np.array(True)}
    states = [name for name in decoder.inputs if name.startswith("past_")]
    found: dict[str, list[Array]] = {name: [] for name in OUTPUTS}
    for column in forced.T:
        feeds["input_ids"] = np.ascontiguousarray(column)
        presents = [name.replace("past_", "present_", 1) for name in states]
        step = decoder.run({name: feeds[name] for name in decoder.inputs}, [*OUTPUTS, *presents])
        feeds |= dict(zip(states, map(step.__getitem__, presents), strict=True))
        for name in OUTPUTS:
            found[name].append(step[name].numpy())
    return {name: np.concatenate(values, axis=1) for name, values in found.items()}


@dataclass(frozen=True)
class StepProbe:
    """As `check_quantized.Probe`. ids, mask: (B,T); forced: (B,S) words that the step reads, and where they are no padding."""

    ids: Array
    mask: Array
    forced: tuple[Array, Array]

    @property
    def sources(self) -> Mapping[str, Array]:
        return {"input_ids": self.ids, "attention_mask": self.mask}

    def outputs(self, folder: Path, cross: Mapping[str, Array] | None = None) -> dict[str, Array]:
        """{"graph.output": values}. cross: what the encoder hands on, in place of the bundle's own."""
        own = self.cross(folder)
        told = {f"encoder.{name}": value for name, value in own.items() if value.dtype.kind == "f"}
        return told | self.decoded(folder, own if cross is None else cross)

    def decoded(self, folder: Path, cross: Mapping[str, Array]) -> dict[str, Array]:
        """{"decoder.logits"} with what an encoder hands on."""
        ids, seen = self.forced
        return {"decoder.logits": along(folder, read_manifest(folder), cross, self.mask, ids)["logits"][seen]}

    def cross(self, folder: Path) -> dict[str, Array]:
        return encoded(folder, read_manifest(folder), self.ids, self.mask)

    def decoder_feeds(self, cross: Mapping[str, Array]) -> dict[str, Array]:
        """Of the first step."""
        fixed = {"attention_mask": self.mask, "top_k": np.array([1]), "want_log_sum_exp": np.array(False)}
        return {**cross, **fixed, "input_ids": np.ascontiguousarray(self.forced[0][:, 0])}

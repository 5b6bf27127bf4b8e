"""The graph of a CTC bundle: features of recordings in, scores of every frame out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zen_edge.manifest import Manifest
from zen_edge.runtimes.batching import pad_features
from zen_edge.runtimes.large_session import LargeSession
from zen_edge.runtimes.providers import Device, find_provider
from zen_edge.runtimes.session import Session

Floats = NDArray[np.float32]


class FrameModel:
    """masked: whether inputs of different lengths can be padded to one batch; the answers of other models would depend on the padding."""

    def __init__(self, folder: Path, manifest: Manifest, device: Device, threads: int | None) -> None:
        graph = manifest.graph("ctc")
        self._session = LargeSession(folder / graph.file, find_provider(device), threads, graph)
        self.masked = "attention_mask" in self._session.inputs
        self._features = next(name for name in self._session.inputs if name != "attention_mask")

    @property
    def sessions(self) -> tuple[Session, ...]:
        return (self._session,)

    def feeds(self, rows: Sequence[Floats]) -> dict[str, NDArray[Any]]:
        """What the graph reads of rows side by side."""
        batch, mask = pad_features(rows)
        return {self._features: batch} | ({"attention_mask": mask} if self.masked else {})

    def logits(self, rows: Sequence[Floats]) -> list[Floats]:
        """rows: (S,) or (S,n) each, of one length unless the model is masked -> (T,V) each."""
        feeds = self.feeds(rows)
        if not self.masked:
            return list(self._session.run(feeds, ["frame_logits"])["frame_logits"].numpy())
        found = self._session.run(feeds, ["frame_logits", "frame_count"])
        counts = found["frame_count"].numpy()
        return [logits[:count] for logits, count in zip(found["frame_logits"].numpy(), counts, strict=True)]

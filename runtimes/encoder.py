"""The graph of a bundle that is an encoder and a head: ids of texts in, arrays out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zen_edge.manifest import Manifest
from zen_edge.runtimes.batching import batches, close_lengths
from zen_edge.runtimes.cores import usable_cores
from zen_edge.runtimes.providers import Device, find_provider
from zen_edge.runtimes.session import Session
from zen_edge.runtimes.sized_session import SizedSession

IDS, MASK = "input_ids", "attention_mask"
LEAST = 3  # tokens: graphs are traced for so many and more

Row = Mapping[str, Sequence[int]]
"""One input by the names of the graph's: input_ids (T), and whatever else it reads; what it does not read is left out, what is lacking is 0."""
Found = dict[str, NDArray[Any]]
"""The outputs of one input by name, without padding: (T,...) where there is one for every token, (M,...) for every place that was asked for."""


class Encoder:
    """Safe to share between threads."""

    def __init__(self, folder: Path, manifest: Manifest, device: Device, threads: int | None) -> None:
        graph = manifest.graph("encoder")
        provider = find_provider(device)
        self._session = SizedSession(folder / graph.file, provider, threads, graph)
        self._threads = threads or usable_cores()
        self._on_cpu = provider.device == "cpu"
        self._axes = {tensor.name: tensor.shape for tensor in (*graph.inputs, *graph.outputs)}
        self._pad = {IDS: int(manifest.tokenizer.get("pad_token_id", 0))}

    @property
    def sessions(self) -> tuple[Session, ...]:
        return (self._session,)

    @property
    def reads(self) -> tuple[str, ...]:
        return self._session.inputs

    def run(self, rows: Sequence[Row]) -> Iterator[tuple[int, Found]]:
        """(place, outputs) of every row, the shortest first: rows of like length go side by side, none padded beyond the longest beside it. A graph without a
        mask would read the padding: there they are of one length."""
        lengths = [len(row[IDS]) for row in rows]
        groups = (
            [list(range(len(rows)))]
            if MASK in self.reads
            else [[i for i, one in enumerate(lengths) if one == length] for length in sorted({*lengths})]
        )
        for group in groups:
            for members in batches([lengths[place] for place in group], num_beams=1):
                for places in self._parts([group[member] for member in members], lengths):
                    yield from zip(places, self._batch([rows[place] for place in places]), strict=True)

    def _parts(self, places: list[int], lengths: Sequence[int]) -> list[list[int]]:
        """Places of a batch, in the parts that cost a CPU least."""
        if not self._on_cpu:
            return [places]
        return [[places[at] for at in part] for part in close_lengths([lengths[place] for place in places], self._threads)]

    def feeds(self, rows: Sequence[Row]) -> dict[str, NDArray[np.int64]]:
        """What the graph reads of rows side by side, by name, (B,T) each, or (B,M) of places."""
        feeds = {name: self._padded(name, rows) for name in self.reads if name != MASK}
        if MASK in self.reads:
            lengths = np.array([len(row[IDS]) for row in rows])
            feeds[MASK] = (np.arange(feeds[IDS].shape[1]) < lengths[:, None]).astype(np.int64)
        return feeds

    def _batch(self, rows: Sequence[Row]) -> Iterator[Found]:
        feeds = self.feeds(rows)
        outputs = {name: value.numpy() for name, value in self._session.run(feeds, self._session.outputs, rows=feeds[IDS].size).items()}
        for i, row in enumerate(rows):
            sizes = {self._axes[name][1]: len(values) for name, values in row.items() if name in feeds}
            yield {name: value[i, : sizes.get(self._axes[name][1])] for name, value in outputs.items()}

    def _padded(self, name: str, rows: Sequence[Row]) -> NDArray[np.int64]:
        """(B,T), or (B,M) of places."""
        given = [row.get(name, ()) for row in rows]
        of_tokens = self._axes[name] == self._axes[IDS]
        least = LEAST if of_tokens and MASK in self.reads else 1
        width = max(max(map(len, given)), *(len(row[IDS]) for row in rows if of_tokens), least)
        batch = np.full((len(rows), width), self._pad.get(name, 0), np.int64)
        for i, values in enumerate(given):
            batch[i, : len(values)] = values
        return batch

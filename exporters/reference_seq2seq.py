"""What PyTorch says of a `Seq2Seq`: its own modules, a plain greedy search and a plain beam search around them, one text at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from zen_edge.exporters.own_seq2seq import OwnSeq2Seq, Tensors
from zen_edge.exporters.softmaxes import softmaxes

Array = np.ndarray[Any, Any]
LOWEST = -1e9  # what a beam that has ended, or that is not there, has in place of a score


class Seq2SeqReference:
    """The modules as something to compare with. Texts are padded to one length as they are given, where padding changes nothing."""

    def __init__(self, own: OwnSeq2Seq) -> None:
        self._own = own
        self.pad_token_id, self.start_token_id = own.declared.pad_token, own.declared.start_token

    def encode(self, line: str) -> list[int]:
        return self._own.read(line)

    def decode(self, tokens: Sequence[int]) -> str:
        return self._own.target.decode(tokens)

    def handed(self, ids: Array, mask: Array) -> dict[str, Array]:
        """ids, mask (B,T) -> what the encoder hands on, by name."""
        return {name: value.numpy() for name, value in self._own.encode(torch.from_numpy(ids), torch.from_numpy(mask)).items()}

    def along(self, ids: Array, mask: Array, forced: Array) -> tuple[Array, Array | None]:
        """ids, mask (B,T), what the step reads (B,S) -> scores (B,S,V), and the attention that it returns, (B,S,T)."""
        seen = torch.from_numpy(mask)
        values, scores, weights = self._own.encode(torch.from_numpy(ids), seen), [], []
        for column in torch.from_numpy(forced).T:
            found, state, attention = self._own.advance(column.contiguous(), seen, values)
            values = values | state
            scores.append(found)
            weights.append(attention)
        attention = None if weights[0] is None else torch.stack([one for one in weights if one is not None], 1).numpy()
        return torch.stack(scores, 1).numpy(), attention

    def softmaxes(self, ids: Array, mask: Array, forced: Array) -> list[Array]:
        """Those over the source: of the encoder (...,T,T), and of the step along `forced` (B,S), (B,N,S,T)."""
        seen, (B, T) = torch.from_numpy(mask), ids.shape
        with softmaxes() as read:
            values = self._own.encode(torch.from_numpy(ids), seen)
        steps = []
        for column in torch.from_numpy(forced).T:
            with softmaxes() as looked:
                values = values | self._own.advance(column.contiguous(), seen, values)[1]
            steps.append([one.reshape(B, -1, 1, T) for one in looked if one.shape[-1] == T and one.size % (B * T) == 0])
        return [*(one for one in read if one.shape[-2:] == (T, T)), *(np.concatenate(layer, 2) for layer in zip(*steps, strict=True))]

    def generate(self, ids: Array, mask: Array, num_beams: int, max_new_tokens: int | None) -> list[tuple[int, ...]]:
        """The best sequence for each row: the ids after the start token, end token included."""
        most = max_new_tokens or self._own.declared.max_new_tokens
        found = []
        for row, seen in zip(torch.from_numpy(ids), torch.from_numpy(mask), strict=True):
            length = len(row) if self._own.padded else int(seen.sum())
            found.append(self._searched(row[None, :length], seen[None, :length], num_beams, most))
        return found

    def log_probabilities(self, ids: Sequence[int], tokens: Sequence[int]) -> Array:
        """For one text's ids and the tokens generated: the log-softmax before each of them, (len(tokens), V)."""
        source = np.array([list(ids)])
        scores, _ = self.along(source, np.ones_like(source), np.array([[self.start_token_id, *tokens[:-1]]]))
        return np.asarray(torch.log_softmax(torch.from_numpy(scores[0]).float(), -1).numpy())

    def _searched(self, ids: torch.Tensor, mask: torch.Tensor, num_beams: int, most: int) -> tuple[int, ...]:
        """Beam search as `generate` does it without further options; with one beam, greedy search."""
        end, penalty = self._own.declared.end_token, self._own.declared.length_penalty
        values, seen = self._own.encode(ids, mask), mask
        beams, totals, finished = [()], torch.zeros(1), list[tuple[float, tuple[int, ...]]]()
        for length in range(1, most + 1):
            last = torch.tensor([beam[-1] if beam else self.start_token_id for beam in beams])
            scores, state, _ = self._own.advance(last, seen, values)
            if num_beams == 1:
                word = int(scores[0].argmax())
                beams, values = [(*beams[0], word)], values | state
                if word == end:
                    break
                continue
            reached = (totals[:, None] + torch.log_softmax(scores.float(), -1)).flatten()
            best, places = reached.topk(min(2 * num_beams, len(reached)))
            rows, words = places // scores.shape[1], places % scores.shape[1]
            ends = (words == end) | (length == most)
            for rank in range(min(num_beams, len(best))):
                if ends[rank]:
                    finished.append((float(best[rank] / length**penalty), (*beams[int(rows[rank])], int(words[rank]))))
            finished = sorted(finished, key=lambda one: -one[0])[:num_beams]
            open_scores = torch.where(ends, best + LOWEST, best)
            order = open_scores.argsort(descending=True, stable=True)[:num_beams]
            totals, rows, words = open_scores[order], rows[order], words[order]
            beams = [(*beams[int(row)], int(word)) for row, word in zip(rows, words, strict=True)]
            values, seen = self._rows(values | state, rows), seen[rows]
            worst = finished[-1][0] if len(finished) == num_beams else LOWEST
            if bool(ends.all()) or not float(totals[0] / length**penalty) > worst:
                break
        return beams[0] if num_beams == 1 else finished[0][1]

    def _rows(self, values: Tensors, rows: torch.Tensor) -> Tensors:
        return {kept.name: values[kept.name].index_select(kept.rows, rows) for kept in (*self._own.memory, *self._own.state)}

"""PyTorch's recurrent layers as ONNX's while a module is traced, packed sequences included.

    nn.LSTM(x (B,T,I))                                    ->  LSTM(x, W, R, B)
    pack_padded_sequence(x, lengths) -> nn.LSTM -> pad..  ->  LSTM(x, W, R, B, sequence_lens)
    nn.LSTM(x (B,1,I), state), a step                     ->  the products of one cell, which are quantized as any other

A packed sequence has as many numbers as the texts of a batch have words, which no graph can tell beforehand. ONNX's layers take the padded batch with its lengths and do
the same: each text is read to its own end, backwards from its own end, and what lies behind it is zero. https://onnx.ai/onnx/operators/onnx__LSTM.html
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import _VF, nn
from torch.nn.utils.rnn import PackedSequence

from zen_edge.errors import ModuleError

# Where ONNX has the gates that PyTorch has in order: LSTM i f g o -> i o f g, GRU r z n -> z r n.
GATES = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN_TANH": (0,), "RNN_RELU": (0,)}
OPERATOR = {"LSTM": "LSTM", "GRU": "GRU", "RNN_TANH": "RNN", "RNN_RELU": "RNN"}
LAYERS = (nn.LSTM, nn.GRU, nn.RNN)
BUFFER = "zen_edge_{}{}"


@contextlib.contextmanager
def recurrent(module: nn.Module) -> Iterator[None]:
    """The recurrent layers of `module` in ONNX's terms inside the block; their weights are laid out for it before, and forgotten after."""
    layers = [layer for layer in module.modules() if isinstance(layer, LAYERS)]
    for layer in layers:
        if layer.proj_size:
            raise ModuleError(f"nn.LSTM(proj_size={layer.proj_size}) has no ONNX operator: leave proj_size out and put nn.Linear behind the layer.")
        for name, value in _laid_out(layer).items():
            layer.register_buffer(name, value, persistent=False)
    before = {kind: kind.forward for kind in LAYERS}
    for kind, forward in before.items():
        kind.forward = _replacement(forward)  # type: ignore[method-assign]
    _VF._pack_padded_sequence, _VF._pad_packed_sequence = _packed, _padded
    try:
        yield
    finally:
        del _VF._pack_padded_sequence, _VF._pad_packed_sequence
        for kind, forward in before.items():
            kind.forward = forward  # type: ignore[method-assign]
        for layer in layers:
            for name in [name for name in layer._buffers if name.startswith(BUFFER.format("", ""))]:
                delattr(layer, name)


def _laid_out(layer: nn.RNNBase) -> dict[str, torch.Tensor]:
    """W (2,GH,I), R (2,GH,H) and B (2,2GH) of every layer, 1 in the place of 2 where it reads forward only."""
    found = {}
    for i in range(layer.num_layers):
        sides = ["", "_reverse"][: 1 + layer.bidirectional]

        def both(kind: str, i: int = i, sides: list[str] = sides) -> torch.Tensor:
            return torch.stack([_in_order(getattr(layer, f"{kind}_l{i}{side}").detach(), layer.mode) for side in sides])

        found[BUFFER.format("W", i)], found[BUFFER.format("R", i)] = both("weight_ih"), both("weight_hh")
        if layer.bias:
            found[BUFFER.format("B", i)] = torch.cat([both("bias_ih"), both("bias_hh")], dim=1)
    return found


def _in_order(weight: torch.Tensor, mode: str) -> torch.Tensor:
    gates = weight.chunk(len(GATES[mode]))
    return torch.cat([gates[i] for i in GATES[mode]])


def _packed(x: torch.Tensor, lengths: torch.Tensor, batch_first: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """In the place of the numbers of a packed sequence the padded batch (T,B,I), and in that of its batch sizes the lengths (B,)."""
    return (x.transpose(0, 1) if batch_first else x), lengths


def _padded(
    x: torch.Tensor, lengths: torch.Tensor, batch_first: bool, padding_value: float, total_length: object
) -> tuple[torch.Tensor, torch.Tensor]:
    if padding_value:
        inside = torch.arange(x.shape[0])[:, None, None] < lengths[None, :, None]
        x = torch.where(inside, x, torch.tensor(padding_value, dtype=x.dtype))
    return (x.transpose(0, 1) if batch_first else x), lengths


def _replacement(original: Callable[..., Any]) -> Callable[..., Any]:
    def forward(self: nn.RNNBase, input: Any, hx: Any = None) -> Any:
        packed = isinstance(input, PackedSequence)
        if not hasattr(self, BUFFER.format("W", 0)) or (not packed and input.dim() != 3):
            return original(self, input, hx)
        lengths = unsorted = None
        x = input
        if packed:
            x, lengths, order, unsorted = input
            hx = None if hx is None else self.permute_hidden(hx, order)
        elif self.batch_first:
            x = x.transpose(0, 1)  # (T,B,I)
        given = [] if hx is None else list(hx) if self.mode == "LSTM" else [hx]
        one = lengths is None and isinstance(x.shape[0], int) and x.shape[0] == 1 and not self.bidirectional
        out, states = (_one_step if one else _whole)(self, x, lengths, given)
        state = tuple(states) if self.mode == "LSTM" else states[0]
        if packed:
            return PackedSequence(out, lengths, order, unsorted), self.permute_hidden(state, unsorted)
        return (out.transpose(0, 1) if self.batch_first else out), state

    return forward


def _whole(layer: nn.RNNBase, x: torch.Tensor, lengths: torch.Tensor | None, given: list[torch.Tensor]) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """x (T,B,I), states (2L,B,H) -> (T,B,2H), the states after it."""
    sides, H = 1 + layer.bidirectional, layer.hidden_size
    T, B = x.shape[:2]
    attributes: dict[str, Any] = {"hidden_size": H, "direction": "bidirectional" if layer.bidirectional else "forward"}
    if layer.mode == "GRU":
        attributes["linear_before_reset"] = 1
    if layer.mode == "RNN_RELU":
        attributes["activations"] = ["Relu"] * sides
    lengths = None if lengths is None else lengths.to(torch.int32)
    states: list[list[torch.Tensor]] = []
    for i in range(layer.num_layers):
        weights = [getattr(layer, BUFFER.format(kind, i), None) for kind in "WRB"]
        before = [one[i * sides : (i + 1) * sides] for one in given]
        inputs = [x, *weights, lengths, *before]
        while inputs[-1] is None:
            inputs.pop()
        shapes = [(T, sides, B, H), *[(sides, B, H)] * (2 if layer.mode == "LSTM" else 1)]
        out, *after = torch.onnx.ops.symbolic_multi_out(
            OPERATOR[layer.mode], inputs, attributes, dtypes=[x.dtype] * len(shapes), shapes=shapes, version=14
        )
        x = out.permute(0, 2, 1, 3).reshape(T, B, sides * H)
        states.append(after)
    return x, [torch.cat(list(one)) for one in zip(*states, strict=True)]


def _one_step(layer: nn.RNNBase, x: torch.Tensor, lengths: object, given: list[torch.Tensor]) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """x (1,B,I), states (L,B,H) -> (1,B,H), the states after it."""
    y, states = x[0], []
    zeros = torch.zeros(layer.num_layers, x.shape[1], layer.hidden_size, dtype=x.dtype)
    before = given or [zeros] * (2 if layer.mode == "LSTM" else 1)
    for i in range(layer.num_layers):
        weights = [getattr(layer, f"{kind}_l{i}") for kind in (["weight_ih", "weight_hh"] + (["bias_ih", "bias_hh"] if layer.bias else []))]
        if layer.mode == "LSTM":
            y, c = torch.lstm_cell(y, (before[0][i], before[1][i]), *weights)
            states.append([y, c])
        else:
            cell = {"GRU": torch.gru_cell, "RNN_TANH": torch.rnn_tanh_cell, "RNN_RELU": torch.rnn_relu_cell}[layer.mode]
            y = cell(y, before[0][i], *weights)
            states.append([y])
    return y[None], [torch.stack(list(one)) for one in zip(*states, strict=True)]

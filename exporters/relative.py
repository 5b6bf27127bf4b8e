"""Shapes that PyTorch would ask about while it traces with free lengths, said with ONNX operators: relative positions, and cuts to another's length."""

from __future__ import annotations

import torch


def shifted(scores: torch.Tensor) -> torch.Tensor:
    """(B,N,T,2T-1), for keys from T-1 places before the query to T-1 after it -> (B,N,T,T), for each query and key.

    As Transformer-XL's trick of shapes does it (Dai et al. 2019, appendix B). Row i of the result is what begins T-1-i places into row i. With a column of padding in front, the rows are read as if they were T long, which
    moves each of them by one more.
    """
    B, N, T, width = scores.shape
    length = torch.onnx.ops.symbolic("Shape", [scores], {"start": 2, "end": 3}, dtype=torch.int64, shape=(1,))
    padded = torch.nn.functional.pad(scores, (1, 0))
    narrow = laid_out(padded, [torch.tensor([0, 0, -1]), length], (B, N, 2 * T, T))
    wide = laid_out(narrow[:, :, 1:], [torch.tensor([0, 0]), length, torch.tensor([-1])], (B, N, T, width))
    return wide[..., :T]


def cut(x: torch.Tensor, axis: int, like: torch.Tensor, its: int) -> torch.Tensor:
    """The beginning of `x` along `axis`, as long as `like` is along `its`; it is not shorter."""
    length = torch.onnx.ops.symbolic("Shape", [like], {"start": its, "end": its + 1}, dtype=torch.int64, shape=(1,))
    shape = (*x.shape[:axis], like.shape[its], *x.shape[axis + 1 :])
    return torch.onnx.ops.symbolic("Slice", [x, torch.tensor([0]), length, torch.tensor([axis])], {}, dtype=x.dtype, shape=shape)


def laid_out(x: torch.Tensor, sizes: list[torch.Tensor], shape: tuple[int, ...]) -> torch.Tensor:
    """`x` reshaped to what `sizes` say one after another, as ONNX's Reshape reads them; `shape` is what that gives."""
    target = torch.onnx.ops.symbolic("Concat", sizes, {"axis": 0}, dtype=torch.int64, shape=(len(shape),))
    return torch.onnx.ops.symbolic("Reshape", [x, target], {}, dtype=x.dtype, shape=shape)

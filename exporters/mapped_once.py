"""Large safetensors files are mapped once. Their library maps a file a second time while it opens it, and address space may be limited to less."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import modeling_utils

SMALL = 2**16  # numbers
LARGE = 2**26  # bytes; smaller files are the library's alone
TYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64, "I32": torch.int32}


def is_small(tensor: torch.Tensor) -> bool:
    """Whether it is better copied: each tensor that somebody keeps, keeps all of its file mapped."""
    return tensor.numel() < SMALL or tensor.numel() == max(tensor.shape)


class MappedFile:
    """The tensors of a file, as `safe_open` gives slices of them."""

    def __init__(self, path: Path, described: dict[str, Any], start: int) -> None:
        """described: its header, which the library has found sound. start: where the numbers begin."""
        self._described, self._start = described, start
        self._storage = torch.UntypedStorage.from_file(str(path), False, path.stat().st_size)

    def keys(self) -> list[str]:
        return list(self._described)

    def get_slice(self, name: str) -> torch.Tensor:
        one = self._described[name]
        dtype, shape = TYPES[one["dtype"]], one["shape"]
        strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
        mapped = torch.empty(0, dtype=dtype).set_(self._storage, (self._start + one["data_offsets"][0]) // dtype.itemsize, shape, strides)
        return mapped.clone() if is_small(mapped) else mapped

    def __exit__(self, *_: object) -> None:
        pass


@contextmanager
def mapped_once() -> Iterator[None]:
    """`from_pretrained` in the block maps large files once. It can go when safetensors drops its own mapping before PyTorch makes one (0.8 does not)."""
    before = modeling_utils.safe_open
    modeling_utils.safe_open = _opened
    try:
        yield
    finally:
        modeling_utils.safe_open = before


def _opened(file: Any, *args: Any, **kwargs: Any) -> Any:
    path = Path(file)
    if path.stat().st_size >= LARGE and kwargs.get("device", "cpu") == "cpu":
        with safe_open(file, framework="numpy"):  # refuses what is damaged
            described, start = _header(path)
        if all(one["dtype"] in TYPES and (start + one["data_offsets"][0]) % TYPES[one["dtype"]].itemsize == 0 for one in described.values()):
            return MappedFile(path, described, start)
    return safe_open(file, *args, **kwargs)


def _header(path: Path) -> tuple[dict[str, Any], int]:
    with path.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        described: dict[str, Any] = json.loads(opened.read(length))
    described.pop("__metadata__", None)
    return described, 8 + length

"""A large model and its bundle in turns: while the bundle runs, the model's weights hold as little memory as they can without a change."""

from __future__ import annotations

import ctypes
import functools
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, ParamSpec, Protocol, TypeVar

import torch

from zen_edge.exporters.mapped_once import is_small

MAPPED = Path("/proc/self/smaps")  # of Linux
HEAD = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) \S{4} ([0-9a-f]+) \S+ (\d+) *(.*)$", re.MULTILINE)
WRITTEN = re.compile(r"^(?:Anonymous|Swap): +[1-9]", re.MULTILINE)  # pages of the process's own, in memory or swapped out
P, R = ParamSpec("P"), TypeVar("R")
Storages = dict[int, torch.UntypedStorage]
_turns: ContextVar[Turns | None] = ContextVar("zen_edge_turns", default=None)


class Aside(Protocol):
    """Numbers that lie elsewhere."""

    def back(self, mapped: Storages) -> torch.Tensor:
        """mapped: the files that are mapped again, by descriptor."""
        ...


class Halved(NamedTuple):
    """As the half-precision numbers that they were in the checkpoint."""

    numbers: torch.Tensor

    def back(self, mapped: Storages) -> torch.Tensor:
        return self.numbers.float()


class InFile(NamedTuple):
    """From the byte `offset` of an open file of `length` bytes on."""

    file: int
    length: int
    offset: int
    dtype: torch.dtype
    shape: torch.Size
    stride: tuple[int, ...]

    def back(self, mapped: Storages) -> torch.Tensor:
        if self.file not in mapped:
            mapped[self.file] = torch.UntypedStorage.from_file(f"/proc/self/fd/{self.file}", False, self.length)
        return torch.empty(0, dtype=self.dtype).set_(mapped[self.file], self.offset // self.dtype.itemsize, self.shape, self.stride)


class Region(NamedTuple):
    """Memory from `start` to `end` that is as a file is from its byte `offset` on."""

    start: int
    end: int
    offset: int
    path: str


@dataclass
class Turns:
    """Whose turn it is: the bundle's while the model's weights are aside. rest: lets the bundle's sessions go while the model computes."""

    model: torch.nn.Module
    rest: Callable[[], None]
    files: ExitStack = field(default_factory=ExitStack)
    opened: dict[str, int] = field(default_factory=dict)
    aside: list[tuple[torch.Tensor, Aside]] = field(default_factory=list)

    def of_model(self) -> None:
        if self.aside:
            self.rest()
            mapped: Storages = {}
            while self.aside:
                tensor, elsewhere = self.aside.pop()
                tensor.data = elsewhere.back(mapped)

    def of_bundle(self) -> None:
        if self.aside:
            return
        regions = list(unchanged())
        held = {id(tensor): tensor for tensor in (*self.model.parameters(), *self.model.buffers())}
        for tensor in held.values():
            region = _region_of(tensor, regions)
            if is_small(tensor) or not tensor.is_floating_point():
                if region is not None:  # one that stays would hold all of the file
                    tensor.data = tensor.detach().clone()
                continue
            elsewhere = halved(tensor) if region is None else self.in_file(tensor, region)
            if elsewhere is not None:
                # What is computed with these could not pass for what the model says.
                tensor.data = torch.full((1,), torch.nan, dtype=tensor.dtype).expand(tensor.shape)
                self.aside.append((tensor, elsewhere))
        trim()

    def in_file(self, tensor: torch.Tensor, region: Region) -> InFile | None:
        """Files are kept open: they stay the same whatever becomes of their names."""
        offset = region.offset + tensor.data_ptr() - region.start
        if offset % tensor.element_size():
            return None
        if region.path not in self.opened:
            self.opened[region.path] = os.open(region.path, os.O_RDONLY)
            self.files.callback(os.close, self.opened[region.path])
        file = self.opened[region.path]
        return InFile(file, os.fstat(file).st_size, offset, tensor.dtype, tensor.shape, tensor.stride())


@contextmanager
def in_turns(model: torch.nn.Module, rest: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """In the block, what is `in_pytorch` has the memory to itself, and what calls the function that is given has it from then on. Afterwards the model is as it was."""
    turns = Turns(model, rest)
    with turns.files:
        before = _turns.set(turns)
        try:
            yield turns.of_bundle
        finally:
            _turns.reset(before)
            turns.of_model()


def in_pytorch(method: Callable[P, R]) -> Callable[P, R]:
    """`method` with the model's weights in their place, and without gradients."""

    @functools.wraps(method)
    def computed(*args: P.args, **kwargs: P.kwargs) -> R:
        turns = _turns.get()
        if turns is not None:
            turns.of_model()
        with torch.no_grad():
            return method(*args, **kwargs)

    return computed


def _region_of(tensor: torch.Tensor, regions: list[Region]) -> Region | None:
    return next((region for region in regions if region.start <= tensor.data_ptr() < region.end), None)


def halved(tensor: torch.Tensor) -> Halved | None:
    """float32 as a checkpoint in half precision gave it, if it did."""
    if tensor.dtype == torch.float32:
        for half in (torch.bfloat16, torch.float16):
            short = tensor.detach().to(half)
            if torch.equal(short.float(), tensor):
                return Halved(short)
    return None


def unchanged() -> Iterator[Region]:
    """Where files are mapped and nothing was written since; nothing where the system does not tell."""
    with suppress(OSError):
        text = MAPPED.read_text(errors="surrogateescape")
        heads = list(HEAD.finditer(text))
        for head, behind in zip(heads, [*(head.start() for head in heads[1:]), len(text)], strict=True):
            start, end, offset, inode, path = head.groups()
            if int(inode) and path.startswith("/") and not WRITTEN.search(text, head.end(), behind):
                yield Region(int(start, 16), int(end, 16), int(offset, 16), path)


def trim() -> None:
    """Gives freed memory back to the system, where the C library keeps it."""
    if sys.platform == "linux":
        with suppress(AttributeError, OSError):  # of glibc alone
            ctypes.CDLL(None).malloc_trim(0)

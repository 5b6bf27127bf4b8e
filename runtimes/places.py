"""Memory of a device that outputs are written into again and again, so that a step allocates nothing.

Keys and values grow with every step, and an allocator that is asked for a little more each time has nothing that fits: CUDA would be asked for memory in every
step. Here a place is as large as the next power of two, and is free as soon as nobody holds what lies in it: two of them take turns as past and present.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Place(NamedTuple):
    """room: in bytes. memory: a value of so many, and where it begins."""

    room: int
    memory: Any
    begin: int


class Places:
    """Those of one session. What is free is kept until the session ends, at most as many places as were ever held at once."""

    def __init__(self, allocate: Callable[[int], Any]) -> None:
        """allocate: memory by its bytes, as ONNX Runtime's value."""
        self._allocate, self._lock = allocate, Lock()
        self._free: list[Place] = []
        self._returned: list[Place] = []  # appended to from wherever a value ends, in the middle of `take` too

    def take(self, size: int) -> Place:
        """A place with room for `size` bytes: the smallest that is free, or a new one, for which one that is too small is given up."""
        with self._lock:
            while self._returned:
                self._free.append(self._returned.pop())
            self._free.sort(key=lambda place: place.room)
            for i, place in enumerate(self._free):
                if place.room >= size:
                    return self._free.pop(i)
            if self._free:
                del self._free[0]
        memory = self._allocate(1 << (size - 1).bit_length())
        return Place(1 << (size - 1).bit_length(), memory, memory.data_ptr())

    def give_back(self, place: Place) -> None:
        self._returned.append(place)


class Placed:
    """An output that lies in a place, which is free again when this is gone."""

    def __init__(self, value: Any, place: Place, places: Places) -> None:
        self.value, self._place, self._places = value, place, places

    def numpy(self) -> NDArray[Any]:
        return np.array(self.value.numpy())

    def __del__(self) -> None:
        self._places.give_back(self._place)

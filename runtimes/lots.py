"""Places of values that never change, which one text after another takes: what was recorded of runs from and to them can be replayed then."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

FREE = 8  # lots that nobody holds and nothing is recorded of


class Lot:
    """Values by name, whose places do not change, and the runs that read or write them. key: what sizes they have."""

    def __init__(self, key: Hashable, values: dict[str, Any]) -> None:
        self.key, self.values = key, values
        self.runs: dict[Hashable, Any] = {}
        self.is_recorded = False
        self.writes: list[int] = []  # from which word on each of them was, since it was taken


class Lots:
    """Those of one model. A lot that nobody holds goes to whoever wants one of its sizes."""

    def __init__(self) -> None:
        self._free: list[Lot] = []
        self._returned: list[Lot] = []  # appended to from wherever a holder ends

    def take(self, key: Hashable, make: Callable[[], dict[str, Any]]) -> Held:
        while self._returned:
            self._free.append(self._returned.pop())
        at = next((i for i in reversed(range(len(self._free))) if self._free[i].key == key), None)
        lot = Lot(key, make()) if at is None else self._free.pop(at)
        lot.writes.clear()
        unused = [free for free in self._free if not free.is_recorded]
        for oldest in unused[: max(0, len(unused) - FREE)]:
            self._free.remove(oldest)
        return Held(_Lease(lot, self._returned))


class _Lease:
    def __init__(self, lot: Lot, returned: list[Lot]) -> None:
        self.lot, self._returned = lot, returned

    def __del__(self) -> None:
        self._returned.append(self.lot)


class Held(dict[str, Any]):
    """The values of a lot, which is nobody else's while this, or another that was made from it, is there."""

    def __init__(self, lease: _Lease) -> None:
        super().__init__(lease.lot.values)
        self._lease, self.lot, self._writes = lease, lease.lot, len(lease.lot.writes)

    def after(self, word: int) -> Held:
        """The same lot, written from `word` on by whoever holds this."""
        self.lot.writes.append(word)
        return Held(self._lease)

    @property
    def is_last(self) -> bool:
        """Whether nothing was written since."""
        return self._writes == len(self.lot.writes)

    def holds(self, words: int) -> bool:
        """Whether the first so many words are still as they were."""
        return min(self.lot.writes[self._writes :], default=words) >= words

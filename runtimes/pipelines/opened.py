"""What every pipeline is: a bundle that is open until it is let go of."""

from __future__ import annotations

from types import TracebackType
from typing import Generic, Self, TypeVar

from zen_edge.errors import ZenEdgeError

M = TypeVar("M")


class Opened(Generic[M]):
    """A bundle whose graphs are loaded as `_model`. Freed when it is let go of, or at the end of `with`."""

    _model: M | None

    def close(self) -> None:
        self._model = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _open_model(self) -> M:
        if self._model is None:
            raise ZenEdgeError("this pipeline is closed; load the bundle again.")
        return self._model

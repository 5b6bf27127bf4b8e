"""What every pipeline is: a bundle that is open until it is let go of."""

from __future__ import annotations

from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from zen_edge.errors import ZenEdgeError
from zen_edge.runtimes.providers import Provider
from zen_edge.runtimes.session import Session


class Loaded(Protocol):
    """What runs the graphs of a bundle."""

    @property
    def sessions(self) -> tuple[Session, ...]: ...


M = TypeVar("M", bound=Loaded)


class Opened(Generic[M]):
    """A bundle whose graphs are loaded as `_model`. Freed when it is let go of, or at the end of `with`."""

    _model: M | None

    @property
    def provider(self) -> Provider:
        """Where the graphs run: `provider.device`, `provider.name`, and `provider.why` it is that one."""
        return self._open_model().sessions[0].provider

    def placement(self) -> dict[str, dict[str, int]]:
        """By graph, how many of its nodes each provider runs, as ONNX Runtime fused them."""
        return {session.name: session.placement() for session in self._open_model().sessions}

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

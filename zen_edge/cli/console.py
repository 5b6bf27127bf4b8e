"""Where tables go."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 130  # of tables that go to a file or a pipe


def console() -> Console:
    from rich.console import Console

    here = Console()
    return here if here.is_terminal else Console(width=WIDTH)

"""Where tables go, and what is kept off the standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 130  # of tables that go to a file or a pipe


def console() -> Console:
    from rich.console import Console

    here = Console()
    return here if here.is_terminal else Console(width=WIDTH)


@contextmanager
def own_stderr() -> Iterator[None]:
    """Inside the block only Python writes on the standard error: libmpg123, which reads MP3 files, prints notes of its own there for damaged ones, beside the line that tells what is wrong."""
    before = sys.stderr
    try:
        number = before.fileno()
    except (AttributeError, OSError, ValueError):  # no file is behind it
        number = -1
    if number != 2:
        yield
        return
    before.flush()
    kept, nowhere = os.dup(number), os.open(os.devnull, os.O_WRONLY)
    with os.fdopen(kept, "w", encoding=before.encoding, errors=before.errors, buffering=1, closefd=False) as sys.stderr:
        os.dup2(nowhere, number)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, number)
            sys.stderr = before
            os.close(nowhere)
    os.close(kept)

"""The command line. Each command is thin, and imports its room when it runs, so that `--help` is instant."""

from __future__ import annotations

import mmap
import os
import re
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from zen_edge.checked import printable
from zen_edge.errors import ZenEdgeError
from zen_edge.files import SPARE

# As the system, C++, PyTorch and ONNX Runtime tell it.
STARVED = re.compile(r"cannot allocate memory|can't allocate memory|bad_?alloc|failed to allocate memory|not enough memory", re.IGNORECASE)


class Commands(TyperGroup):
    """Turns what a command raises into one line on stderr and an exit status, for `main` and for a CliRunner alike."""

    def invoke(self, ctx: Any) -> Any:
        try:
            with mmap.mmap(-1, SPARE, access=mmap.ACCESS_COPY):
                return super().invoke(ctx)
        except ZenEdgeError as error:
            _end_interrupted(error)
            _end_starved(error)
            _end(error, str(error), error.exit_status)
        except KeyboardInterrupt as error:
            _end_interrupted(error)
        except (typer.Exit, typer.Abort, typer.TyperException, BrokenPipeError):  # typer's own; and the reader of stdout has seen enough
            raise
        except OSError as error:
            _end_starved(error)
            _end(error, f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}", 1)
        except Exception as error:  # noqa: BLE001 - a slip of ours ends in one line as well; the traceback is one variable away
            _end_interrupted(error)
            _end_starved(error)
            _end(error, f"unexpected {type(error).__name__}: {error}; run it again with ZEN_EDGE_DEBUG=1 and report what it prints.", 1)


def _end_interrupted(error: BaseException) -> None:
    """Ends as interrupted, if that is what it is: libraries turn the interruption into an error of their own where it meets them at work."""
    if any(isinstance(cause, KeyboardInterrupt) for cause in _causes(error)):
        _end(error, "interrupted", 130)


def _end_starved(error: BaseException) -> None:
    """Ends for want of memory, if that is what it is, however the library at work calls it."""
    if any(isinstance(cause, MemoryError) or STARVED.search(str(cause)) for cause in _causes(error)):
        _end(error, "there is not enough memory for this: give more (`ulimit -a` tells the limits of a shell), or end what else runs.", 1)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """`error` and what led to it."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _end(error: BaseException, text: str, status: int) -> NoReturn:
    """One line on stderr and the exit status; with ZEN_EDGE_DEBUG=1 the traceback before it."""
    if os.environ.get("ZEN_EDGE_DEBUG") == "1":
        import traceback

        typer.echo("".join(traceback.format_exception(error)), err=True, nl=False)
    note(text)
    raise typer.Exit(status)


def note(text: str) -> None:
    """One line on stderr, whatever `text` holds."""
    typer.echo(f"zen-edge: {printable(' '.join(text.split()))}", err=True)


app = typer.Typer(
    cls=Commands,
    name="zen-edge",
    help="Trained attention models from PyTorch to ONNX: exported with fused attention, quantized, proven equal, and run without PyTorch.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(asked: bool) -> None:
    if asked:
        from zen_edge import __version__

        typer.echo(f"zen-edge {__version__}")
        raise typer.Exit


@app.callback()
def options(version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version and exit.")) -> None:
    """Options of every command."""


def main() -> None:
    """Entry point."""
    signal.signal(signal.SIGTERM, _terminated)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # None without a console
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")  # as stdin is read, whatever the locale
    app()


def _terminated(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)  # an exception, so that a half-written bundle is removed


from zen_edge.cli import attend, bench, demo, doctor, export, inspect, parity, quantize, run  # noqa: E402, F401 - each registers its command on `app`

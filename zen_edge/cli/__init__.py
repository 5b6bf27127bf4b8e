"""The command line. Each command is thin, and imports its room when it runs, so that `--help` is instant."""

from __future__ import annotations

import os
import sys

import typer

from zen_edge.errors import ZenEdgeError

app = typer.Typer(
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
    """Entry point: a ZenEdgeError becomes one line on stderr and its exit status; ZEN_EDGE_DEBUG=1 shows the traceback."""
    try:
        app()
    except ZenEdgeError as error:
        _end(error, str(error), error.exit_status)
    except KeyboardInterrupt:
        typer.echo("zen-edge: interrupted", err=True)
        sys.exit(130)
    except BrokenPipeError:  # the reader of stdout has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        _end(error, f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}", 1)


def _end(error: BaseException, text: str, status: int) -> None:
    if os.environ.get("ZEN_EDGE_DEBUG") == "1":
        raise error
    from zen_edge.checked import printable

    typer.echo(f"zen-edge: {printable(' '.join(text.split()))}", err=True)
    sys.exit(status)


from zen_edge.cli import bench, demo, doctor, export, inspect, parity, run  # noqa: E402, F401 - each registers its command on `app`

"""The command line, in this process and in one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from zen_edge.cli import app


@pytest.fixture
def zen() -> Callable[..., Result]:
    """zen("run", bundle, "text", input=b"..."): a command through typer's runner."""

    def invoke(*arguments: object, input: bytes | str | None = None, **environment: str) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments], input=input, env=environment)

    return invoke


@pytest.fixture
def process() -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """The same in a process of its own."""

    def invoke(*arguments: object, input: bytes = b"", cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "zen_edge", *map(str, arguments)]
        return subprocess.run(command, input=input, capture_output=True, cwd=cwd, env={**os.environ, **environment}, timeout=300, check=False)

    return invoke

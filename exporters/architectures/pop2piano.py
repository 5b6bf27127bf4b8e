"""Pop2Piano: pop music to notes of a piano."""

from typing import Any

NEAREST = "whisper"


def refuse(config: Any) -> str | None:
    return "writes notes of music, which are not exported"

"""What the bytes of a sound file say that libsndfile does not."""

from __future__ import annotations

from pathlib import Path

PAGE = 27 + 255 + 255 * 255  # bytes of an Ogg page at most (RFC 3533)


def of_another_kind(source: str | Path | bytes) -> str:
    """What holds sound that is not read here, such as "WebM or Matroska"; "" for other bytes."""
    begin = source[:12] if isinstance(source, bytes) else _read(Path(source), 0, 12)
    return "WebM or Matroska" if begin[:4] == b"\x1aE\xdf\xa3" else "MP4 or M4A" if begin[4:8] == b"ftyp" else ""


def ends_within_a_page(source: str | Path | bytes) -> bool:
    """Of an Ogg file: whether it was cut off. Its header tells no length, and the end of a stream is often left unmarked."""
    end = source[-PAGE:] if isinstance(source, bytes) else _read(Path(source), -PAGE, PAGE)
    page = end[end.rfind(b"OggS\0") :]
    if page[:4] != b"OggS":
        return False
    lengths = page[27 : 27 + page[26]] if len(page) > 26 else b""
    return len(page) < 27 or len(lengths) < page[26] or len(page) < 27 + len(lengths) + sum(lengths)


def _read(path: Path, start: int, count: int) -> bytes:
    """start: below zero from the end."""
    with path.open("rb") as file:
        file.seek(max(start + path.stat().st_size, 0) if start < 0 else start)
        return file.read(count)

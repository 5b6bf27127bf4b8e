"""Tokens of a byte-level vocabulary (GPT-2's, and so BART's and Whisper's) as one can read them."""

from functools import cache


@cache
def _bytes() -> dict[str, int]:
    """GPT-2's character for each byte, the other way round: printable ones stand for themselves, the others for those from 256 on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + place): byte for place, byte in enumerate(others)}


def readable(token: str) -> str:
    """ "Ġworld" -> "▁world"; a part of a character as its bytes, "<E4BD>"."""
    known = _bytes()
    if not all(character in known for character in token):
        return token
    return spelled(bytes(known[character] for character in token))


def spelled(data: bytes) -> str:
    """What bytes say, with their spaces to be seen, or, where that is no whole character, the bytes themselves."""
    try:
        return data.decode().replace(" ", "▁")
    except UnicodeDecodeError:
        return f"<{data.hex().upper()}>"

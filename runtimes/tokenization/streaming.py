"""Text that is shown while it is generated: each push gives what no later token can change."""

import re
from collections.abc import Callable, Sequence

from zen_edge.runtimes.text.scripts import UNSPACED

# The end of what is safe: before the last white space (the word after it may go on, and clean-up may still take the space away), or
# after the last character of a script that writes no spaces.
_SAFE = re.compile(rf".*(?:(?=\s)|{UNSPACED})", re.DOTALL)


class TextStream:
    """The pieces of `push` and the last one of `close` together are exactly `decode(all tokens)`.

    Each push decodes all tokens so far: decoding a later part alone would lose spaces and split characters, and whole texts are cheap
    (tens of microseconds for 64 tokens).
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._shown = ""

    def push(self, tokens_so_far: Sequence[int]) -> str:
        """New text that is final: whole words, no half-decoded characters. Often empty."""
        text = self._decode(tokens_so_far)
        match = _SAFE.match(text.rstrip("\ufffd").rstrip())
        safe = match.group().rstrip() if match else ""
        return self._show(safe) if safe.startswith(self._shown) else ""

    def close(self, tokens: Sequence[int]) -> str:
        """The rest. Raises ValueError when `tokens` do not go on from those pushed, so that what was shown is not their text."""
        text = self._decode(tokens)
        if not text.startswith(self._shown):
            raise ValueError(f"the text shown so far, {self._shown!r}, is not the beginning of {text!r}: the tokens pushed were others.")
        return self._show(text)

    def _show(self, text: str) -> str:
        new, self._shown = text[len(self._shown) :], text
        return new

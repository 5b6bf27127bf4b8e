"""Tokens of bytes as one can read them; those of each kind are in tests/tokenization/kinds."""

from __future__ import annotations

import pytest
from transformers.convert_slow_tokenizer import bytes_to_unicode

from zen_edge.runtimes.tokenization.byte_pieces import readable


@pytest.mark.parametrize(
    ("token", "shown"),
    [("Ġworld", "▁world"), ("cafÃ©", "café"), ("ä½łå¥½", "你好"), ("ä½", "<E4BD>"), ("Ċ", "\n"), ("你", "你"), ("<|fr|>", "<|fr|>")],
)
def test_what_they_say(token, shown):
    assert readable(token) == shown


def test_every_byte_has_its_character():
    for byte, character in bytes_to_unicode().items():
        assert readable(character) == ("▁" if byte == 32 else chr(byte) if byte < 128 else f"<{byte:02X}>")

"""What every kind of tokenizer does to text, whatever its vocabulary."""

from zen_edge.errors import InputError

# transformers' clean_up_tokenization: English spacing, in this order.
_SPACING = (
    (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
)  # fmt: skip


def require_unicode(text: str) -> None:
    """Raise InputError where `text` holds half a surrogate pair: UTF-8, and so sentencepiece, cannot hold it."""
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"the text is not valid Unicode: character {error.start} is the lone surrogate {text[error.start]!a}. "
            'Read the input as UTF-8, or mend it with text.encode("utf-8", "replace").decode().'
        ) from None


def clean_up_spaces(text: str) -> str:
    """Join English punctuation and contractions with the word before them, as `clean_up_tokenization_spaces` asks."""
    for spaced, joined in _SPACING:
        text = text.replace(spaced, joined)
    return text


def unnamed(id: int) -> str:
    """How an id is shown that no vocabulary names."""
    return f"<{id}>"

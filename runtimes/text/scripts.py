"""Scripts that write no space between words and sentences."""

import re

# A character of them, as a class of a regular expression: Han, bopomofo and kana, with their radicals, punctuation and full-width forms.
UNSPACED = r"[\u2e80-\u2fdf\u3000-\u30ff\u3105-\u312f\u31a0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]"
_UNSPACED = re.compile(UNSPACED)


def touches_unspaced(left: str, right: str) -> bool:
    """Whether the last character of `left` or the first of `right` is of such a script."""
    return bool(_UNSPACED.match(left[-1:]) or _UNSPACED.match(right[:1]))

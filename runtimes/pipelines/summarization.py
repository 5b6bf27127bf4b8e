"""Summarization: a text to a shorter one."""

from typing import ClassVar

from zen_edge.runtimes.pipelines.text_to_text import TextToText
from zen_edge.runtimes.text.documents import SUMMARIZE, Treatment

__all__ = ["Pipeline"]


class Pipeline(TextToText):
    treatment: ClassVar[Treatment] = SUMMARIZE

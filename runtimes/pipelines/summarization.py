"""Summarization: a text to a shorter one."""

from zen_edge.runtimes.pipelines.text_to_text import TextToText as Pipeline

__all__ = ["Pipeline"]

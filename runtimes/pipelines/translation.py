"""Translation: one line of text to one line in another language."""

from zen_edge.runtimes.pipelines.text_to_text import TextToText as Pipeline

__all__ = ["Pipeline"]

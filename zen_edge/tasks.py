"""The tasks a bundle can be for, by their names on the command line."""

from zen_edge.errors import ZenEdgeError

# Those of one graph, the encoder, and what it gives.
ENCODER_OUTPUTS = {
    "question-answering": ("start_logits", "end_logits"),
    "text-classification": ("logits",),
    "token-classification": ("logits",),
    "text-embedding": ("last_hidden_state",),
    "fill-mask": ("logits",),
}
SEQUENCE_TO_SEQUENCE = "sequence-to-sequence"  # an encoder and a step of one's own
TASKS = ("translation", "summarization", "speech-recognition", *ENCODER_OUTPUTS, "module", SEQUENCE_TO_SEQUENCE)


def require_task(task: str | None) -> None:
    """ZenEdgeError for a name that is none of them; None is one that is still to be found."""
    if task is not None and task not in TASKS:
        raise ZenEdgeError(f"task {task!r} is not known; there are: {', '.join(TASKS)}.")

"""The tasks a bundle can be for, and what each takes in."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """name: as on the command line. graphs: the graphs a bundle of this task holds, in the order they run."""

    name: str
    graphs: tuple[str, ...]


TASKS = {
    task.name: task
    for task in (
        Task("translation", ("encoder", "decoder")),
        Task("summarization", ("encoder", "decoder")),
        Task("speech-recognition", ("encoder", "decoder")),
    )
}

"""The tasks a bundle can be for, by their names on the command line."""

TASKS = ("translation", "summarization", "speech-recognition")

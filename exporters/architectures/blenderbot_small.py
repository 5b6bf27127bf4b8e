"""Blenderbot: a partner in dialogue; of the tasks here, translation is the one that gives a line for a line."""

TASK = "translation"
NOTE = "blenderbot answers in a dialogue; exported as translation, the task that gives a line for a line"

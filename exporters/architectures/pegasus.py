"""Pegasus: trained to summarize."""

TASK = "summarization"
NOTE = "taken for summarization, as most Pegasus checkpoints are; give --task for another"

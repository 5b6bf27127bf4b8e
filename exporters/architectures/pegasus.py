"""Pegasus: trained to summarize."""

TASK = "summarization"

"""Text longer than a model: cut at sentences, put together again with its own spacing, and looked over for loops.

Knows strings and spans only; what a piece turns into is asked of a function.
"""

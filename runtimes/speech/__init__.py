"""Speech to text with an encoder-decoder: prompts, windows, segments, and the times of words. Pipelines put them together."""

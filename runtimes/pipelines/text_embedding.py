"""Text in, one vector out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding

from zen_edge.errors import OptionError, ZenEdgeError
from zen_edge.manifest import Manifest
from zen_edge.runtimes.encoder import Row
from zen_edge.runtimes.pipelines.encoder_pipeline import EncoderPipeline, require_text
from zen_edge.runtimes.pipelines.pooling import Pooling
from zen_edge.runtimes.providers import Device

OPTIONS = ("overflow", "prompt", "prompt_name")


@dataclass(frozen=True, eq=False)
class Embedding:
    """vector: (E,) float32."""

    vector: NDArray[np.float32]

    @property
    def text(self) -> str:
        """The numbers, as many digits as tell them from others."""
        return " ".join(map(str, self.vector))

    def to_json(self) -> dict[str, Any]:
        return {"embedding": [float(str(number)) for number in self.vector]}


@dataclass(frozen=True)
class Settings:
    """The options of one call, checked. prompt: what stands before each text. skipped: its tokens that are not pooled."""

    prompt: str
    skipped: int
    truncate: bool


class Pipeline(EncoderPipeline):
    """A loaded bundle. Safe to share between threads; freed when it is let go of, or at the end of `with`.

    A text longer than the model takes raises InputError, unless `overflow="truncate"` asks for its beginning. `prompt_name` chooses what stands before
    each text among the checkpoint's prompts, `prompt` is one of your own.
    """

    def __init__(self, folder: Path, manifest: Manifest, *, device: Device = "cpu", threads: int | None = None) -> None:
        super().__init__(folder, manifest, device=device, threads=threads)
        self._pooling = Pooling.load(folder, manifest.head)
        self._most = min(self._most, manifest.head.get("max_length", self._most))

    def __call__(self, inputs: str | Sequence[str], /, **options: Any) -> NDArray[np.float32]:
        """(E,) for one text, (B,E) for several in their order. Raises the InputError of the first that has no vector."""
        texts = [inputs] if isinstance(inputs, str) else inputs
        vectors: list[NDArray[np.float32]] = [found.vector for (found,) in self._best(texts, options)]
        if isinstance(inputs, str):
            return vectors[0]
        return np.stack(vectors) if vectors else np.zeros((0, 0), np.float32)

    def generate_each(self, inputs: Sequence[str], /, **options: Any) -> list[list[Embedding] | ZenEdgeError]:
        """The vector of each text, in a list of one, or the error of a text that has none."""
        settings = self._settings(options)

        def row(text: str) -> tuple[None, Row]:
            encoding = self._encoding(settings.prompt + require_text(text), truncate=settings.truncate)
            return None, {"input_ids": encoding.ids, "token_type_ids": encoding.type_ids}

        return self._each(inputs, row, lambda _, outputs: Embedding(self._pooling(outputs["last_hidden_state"], settings.skipped)))

    def _settings(self, options: Mapping[str, Any]) -> Settings:
        """Raises OptionError."""
        given = self._known(options, OPTIONS)
        prompt = self._prompt(given)
        skips = prompt and not self.manifest.head.get("include_prompt", True)
        return Settings(prompt, self._prompt_tokens(prompt) if skips else 0, self._truncates(given))

    def _attended(self, text: str, pair: str | None) -> Encoding:
        return super()._attended(self._prompt({}) + text, pair)

    def _prompt(self, given: Mapping[str, Any]) -> str:
        prompts = self.manifest.head.get("prompts") or {}
        if "prompt" in given:
            if not isinstance(given["prompt"], str) or "prompt_name" in given:
                raise OptionError("prompt must be a text, and prompt_name left out beside it.")
            return str(given["prompt"])
        name = given.get("prompt_name", self.manifest.head.get("default_prompt"))
        if name is None:
            return ""
        if name not in prompts:
            raise OptionError(f"prompt_name={name!r} is not one of the model's: {', '.join(prompts) or 'it has none'}.")
        return str(prompts[name])

    def _prompt_tokens(self, prompt: str) -> int:
        """The special tokens before it counted in, those after it not."""
        encoding = self._tokenizer.encoding(prompt)
        return len(encoding) - int(bool(encoding.special_tokens_mask[-1]))

"""A question and a context in, the part of the context that answers it out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from tokenizers import Encoding

from zen_edge.errors import InputError, OptionError, ZenEdgeError
from zen_edge.runtimes.encoder import Encoder
from zen_edge.runtimes.pipelines.answers import Answer, Wanted, Window, find_answers
from zen_edge.runtimes.pipelines.encoder_pipeline import EncoderPipeline, whole_number

LONGEST = 384  # tokens of a window, where nothing else is asked for
TOGETHER = 256  # windows whose scores are kept at a time
WHOLE = {"top_k": 1, "max_answer_len": 1, "max_seq_len": 1, "max_question_len": 1, "doc_stride": 0}  # options that are numbers, from which on
NOTHING = Answer("", 0.0, 0, 0)  # where every probability is too small for a number
SWITCHES = ("handle_impossible_answer", "align_to_words")

Question = Mapping[str, str]
"""{"question": ..., "context": ...}"""


@dataclass(frozen=True)
class Settings:
    """The options of one call, checked."""

    max_seq_len: int
    doc_stride: int | None = None
    max_question_len: int | None = None
    wanted: Wanted = field(default_factory=Wanted)


class Pipeline(EncoderPipeline):
    """A loaded bundle. Safe to share between threads; freed when it is let go of, or at the end of `with`.

    Options are those of transformers' pipeline: `top_k`, `handle_impossible_answer`, `max_answer_len`, `max_seq_len` (tokens of a window),
    `doc_stride` (tokens that windows share), `max_question_len` (a longer question is cut; without it none is) and `align_to_words`. A context longer than
    a window is read in several. Unknown options raise OptionError, a blank question or context InputError.
    """

    @property
    def max_seq_len(self) -> int:
        """Tokens of a window, where a call does not say."""
        return min(LONGEST, self._most)

    def __call__(self, *, question: str | Sequence[str], context: str | Sequence[str], **options: Any) -> Any:
        """The answer to one question; with `top_k` above 1 a list of the best. Of several questions, about one context or each about its own, a list of
        these. Raises the InputError of the first that cannot be answered."""
        found = self._best(_asked(question, context), options)
        answers = found if (options.get("top_k") or 1) > 1 else [best for best, *_ in found]
        return answers[0] if isinstance(question, str) and isinstance(context, str) else answers

    def generate_each(self, inputs: Sequence[Question], /, **options: Any) -> list[list[Answer] | ZenEdgeError]:
        """The answers to each question, best first, or the error of one that cannot be answered."""
        model, settings = self._open_model(), self._settings(options)
        return list(self._answers(model, inputs, settings))

    def _answers(self, model: Encoder, inputs: Sequence[Question], settings: Settings) -> Iterator[list[Answer] | ZenEdgeError]:
        """In the order of the inputs; so many at a time that there are windows for full batches."""
        group: list[tuple[str, list[Encoding]] | InputError] = []
        windows = 0
        for each in inputs:
            try:
                question, context = _texts(each)
                parts = self._tokenizer.windows(
                    question, context, most=settings.max_seq_len, stride=settings.doc_stride, first_most=settings.max_question_len
                )
                group.append((context, parts))
                windows += len(parts)
            except InputError as error:
                group.append(error)
            if windows >= TOGETHER:
                yield from self._group_answers(model, group, settings.wanted)
                group, windows = [], 0
        yield from self._group_answers(model, group, settings.wanted)

    def _group_answers(
        self, model: Encoder, group: Sequence[tuple[str, list[Encoding]] | InputError], wanted: Wanted
    ) -> Iterator[list[Answer] | ZenEdgeError]:
        encodings = [one for each in group if not isinstance(each, InputError) for one in each[1]]
        scores = dict(model.run([{"input_ids": one.ids, "token_type_ids": one.type_ids} for one in encodings])) if encodings else {}
        windows = (Window(one, scores[place]["start_logits"], scores[place]["end_logits"]) for place, one in enumerate(encodings))
        for each in group:
            if isinstance(each, InputError):
                yield each
                continue
            context, parts = each
            found = find_answers(context, islice(windows, len(parts)), self.manifest.head.get("cls_token_id"), wanted)
            yield found or [NOTHING]

    def _settings(self, options: Mapping[str, Any]) -> Settings:
        """Raises OptionError."""
        given = self._known(options, (*WHOLE, *SWITCHES))
        for name, least in WHOLE.items():
            whole_number(given, name, least, least)
        for name in SWITCHES:
            if not isinstance(given.get(name, True), bool):
                raise OptionError(f"{name} must be true or false, not {given[name]!r}.")
        most = given.pop("max_seq_len", self.max_seq_len)
        if most > self._most:
            raise OptionError(f"max_seq_len={most} is more than the {self._most} tokens that the model takes.")
        if given.get("doc_stride", 0) > most:
            raise OptionError(f"doc_stride={given['doc_stride']} is more than max_seq_len={most}.")
        windows = {name: given.pop(name, None) for name in ("doc_stride", "max_question_len")}
        return Settings(most, **windows, wanted=Wanted(**given))


def _asked(question: str | Sequence[str], context: str | Sequence[str]) -> list[Question]:
    """Each question with its context. Raises InputError for lists that do not go together."""
    if isinstance(question, str) and isinstance(context, str):
        return [{"question": question, "context": context}]
    if isinstance(question, Sequence) and isinstance(context, str):
        return [{"question": one, "context": context} for one in question]
    if isinstance(question, Sequence) and isinstance(context, Sequence) and not isinstance(question, str) and len(question) == len(context):
        return [{"question": one, "context": its} for one, its in zip(question, context, strict=True)]
    raise InputError("expected a question and a context, a list of questions with one context, or as many contexts as questions in lists.")


def _texts(given: Question) -> tuple[str, str]:
    """The question and the context. Raises InputError for what is no text or blank."""
    for name in ("question", "context"):
        text = given.get(name) if isinstance(given, Mapping) else None
        if not isinstance(text, str):
            raise InputError(f'expected {{"question": ..., "context": ...}} with a text each; {name} is of type {type(text).__name__}.')
        if not text.strip():
            raise InputError(f"the {name} is blank: give a text.")
    return given["question"], given["context"]

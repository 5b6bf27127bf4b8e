"""The options of a generation, under transformers' names and with transformers' defaults and precedence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from typing import Any, Literal, Self

from zen_edge.errors import OptionError
from zen_edge.runtimes.decoding.checks import check_most, check_number, check_whole, token_ids
from zen_edge.runtimes.decoding.rule import ByInput, Rule, RuleOptions, Setting
from zen_edge.runtimes.decoding.rules import option_classes
from zen_edge.runtimes.decoding.unsupported import NEUTRAL, SAMPLING_ONLY, changes_output

DEFAULT_NEW_TOKENS = 20  # transformers' own, when nothing says how long
MOST_BEAMS = 256  # seconds a line on a small model; translations get worse long before (Koehn and Knowles 2017, section 3.6)


@dataclass(frozen=True)
class GenerationOptions:
    """Lengths count decoder ids; max_length counts the decoder's start, max_new_tokens does not and wins when both are given.

    seed is our own: with it, sampling gives the same sequences for the same input and options, whatever else is in the batch. With
    prompt_lookup_num_tokens greedy search of a single input checks that many looked-up tokens in one step (see draft.py).
    """

    num_beams: int = 1
    num_return_sequences: int = 1
    length_penalty: float = 1.0
    early_stopping: bool | Literal["never"] = False
    do_sample: bool = False
    prompt_lookup_num_tokens: int | None = None
    max_matching_ngram_size: int | None = None
    seed: int | None = None
    max_new_tokens: int | None = None
    max_length: int | None = None
    eos_token_id: int | list[int] | tuple[int, ...] | None = None
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    decoder_start_token_id: int | None = None
    rules: tuple[RuleOptions, ...] = field(default_factory=lambda: tuple(options() for options in option_classes()))

    def __post_init__(self) -> None:
        check_whole("num_beams", self.num_beams, 1)
        check_most("num_beams", self.num_beams, MOST_BEAMS, "time and memory grow with every beam, and results do not get better")
        check_whole("num_return_sequences", self.num_return_sequences, 1)
        check_number("length_penalty", self.length_penalty)
        if not isinstance(self.early_stopping, bool) and self.early_stopping != "never":
            raise OptionError(f"early_stopping must be true, false or 'never', not {self.early_stopping!r}.")
        if not isinstance(self.do_sample, bool):
            raise OptionError(f"do_sample must be true or false, not {self.do_sample!r}.")
        if self.seed is not None:
            check_whole("seed", self.seed, 0)
        for name in ("max_new_tokens", "max_length", "prompt_lookup_num_tokens", "max_matching_ngram_size"):
            if getattr(self, name) is not None:
                check_whole(name, getattr(self, name), 1)
        token_ids("eos_token_id", self.eos_token_id)
        for name in ("pad_token_id", "bos_token_id", "decoder_start_token_id"):
            if getattr(self, name) is not None:
                check_whole(name, getattr(self, name), 0)
        if self.prompt_lookup_num_tokens is not None and (self.num_beams > 1 or self.do_sample):
            raise OptionError("prompt_lookup_num_tokens is for greedy search: give num_beams=1 and do_sample=False with it.")
        if self.num_return_sequences > self.num_beams and not (self.do_sample and self.num_beams == 1):
            raise OptionError(
                f"num_return_sequences is {self.num_return_sequences}, but a search with num_beams={self.num_beams} finds no more than that"
                f"{' (sampling with num_beams=1 does).' if self.num_beams == 1 or self.do_sample else '.'}"
            )

    @classmethod
    def from_defaults(cls, defaults: Mapping[str, Any], **overrides: Any) -> Self:
        """What the caller asks for, over what the checkpoint's generation_config says, over transformers' defaults.

        An override of None sets an option back to transformers' default. Raises OptionError for an override that is unknown,
        of the wrong kind or out of range, and for anything that would change the output and cannot be honoured.
        """
        own = {option.name for option in fields(cls)} - {"rules"}
        known = option_names()
        merged = {name: value for name, value in {**defaults, **overrides}.items() if value is not None}
        for name in sorted(overrides.keys() - known):
            if name not in NEUTRAL:
                raise OptionError(unknown_option(name, known))
            if changes_output(name, overrides[name]):
                raise OptionError(f"{name}={overrides[name]!r} is not supported; {_instead(name)}.")
        if not merged.get("do_sample"):
            merged = {name: value for name, value in merged.items() if name in overrides or name not in SAMPLING_ONLY}
        for name in sorted(overrides.keys() & SAMPLING_ONLY.keys() & known):
            if not merged.get("do_sample") and overrides[name] not in (None, *SAMPLING_ONLY[name]):
                raise OptionError(f"{name}={overrides[name]!r} is not supported without sampling: set do_sample to True, or leave it out.")
        for name in sorted(merged.keys() - known - overrides.keys()):
            if changes_output(name, merged[name]):
                raise OptionError(f"The checkpoint's generation_config asks for {name}={merged[name]!r}, which is not supported; {_instead(name)}.")
        return cls(
            **{name: merged[name] for name in own & merged.keys()},
            rules=tuple(
                options(**{option.name: merged[option.name] for option in fields(options) if option.name in merged}) for options in option_classes()
            ),
        )

    def as_dict(self) -> dict[str, Any]:
        """Every option by name, those of the rules included; `from_defaults` takes it back."""
        own = {option.name: getattr(self, option.name) for option in fields(self) if option.name != "rules"}
        return own | {option.name: getattr(options, option.name) for options in self.rules for option in fields(options)}

    @property
    def eos_token_ids(self) -> tuple[int, ...]:
        return token_ids("eos_token_id", self.eos_token_id)

    @property
    def filler_token_id(self) -> int:
        """What finished rows are fed with; it appears in no result."""
        return self.pad_token_id if self.pad_token_id is not None else next(iter(self.eos_token_ids), 0)

    @property
    def start_token_id(self) -> int:
        """The id the decoder starts from. Raises OptionError when neither it nor the bos token is known."""
        start = self.decoder_start_token_id if self.decoder_start_token_id is not None else self.bos_token_id
        if start is None:
            raise OptionError("The decoder has nothing to start from: set decoder_start_token_id (or bos_token_id).")
        return start

    def length_limit(self, start_length: int) -> int:
        """The largest number of decoder ids, start included. Raises OptionError when the start leaves no room."""
        if self.max_new_tokens is not None:
            return start_length + self.max_new_tokens
        if self.max_length is None:
            return start_length + DEFAULT_NEW_TOKENS
        if self.max_length <= start_length:
            raise OptionError(f"max_length is {self.max_length}, but the decoder starts with {start_length} ids: give max_new_tokens instead.")
        return self.max_length

    def active_rules(self, start_length: int, vocab_size: int, encoder_ids: Sequence[Sequence[int]] | None = None) -> tuple[Rule | ByInput, ...]:
        """The logits rules these options ask for, in the order in which they apply."""
        setting = Setting(start_length, self.length_limit(start_length), vocab_size, self.eos_token_ids, self.as_dict(), encoder_ids)
        return tuple(rule for options in self.rules if (rule := options.rule(setting)) is not None)


def option_names() -> set[str]:
    """Every option of a generation, those of the rules included."""
    of_rules = {option.name for rule in option_classes() for option in fields(rule)}
    return of_rules | {option.name for option in fields(GenerationOptions)} - {"rules"}


def unknown_option(name: str, known: set[str]) -> str:
    """What to say of a name that is not among those `known`."""
    nearest = get_close_matches(name, known, n=1)
    return (
        f"There is no generation option {name}{f'; did you mean {nearest[0]}?' if nearest else '.'} There are: {', '.join(sorted(known))}. "
        "(A new logits rule is a file in runtimes/decoding/rules/.)"
    )


def _instead(name: str) -> str:
    return "set it to None to decode without it"

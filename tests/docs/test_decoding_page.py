"""docs/decoding.md names every option there is, and none that is not."""

from __future__ import annotations

import ast
import re
from dataclasses import fields
from pathlib import Path

import pytest

from zen_edge.errors import OptionError
from zen_edge.runtimes.decoding import GenerationOptions
from zen_edge.runtimes.decoding.options import option_names
from zen_edge.runtimes.decoding.unsupported import NEUTRAL, SAMPLING_ONLY
from zen_edge.runtimes.pipelines.names import ELSEWHERE, OWN, check_names
from zen_edge.runtimes.pipelines.settings import Settings

PAGE = (Path(__file__).parents[2] / "docs" / "decoding.md").read_text("utf-8")
ROWS = re.findall(r"^\| `(\w+)` \| `(.+?)` \| (.+) \| (.+) \|$", PAGE, re.M)


def section(title: str) -> str:
    return PAGE.split(f"## {title}\n")[1].split("\n## ")[0]


def test_every_option_has_one_row():
    assert sorted(name for name, *_ in ROWS) == sorted(option_names() | set(OWN))


def test_defaults_are_the_real_ones():
    real = GenerationOptions().as_dict() | {option.name: option.default for option in fields(Settings)} | {"decoder_prefix": None}
    for name, default, *_ in ROWS:
        assert ast.literal_eval(default) == real[name], name


def test_the_section_of_sampling_is_what_needs_it():
    named = set(re.findall(r"^\| `(\w+)`", section("Sampling"), re.M))
    assert named == SAMPLING_ONLY.keys() & option_names()


def test_what_is_refused_is_listed():
    assert set(re.findall(r"`(\w+)`", section("What is refused"))) - {"should_stop"} == NEUTRAL.keys()


def test_other_names_exist():
    """Every option that a sentence of the page names, and every name that an error suggests."""
    spoken = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", "\n".join(line for line in PAGE.splitlines() if not line.startswith("| "))))
    others = {"log_probs", "generate_each"}
    assert spoken - others <= option_names() | set(OWN) | NEUTRAL.keys()
    check_names(option_names() | set(OWN) | NEUTRAL.keys())
    for name, hint in ELSEWHERE.items():
        assert name not in option_names() | set(OWN) | NEUTRAL.keys()
        with pytest.raises(OptionError, match=f"no generation option {name}; {re.escape(hint)}"):
            check_names([name])
        first = hint.split()[0].split("=")[0]
        assert first in {*OWN, "a", "generate()", "stream()"}

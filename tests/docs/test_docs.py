"""Every path and command that the documents name is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer.main

from zen_edge.cli import app

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
TOPS = ("zen_edge", "exporters", "runtimes", "benchmarks", "tests", "docs", ".ci")
FILES = ("Makefile", "pyproject.toml", "constraints.txt", "LICENSE", "README.md", "CONTRIBUTING.md")
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def code_of(text: str) -> list[str]:
    """Every code span and every line of a fenced or indented block."""
    fenced = re.findall(r"^```.*?\n(.*?)^```", text, re.M | re.S)
    rest = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    blocks = [line for block in fenced for line in block.splitlines()] + re.findall(r"^(?: {4}|\t)(.+)$", rest, re.M)
    return [line.strip() for line in blocks] + [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", rest)]


def words_of(code: str) -> list[str]:
    try:
        return shlex.split(code, comments=True)
    except ValueError:  # an apostrophe in a comment or a prompt
        return code.split("#")[0].split()


def all_code() -> list[tuple[str, str]]:
    return [(path.name, code) for path in DOCUMENTS for code in code_of(path.read_text("utf-8"))]


def test_the_documents_hold_code():
    assert {"README.md", "CONTRIBUTING.md"} <= {name for name, _ in all_code()}
    assert len(all_code()) > 40


def test_paths_exist():
    checked = 0
    for document, code in all_code():
        for word in re.findall(r"[\w./<>*-]+", code):
            path = word.rstrip(".")
            if not (path in FILES or path.startswith(tuple(f"{top}/" for top in TOPS))):
                continue
            checked += 1
            path = re.sub(r"<[^>]*>", "*", path)  # `exporters/fusions/<name>.py` stands for any
            found = list(ROOT.glob(path.rstrip("/"))) if "*" in path else [ROOT / path] if (ROOT / path).exists() else []
            assert found, f"{document} names {word}, which is not there"
    assert checked > 20


def test_links_lead_somewhere():
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text("utf-8")):
            if "://" in target or target.startswith("#"):
                continue
            assert (document.parent / target.split("#")[0]).exists(), f"{document.name} links to {target}, which is not there"


def test_commands_and_their_options_exist():
    checked = 0
    for document, code in all_code():
        words = words_of(code)
        if not words or words[0] != "zen-edge" or len(words) == 1:
            continue
        name = words[1]
        if name.startswith("-"):
            continue
        assert name in COMMANDS, f"{document}: `{code}` is no command"
        checked += 1
        known = {option for parameter in COMMANDS[name].params for option in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}
        for word in words[2:]:
            flag = word.split("=")[0].strip("[]")
            if flag.startswith("-") and flag != "-":
                assert flag in known, f"{document}: `{code}` has {flag}, which {name} does not know"
    assert checked > 5


def test_lone_options_belong_to_a_command():
    """`--bisect` in a sentence."""
    known = {option for command in COMMANDS.values() for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for document, code in all_code():
        if code.startswith("--"):
            assert code.split()[0].split("=")[0] in known | {"--help", "--version"}, f"{document} names {code}"


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    named = {words[1] for _, code in all_code() if (words := words_of(code)) and words[0] == "make" and len(words) > 1}
    assert named >= {"demo", "test"}
    assert named <= targets


def test_extras_exist():
    import tomllib

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    for document, code in all_code():
        for names in re.findall(r"(?:zen-edge|\.)\[([a-z,]+)\]", code):
            assert set(names.split(",")) <= extras.keys(), f"{document}: {code}"


@pytest.mark.parametrize("name", ["num_beams", "begin_suppress_tokens"])
def test_generation_options_in_the_readme_are_honoured(name):
    from zen_edge.runtimes.decoding import GenerationOptions
    from zen_edge.runtimes.pipelines.names import OWN

    listed = (ROOT / "README.md").read_text("utf-8").split("## Decoding")[1].split("##")[0]
    options = set(re.findall(r"`([a-z]+_[a-z_]+)`", listed))
    assert name in options
    assert options <= GenerationOptions().as_dict().keys() | set(OWN)

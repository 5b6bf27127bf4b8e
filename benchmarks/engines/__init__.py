"""The engines a bundle can be compared with, one file each; the folder is the registry.

A file imports nothing but the standard library at its top, because the worker runs it by its path, and defines:

    PRECISIONS   names, the default first
    PACKAGES     distributions it needs, whose versions are told
    INSTALL      what to do when one of them is missing
    DEVICES      (optional) where it is measured, "cpu" alone unless told; its loads then take device="cpu" as well
    KEEPS_WEIGHTS (optional) whether its loads take memory=None as well, as `zen_edge.load` does
    ENVIRONMENT  (optional) pip requirements: it runs in an environment of its own, made on first use
    convert(model, out, precision, task)  (optional) writes the folder it loads; not timed
    load(folder, precision, threads)      returns translate(texts, num_beams, max_new_tokens, exactly), which
                                          returns the texts and a function that counts the tokens of each
    load_speech(folder, precision, threads)   the same for speech: the texts it is given are paths of sound files

    load_encoder(folder, precision, threads, task)   the same for text-embedding, whose "texts" that come back are vectors as lists, and for
                                          question-answering, where those it is given are {"question", "context"} as JSON

One of the loads is enough. A function that `load_speech` returns may have attributes `encoder_seconds` and `encoder_windows`, functions:
of the last call, and how many windows or utterances the encoder was given in it.

`exactly` asks for max_new_tokens tokens, no fewer. Tokens are counted after the decoder's start, the end token included.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import pkgutil
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType

from zen_edge.errors import MissingDependencyError, ZenEdgeError

SPEECH, EMBEDDING, ANSWERS = "speech-recognition", "text-embedding", "question-answering"


@dataclass(frozen=True)
class Engine:
    """name: as reports show it. file: what the worker runs."""

    name: str
    file: Path
    precisions: tuple[str, ...]
    packages: tuple[str, ...]
    install: str
    environment: tuple[str, ...]
    converts: bool
    speech: bool = False  # hears
    text: bool = True  # writes texts
    encoder: bool = False  # reads texts and writes none

    def require_task(self, task: str) -> None:
        """ZenEdgeError for a task of another kind than it has a load for."""
        kind = {SPEECH: "speech", EMBEDDING: "encoder", ANSWERS: "encoder"}.get(task, "text")
        if not getattr(self, kind):
            able = [name for name in known() if name != "zen_edge" and getattr(engine(name), kind)]
            raise ZenEdgeError(f"not for {task}; there are: {', '.join(able)}.")

    def require_installed(self) -> None:
        """MissingDependencyError if it runs in this environment and a package is missing."""
        if self.environment:
            return
        for package in self.packages:
            try:
                importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                raise MissingDependencyError(f"{package}: not installed: {self.install}") from None


def known() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def engine(name: str) -> Engine:
    """ZenEdgeError for a name that has no file."""
    if name not in known():
        near = get_close_matches(name, known(), n=1)
        raise ZenEdgeError(
            f"there is no engine {name!r}{f'; did you mean {near[0]}?' if near else '.'} There are: {', '.join(known())}. "
            f"(A new engine is a file benchmarks/engines/{name if name.isidentifier() else 'NAME'}.py.)"
        )
    return described(name.replace("_", "-"), importlib.import_module(f"{__name__}.{name}"))


def described(name: str, module: ModuleType) -> Engine:
    """The engine that a file describes."""
    return Engine(
        name,
        Path(str(module.__file__)),
        module.PRECISIONS,
        module.PACKAGES,
        module.INSTALL,
        getattr(module, "ENVIRONMENT", ()),
        hasattr(module, "convert"),
        speech=hasattr(module, "load_speech"),
        text=hasattr(module, "load"),
        encoder=hasattr(module, "load_encoder"),
    )

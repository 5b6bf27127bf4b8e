"""What is declared and what is not: one clear line for each adapter that does not fit."""

import dataclasses

import pytest
import torch
from torch import nn

import zen_edge
from zen_edge.errors import InputError, ModuleError, OptionError
from zen_edge.exporters import Seq2Seq, Vocabulary
from zen_edge.exporters.own_seq2seq import own_seq2seq


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(9, 4)

    def forward(self, ids, mask):
        memory = self.words(ids) * mask[..., None]
        return {"memory": memory, "state": memory.sum(1)}


class Step(nn.Module):
    def __init__(self):
        super().__init__()
        self.out = nn.Linear(4, 9)

    def forward(self, token, state, memory, mask):
        return {"scores": self.out(state), "state": state + memory.mean(1)}


def returning(change):
    """A step that returns something else."""

    class Changed(Step):
        def forward(self, token, state, memory, mask):
            return change(super().forward(token, state, memory, mask))

    return Changed()


class Wanting(Step):
    def forward(self, token, state, context):
        return {"scores": self.out(state), "state": state}


class Tuples(Encoder):
    def forward(self, ids, mask):
        return tuple(super().forward(ids, mask).values())


class Summed(Encoder):
    def forward(self, ids, mask):
        return super().forward(ids, mask) | {"memory": self.words(ids).sum(0)}


class Flat(Encoder):
    def forward(self, ids, mask):
        return super().forward(ids, mask) | {"memory": self.words(ids).flatten(0, 1)}


GOOD = {"encoder": Encoder(), "step": Step(), "start_token": 1, "end_token": 2}


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ({"start_token": None}, "start_token is None; expected the id of a word"),
        ({"start_token": 9}, "start_token is 9, and the step's scores have 9 words, 0 to 8"),
        ({"end_token": 12}, "end_token is 12"),
        (
            {"step": returning(lambda found: {"state": found["state"]})},
            r"returns no 'scores'; it returns state \[2, 4\]. Expected 'scores' of the shape \[2, words\]",
        ),
        (
            {"step": returning(lambda found: found | {"scores": found["scores"][:, None]})},
            r"'scores' has the shape \[2, 1, 9\]; expected \[2, words\]",
        ),
        (
            {"step": returning(lambda found: found | {"state": torch.cat([found["state"]] * 2, -1)})},
            r"the state 'state' has the shape \[2, 8\] \(torch.float32\) after a step; expected \[2, 4\]",
        ),
        (
            {"step": returning(lambda found: found | {"state": found["state"].double()})},
            r"\[2, 4\] \(torch.float64\) after a step; expected \[2, 4\]",
        ),
        ({"step": returning(lambda found: found | {"cell": found["state"]})}, r"returns cell \[2, 4\], for which the encoder gives no first value"),
        ({"step": returning(lambda found: {"scores": found["scores"]})}, "returns none of what the encoder does .memory, state.: without a state"),
        ({"step": returning(lambda found: found | {"attention": found["scores"]})}, r"'attention' has the shape \[2, 9\]; expected \[2, 5\]"),
        ({"step": returning(lambda found: found["scores"])}, "the step returns a value of type Tensor; expected tensors by name"),
        ({"step": Wanting()}, "takes 'context', which is neither 'mask' nor one of what the encoder returns: memory, state"),
        ({"encoder": Tuples()}, 'the encoder returns a value of type tuple; expected tensors by name, {"memory": ..., "state": ...}'),
        ({"encoder": Summed()}, r"'memory' has the shape \[5, 4\] for 2 texts of 5 ids, \[5, 4\] for 3"),
        ({"encoder": lambda ids: ids}, "the encoder should be a torch.nn.Module, and is a value of type function"),
        ({"source": Vocabulary([str(i) for i in range(12)])}, "the source vocabulary has 12 entries, and the encoder's embedding has 9"),
        ({"target": Vocabulary(["a", "b", "c"])}, r"scores have the shape \[2, 9\]; expected 3 words"),
        ({"source": "no/such/tokenizer.json"}, "cannot be read as a tokenizer.json"),
    ],
)
def test_what_does_not_fit_is_told(declared, words):
    with pytest.raises(ModuleError, match=words) as raised:
        own_seq2seq(Seq2Seq(**GOOD | declared), "file.py:make")
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith("file.py:make: ")


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"entries": ["a", "b", "a"]}, "has the entry 'a' twice"),
        ({"entries": []}, "the entries of a vocabulary are texts"),
        ({"entries": ["a"], "unit": "syllables"}, "words or characters, not 'syllables'"),
        ({"entries": ["a"], "unknown": "<unk>"}, "has no entry '<unk>'"),
    ],
)
def test_vocabularies_are_looked_at(entries, words):
    with pytest.raises(OptionError, match=words):
        Vocabulary(**entries)


def test_state_and_memory_are_found():
    own = own_seq2seq(Seq2Seq(**GOOD))
    assert [(kept.name, kept.rows, kept.source) for kept in own.memory] == [("memory", 0, 1)]
    assert [(kept.name, kept.rows, kept.source) for kept in own.state] == [("state", 0, None)]
    assert (own.vocab_size, own.attends) == (9, False)
    assert not own.padded  # the mean over padding


def test_a_reader_that_hides_padding_is_found_to():
    class Masked(Step):
        def forward(self, token, state, memory, mask):
            return {"scores": self.out(state), "state": state + memory.sum(1)}

    assert own_seq2seq(Seq2Seq(**GOOD | {"step": Masked()})).padded


def test_other_tasks_and_inputs_are_refused(tmp_path):
    declared = Seq2Seq(**GOOD)
    for given, words in (
        ({"task": "module"}, "is for the task 'sequence-to-sequence', not 'module'"),
        ({"task": "translation"}, "'module' or 'sequence-to-sequence', not 'translation'"),
        ({"example_inputs": {}}, "a Seq2Seq takes no example inputs"),
        ({"dynamic": {"ids": {0: "B"}}}, "the free axes of a Seq2Seq are known"),
    ):
        with pytest.raises(OptionError, match=words):
            zen_edge.export(declared, tmp_path / "out", **given)
    assert not list(tmp_path.iterdir())


def test_words_are_what_was_declared():
    words = Vocabulary(["<unk>", "a", "b"], unknown="<unk>", lowercase=True)
    assert words.encode("A c  b") == [1, 0, 2]
    with pytest.raises(InputError, match="'c' is not in the vocabulary"):
        dataclasses.replace(words, unknown=None).encode("a c")

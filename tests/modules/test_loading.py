"""Factories and example inputs, and what is said of those that are wrong."""

import pytest
import torch
from torch import nn

from zen_edge.errors import ModuleError, OptionError
from zen_edge.exporters import find_own
from zen_edge.exporters.module_graph import trace_module
from zen_edge.exporters.own_module import load_factory, named_outputs, own_module


def test_a_factory_is_called_under_seed_0_whatever_was_drawn_before(factory):
    torch.manual_seed(7)
    before = torch.get_rng_state()
    one = load_factory(factory("textbook"))
    assert torch.equal(torch.get_rng_state(), before)
    torch.randn(3)
    other = load_factory(factory("textbook"))
    assert list(one.inputs) == ["query", "key", "value"]
    assert one.weights_hash() == other.weights_hash()
    assert torch.equal(one.inputs["query"], other.inputs["query"])


def test_a_factory_of_a_package(monkeypatch, tmp_path):
    (tmp_path / "some_package_of_ours").mkdir()
    (tmp_path / "some_package_of_ours" / "layers.py").write_text("import torch\ndef make():\n    return torch.nn.Linear(2, 3), (torch.ones(4, 2),)\n")
    monkeypatch.chdir(tmp_path)
    assert list(load_factory("some_package_of_ours.layers:make").inputs) == ["input"]


def test_a_module_of_pytorch_itself_and_a_checkpoint_are_told_apart(tmp_path):
    assert find_own("Helsinki-NLP/opus-mt-en-fr") is None
    assert find_own(tmp_path) is None
    assert list(find_own(nn.Linear(2, 2), torch.ones(1, 2)).inputs) == ["input"]
    with pytest.raises(OptionError, match="'module'"):
        find_own(nn.Linear(2, 2), torch.ones(1, 2), "translation")
    with pytest.raises(ModuleError, match=r"torch\.nn\.Module, and got a value of type int"):
        find_own(3)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("raises", ["the factory fails", "ValueError: no weights are here", "own_layers.py, line"]),
        ("alone", ["should return (module, example_inputs)", "a value of type Textbook"]),
        ("nothing", ["no factory 'nothing'", "textbook"]),
        ("number", ["not a factory"]),
        ("not_tensors", ["'query' is a list of 1", "tensors only"]),
        ("wrong_names", ["not what forward(query, key, value) takes"]),
    ],
)
def test_a_factory_that_is_wrong(factory, name, words):
    with pytest.raises(ModuleError) as raised:
        load_factory(factory(name))
    assert all(word in str(raised.value) for word in words), str(raised.value)
    assert "\n" not in str(raised.value)


def test_files_that_are_wrong(tmp_path):
    with pytest.raises(ModuleError, match=r"no file .*missing\.py"):
        load_factory(f"{tmp_path}/missing.py:make")
    (tmp_path / "broken.py").write_text("def make(:\n")
    with pytest.raises(ModuleError, match=r"SyntaxError.*broken\.py, line 1"):
        load_factory(f"{tmp_path}/broken.py:make")
    with pytest.raises(ModuleError, match="no module 'no_such_package_of_ours'"):
        load_factory("no_such_package_of_ours:make")


def test_the_layer_as_published_fails_in_words(factory):
    with pytest.raises(
        ModuleError, match=r"own_layers\.py, line .*torch\.sqrt takes a tensor and was given a Python number: write math\.sqrt\(d_k\)"
    ):
        trace_module(load_factory(factory("as_published")))


def test_what_is_random_is_refused(factory):
    with pytest.raises(ModuleError, match=r"differently each time .*F\.dropout without training"):
        trace_module(load_factory(factory("forgotten")))


def test_control_by_numbers_is_refused_with_its_place(factory):
    with pytest.raises(ModuleError, match=r"by the numbers in a tensor.*torch\.where.*own_layers\.py, line \d+: if query\.sum\(\) > 0"):
        trace_module(load_factory(factory("control")))


def test_names_of_outputs():
    x = torch.ones(2)
    assert list(named_outputs(x)) == ["output"]
    assert list(named_outputs((x, None, x + 1, [x]))) == ["output", "output_1", "output_2"]
    assert list(named_outputs({"a": x, "b": (x, {"c": x})})) == ["a", "b_0", "b_1_c"]
    with pytest.raises(ModuleError, match="a value of type int as 'n'"):
        named_outputs({"n": 3})
    with pytest.raises(ModuleError, match="returns no tensor but None"):
        named_outputs(None)


def test_arguments_of_every_kind():
    class Stars(nn.Module):
        def forward(self, x, *others, scale):
            return x + sum(others) * scale

    own = own_module(nn.Linear(1, 1), torch.ones(2, 1))
    assert list(own(own.inputs)) == ["output"]
    with pytest.raises(ModuleError, match="missing a required argument: 'scale'"):
        own_module(Stars(), (torch.ones(1), torch.ones(1)))
    with pytest.raises(ModuleError, match="a dict by argument name or a tuple in order"):
        own_module(Stars(), 3)


def test_training_mode_is_given_back(factory):
    own = load_factory(factory("heads"))
    own.module.train()
    own.module.out.eval()
    own(own.inputs)
    assert own.module.dropout.training
    assert not own.module.out.training

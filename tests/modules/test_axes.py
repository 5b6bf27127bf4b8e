"""Free axes: found by running the module at other sizes, or told."""

import pytest
import torch
from torch import nn

from zen_edge.errors import ModuleError, OptionError
from zen_edge.exporters.axes import declared_axes, find_axes, traced_inputs
from zen_edge.exporters.own_module import load_factory, own_module


class Of(nn.Module):
    def __init__(self, run):
        super().__init__()
        self.run = run

    def forward(self, x, y):
        return self.run(x, y)


def letters(own):
    axes, inputs = find_axes(own)
    own(inputs)
    sizes = [size for letter, size in axes.sizes(inputs).items()]
    assert len(set(sizes)) == len(sizes)
    return axes.letters


def test_of_the_textbook_layer(factory):
    assert letters(load_factory(factory("textbook"))) == {
        "B": (("query", 0), ("key", 0), ("value", 0)),
        "S": (("query", 1),),
        "T": (("key", 1), ("value", 1)),
    }


def test_an_example_of_one_row_and_one_word_pins_nothing():
    own = own_module(Of(lambda x, y: x @ y.transpose(1, 2) @ y), (torch.ones(1, 1, 8), torch.ones(1, 1, 8)))
    assert letters(own)["B"] == (("x", 0), ("y", 0))
    assert any(("x", 1) in group for group in letters(own).values())


def test_lengths_that_are_equal_by_chance_are_told_apart():
    own = own_module(Of(lambda x, y: x @ y.transpose(1, 2)), (torch.ones(2, 5, 8), torch.ones(2, 5, 8)))
    assert letters(own) == {"B": (("x", 0), ("y", 0)), "S": (("x", 1),), "T": (("y", 1),)}


def test_features_stay_and_other_last_axes_are_free():
    alone = own_module(Of(lambda x, y: torch.softmax(x @ x.mT, -1) @ x + y.sum()), (torch.ones(2, 5, 8), torch.ones(8)))
    assert ("x", 2) not in [axis for group in letters(alone).values() for axis in group]
    sound = own_module(Of(lambda x, y: nn.functional.conv1d(x, torch.ones(4, 3, 5)) + y.sum()), (torch.ones(2, 3, 40), torch.ones(4)))
    assert ("x", 2) in [axis for group in find_axes(sound)[0].letters.values() for axis in group]


def test_a_table_of_positions_bounds_and_a_fixed_axis_stays():
    positions = torch.randn(8, 4)
    own = own_module(Of(lambda x, y: x + positions[: x.shape[1]] + y), (torch.ones(2, 8, 4), torch.ones(4)))
    assert letters(own) == {"B": (("x", 0),), "S": (("x", 1),)}


def test_declared_axes():
    own = own_module(Of(lambda x, y: x + y), (torch.ones(2, 5), torch.ones(2, 5)))
    axes = declared_axes(own, {"x": {0: "B"}, "y": {0: "B"}})
    inputs = traced_inputs(own, axes)
    assert inputs["x"].shape[0] == inputs["y"].shape[0] not in (2, 5)
    assert inputs["x"].shape[1] == 5
    with pytest.raises(OptionError, match="names an input 'z'; the module's are: x, y"):
        declared_axes(own, {"z": {0: "B"}})
    with pytest.raises(OptionError, match="axis 2 of 'x', which has 2"):
        declared_axes(own, {"x": {2: "B"}})
    with pytest.raises(OptionError, match="different sizes"):
        declared_axes(own, {"x": {0: "B", 1: "B"}})
    with pytest.raises(ModuleError, match=r"axis 0 of 'x' free \(B\), but the module does not run at another size"):
        traced_inputs(own, declared_axes(own, {"x": {0: "B"}}))

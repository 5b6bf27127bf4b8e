"""What is printed of a search within a budget."""

from dataclasses import replace
from io import StringIO
from math import inf

import pytest
from rich.console import Console

from zen_edge.budget import Budget
from zen_edge.budget_report import print_found
from zen_edge.quantizing import Found, Point
from zen_edge.recipe import Recipe

FP32 = Point("fp32", Recipe.uniform("fp32"), 0.0, 27.0, 30.0, 1.0)
INT8 = replace(FP32, name="recipe 1", recipe=Recipe.uniform("int8"), megabytes=7.6, loss=0.2, held_out=0.3)


@pytest.mark.parametrize(
    ("to_be_sure", "told"),
    [
        (None, []),
        (2400.0, ["too few lines to be sure: with its standard error the loss is beyond the budget; about 2,400 lines like these 600 would tell"]),
        (inf, ["too few lines to be sure: with its standard error the loss is beyond the budget; give more, or a wider budget"]),
    ],
    ids=str,
)
def test_where_lines_are_too_few_to_be_sure_one_line_says_so(to_be_sure, told):
    found = Found(None, Budget.parse("bleu=0.5"), FP32, frozenset({"encoder"}), (INT8,), (INT8,), INT8, 0.3, 0.4, 600, to_be_sure)
    console = Console(record=True, width=80, file=StringIO())
    print_found(found, console)
    lines = console.export_text().splitlines()
    assert [line for line in lines if "sure" in line] == told

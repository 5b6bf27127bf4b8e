"""Where two tokens are as likely as each other, rounding decides: a tie is counted, not failed."""

from __future__ import annotations

import numpy as np
import pytest

from zen_edge import check_generated
from zen_edge.parity import OutputDifference, ParityReport, compare_tokens

OUTPUT = OutputDifference("decoder.logits", 0, 0, 1, True)


class Model:
    """log_probabilities gives table[step, token], whatever came before."""

    def __init__(self, table: list[list[float]]) -> None:
        self.table = np.array(table)

    def log_probabilities(self, ids, tokens):
        return self.table[: len(tokens)]


def compared(table, expected, given, *, whole=False):
    margins = check_generated.margins_of(Model(table), [[1]], [expected], [given], whole=whole)
    return compare_tokens([expected], [given], margins)


@pytest.mark.parametrize(("gap", "tie"), [(0.0, True), (5e-4, True), (-5e-4, True), (2e-3, False), (1.0, False)])
def test_greedy(gap, tie):
    found = compared([[-1, -9, -9], [-1.0, -1.0 - gap, -9]], (0, 0), (0, 1))
    assert (found.identical, found.ties, found.first_divergence is None) == (0, int(tie), tie)
    report = ParityReport("fp32", (OUTPUT,), {"greedy alone": found})
    assert report.passed is tie
    if not tie:
        assert found.first_divergence.margin == pytest.approx(abs(gap))


def test_a_beam_chooses_between_whole_sequences():
    """At the step where they part the tokens are far apart; a later step makes up for it."""
    table = [[-1.0, -2.0, -9], [-2.0, -1.0, -9]]
    assert compared(table, (0, 0), (1, 1), whole=True).ties == 1
    assert compared(table, (0, 0), (1, 1)).ties == 0
    table[1] = [-2.0, -1.5, -9]
    assert compared(table, (0, 0), (1, 1), whole=True).ties == 0


def test_ending_sooner_is_no_tie():
    assert compared([[-1, -1, -9], [-1, -1, -9]], (0, 0), (0,)).ties == 0

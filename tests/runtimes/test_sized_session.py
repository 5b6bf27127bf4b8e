"""Which of its two sessions a small graph runs in, on a real graph."""

from dataclasses import replace

import numpy as np
import onnx
import pytest

from zen_edge.inspection import describe_graph
from zen_edge.runtimes.providers import find_provider
from zen_edge.runtimes.sized_session import LITTLE, SMALL, SizedSession

GRAPH = """<ir_version: 10, opset_import: ["" : 21]> g (float[B,4] x) => (float[B,4] y) { y = Add(x, x) }"""


@pytest.fixture
def opened(tmp_path):
    def make(parameters, threads=2):
        onnx.save(onnx.parser.parse_model(GRAPH), tmp_path / "g.onnx")
        described = replace(describe_graph(tmp_path / "g.onnx", "g"), parameters=parameters)
        return SizedSession(tmp_path / "g.onnx", find_provider("cpu"), threads, described)

    return make


def session_of(session, rows, monkeypatch):
    """Which session ran, after a look at what it said."""
    ran = []
    for one in (session, session._alone):
        if one is not None:
            held = one._session
            proxy = type(
                "Proxy",
                (),
                {"run_with_ortvaluevector": lambda _, *given, held=held, one=one: (ran.append(one), held.run_with_ortvaluevector(*given))},
            )()
            monkeypatch.setattr(one, "_session", proxy)
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    found = session.run({"x": x}, ["y"], rows=rows)
    assert np.array_equal(found["y"].numpy(), x + x)
    (one,) = ran
    return one


def test_few_rows_run_on_one_thread(opened, monkeypatch):
    session = opened(LITTLE // 8)
    assert session_of(session, 8, monkeypatch) is session._alone
    assert session_of(session, 9, monkeypatch) is session
    assert session_of(session, None, monkeypatch) is session


@pytest.mark.parametrize(("parameters", "threads"), [(SMALL + 1, 2), (0, 2), (1000, 1)], ids=["large", "no parameters", "one thread anyway"])
def test_others_have_one_session(opened, monkeypatch, parameters, threads):
    session = opened(parameters, threads)
    assert session._alone is None
    assert session_of(session, 1, monkeypatch) is session

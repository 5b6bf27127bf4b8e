"""Weights of large graphs stay in the file when it is opened, and are packed once, by the first run, where there is room."""

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from zen_edge.errors import OptionError
from zen_edge.exporters.weights import save_graphs
from zen_edge.manifest import Graph
from zen_edge.runtimes import memory
from zen_edge.runtimes.large_session import LargeSession
from zen_edge.runtimes.providers import Provider, find_provider

SIDE = 4096  # 64 MB of weights
X = np.random.default_rng(0).standard_normal((3, SIDE)).astype(np.float32)


@pytest.fixture(scope="module")
def graph(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("large")
    proto = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 21]> g (float[B,{SIDE}] x) => (float[B,{SIDE}] y) {{ y = MatMul(x, w) }}')
    weight = np.random.default_rng(1).standard_normal((SIDE, SIDE)).astype(np.float32)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    save_graphs({"g": ir.from_proto(proto)}, folder)
    return folder / "g.onnx"


def opened(graph: Path, mode: str | None = None, size: int = memory.LARGE) -> LargeSession:
    with memory.keeping(mode):
        return LargeSession(graph, find_provider("cpu"), 1, described(size))


def described(size: int) -> Graph:
    return Graph("g", "g.onnx", size, (), (), SIDE * SIDE, {"MatMul": 1}, 0, 0, ())


def said(session: LargeSession) -> np.ndarray:
    return session.run({"x": X}, ["y"])["y"].numpy()


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_opening_does_not_read_the_weights(graph):
    opened(graph, "mapped", 0)  # whatever is loaded once
    before = resident()
    session = opened(graph)
    assert resident() - before < SIDE * SIDE * 4 / 2
    del session
    held = opened(graph, size=0)
    assert resident() - before > SIDE * SIDE * 4 / 2
    del held


def test_nothing_but_its_holder_holds_it(graph):
    gc.disable()
    try:
        session = opened(graph)
        said(session)
        gone = weakref.ref(session)
        del session
        assert gone() is None
    finally:
        gc.enable()


def test_the_first_run_packs_once_however_many_threads_begin(graph, monkeypatch):
    session, made = opened(graph), []
    pack = session._open
    monkeypatch.setattr(session, "_open", lambda: made.append(1) or pack())
    assert session._packed is None
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: said(session), range(8)))
    assert len(made) == 1
    assert session._packed is not None
    np.testing.assert_allclose(found[0], said(opened(graph, "mapped")), rtol=1e-4, atol=1e-3)
    assert all(np.array_equal(found[0], one) for one in found)


@pytest.mark.parametrize(("free", "packs"), [(memory.LARGE, False), (2 * memory.LARGE, True)])
def test_without_room_they_stay_in_the_file(graph, monkeypatch, free, packs):
    monkeypatch.setattr(memory, "room", lambda: free)
    session = opened(graph)
    first = said(session)
    assert (session._packed is not None) == packs
    assert np.array_equal(first, said(session))


@pytest.mark.parametrize(("mode", "size"), [("mapped", memory.LARGE), ("packed", memory.LARGE), ("auto", memory.LARGE - 1)])
def test_what_is_asked_for_and_small_graphs_are_not_packed_later(graph, mode, size):
    session = opened(graph, mode, size)
    said(session)
    assert session._packed is None


def test_modes_go_inward_and_end_with_their_block():
    with memory.keeping("mapped"):
        with memory.keeping(None):
            assert memory.mode() == "mapped"
        with memory.keeping("packed"):
            assert memory.mode() == "packed"
        assert memory.mode() == "mapped"
    assert memory.mode() == "auto"


def test_what_is_refused(graph):
    with pytest.raises(OptionError, match=r"^memory 'ram' is not known; there are: auto, mapped, packed\.$"):
        opened(graph, "ram")
    elsewhere = Provider("cuda", "CPUExecutionProvider", "cuda", {})
    with pytest.raises(OptionError, match=r"^memory 'mapped' is for the CPU"), memory.keeping("mapped"):
        LargeSession(graph, elsewhere, 1, described(0))


def test_room_is_the_narrowest_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "own_cgroups", lambda *names: [tmp_path])
    free = memory.room()
    assert free > 0
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("900\n")
    assert memory.room() == pytest.approx(free, rel=0.5)
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.stat").write_text("anon 600\nfile 300\ninactive_file 200\nactive_file 50\n")
    assert memory.room() == 1000 - (900 - 250)

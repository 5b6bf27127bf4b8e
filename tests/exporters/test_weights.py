"""One file of weights for all graphs: each tensor once, aligned, the same bytes every time, and read by ONNX Runtime."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from zen_edge.exporters.weights import INLINE, LINE, PAGE, save_graphs

HEADER = '<ir_version: 10, opset_import: ["" : 21]>'
RANDOM = np.random.default_rng(2)
SHARED, OWN, SMALL = (RANDOM.standard_normal((64, columns)).astype(np.float32) for columns in (64, 9, 1))


def graph(name: str, **weights: np.ndarray) -> ir.Model:
    """Sums of the columns of all weights."""
    steps = "  ".join(f"s_{weight} = ReduceSum<keepdims=0>({weight})" for weight in weights)
    text = f"{HEADER} {name} (float x) => (float y) {{ {steps}  y = Sum(x, {', '.join(f's_{weight}' for weight in weights)}) }}"
    proto = onnx.parser.parse_model(text)
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(array, weight) for weight, array in weights.items())
    return ir.from_proto(proto)


def models() -> dict[str, ir.Model]:
    return {"one": graph("one", small=SMALL, shared=SHARED, own=OWN), "two": graph("two", again=SHARED.copy(), turned=SHARED.T.copy())}


@pytest.fixture
def folder(tmp_path):
    save_graphs(models(), tmp_path)
    return tmp_path


def places(folder) -> dict[str, tuple[int, int]]:
    """{weight: (offset, length)} of every tensor in weights.bin."""
    found = {}
    for name in ("one", "two"):
        for tensor in onnx.load(folder / f"{name}.onnx", load_external_data=False).graph.initializer:
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                entries = {entry.key: entry.value for entry in tensor.external_data}
                assert entries["location"] == "weights.bin"
                found[tensor.name] = (int(entries["offset"]), int(entries["length"]))
    return found


def test_the_same_bytes_stand_once(folder):
    found = places(folder)
    assert set(found) == {"shared", "own", "again", "turned"}
    assert found["shared"] == found["again"]
    assert len(set(found.values())) == 3
    size = (folder / "weights.bin").stat().st_size
    assert 2 * SHARED.nbytes + OWN.nbytes <= size < 2 * SHARED.nbytes + OWN.nbytes + 2 * PAGE


def test_small_tensors_stay_in_the_graph(folder):
    assert SMALL.nbytes < INLINE <= OWN.nbytes
    (inline,) = (t for t in onnx.load(folder / "one.onnx", load_external_data=False).graph.initializer if t.name == "small")
    assert np.array_equal(onnx.numpy_helper.to_array(inline), SMALL)


def test_large_tensors_begin_a_page_and_others_a_cache_line(folder):
    found = places(folder)
    assert [found[name][0] % PAGE for name in ("shared", "turned")] == [0, 0]
    assert found["own"][1] < PAGE
    assert found["own"][0] % LINE == 0
    data = (folder / "weights.bin").read_bytes()
    for name, array in (("shared", SHARED), ("own", OWN), ("turned", SHARED.T.copy())):
        offset, length = found[name]
        assert data[offset : offset + length] == array.tobytes()


def test_the_same_models_give_the_same_bytes(folder, tmp_path):
    (tmp_path / "again").mkdir()
    save_graphs(models(), tmp_path / "again")
    for name in ("weights.bin", "one.onnx", "two.onnx"):
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_onnxruntime_reads_them(folder):
    for name, arrays in (("one", (SMALL, SHARED, OWN)), ("two", (SHARED, SHARED))):
        (y,) = onnxruntime.InferenceSession(folder / f"{name}.onnx").run(None, {"x": np.array(1, np.float32)})
        assert abs(y - 1 - sum(float(array.sum()) for array in arrays)) < 1e-2


def test_a_folder_that_moves_takes_its_weights_along(folder, tmp_path_factory):
    moved = folder.rename(tmp_path_factory.mktemp("elsewhere") / "bundle")
    assert onnxruntime.InferenceSession(moved / "one.onnx").run(None, {"x": np.array(0, np.float32)})[0].shape == ()


def test_tensors_that_are_made_when_they_are_read(tmp_path):
    model = graph("one", lazy=SHARED)
    value = model.graph.initializers["lazy"]
    value.const_value = ir.LazyTensor(lambda: ir.tensor(SHARED, name="lazy"), value.dtype, value.shape, name="lazy")
    save_graphs({"one": model}, tmp_path)
    (y,) = onnxruntime.InferenceSession(tmp_path / "one.onnx").run(None, {"x": np.array(0, np.float32)})
    assert abs(y - SHARED.sum()) < 1e-2


def test_a_bundles_graphs_share_their_weights(demo_fp32):
    """float32 weights of 6.7 million parameters, and a table of positions."""
    assert sorted(path.name for path in demo_fp32.glob("*.onnx")) == ["decoder.onnx", "encoder.onnx", "reorder.onnx"]
    assert (demo_fp32 / "weights.bin").stat().st_size < 1.02 * 4 * 6.75e6
    assert all(path.stat().st_size < 100_000 for path in demo_fp32.glob("*.onnx"))

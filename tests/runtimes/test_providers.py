"""Which provider is taken, and what is said where one cannot start."""

import struct
import sys
from pathlib import Path

import onnx
import pytest

from zen_edge.errors import MissingDependencyError, OptionError, ZenEdgeError
from zen_edge.runtimes import libraries, load, nvidia, providers
from zen_edge.runtimes.installed import build, onnxruntime
from zen_edge.runtimes.nvidia import Driver, why_no_gpu
from zen_edge.runtimes.providers import CUDA, find_provider, given_providers, why_not
from zen_edge.runtimes.session import Session

CPU = "CPUExecutionProvider"


def test_auto_says_what_it_took_and_why(demo_fp32):
    with load(demo_fp32, device="auto", threads=1) as pipeline:
        assert pipeline.provider.device == "cpu"
        assert pipeline.provider.why.startswith(f"auto took cpu: {build()} has no CUDAExecutionProvider (only ")
        placement = pipeline.placement()
    assert set(placement) == {"encoder.onnx", "decoder.onnx", "reorder.onnx"}
    assert all(set(counts) == {CPU} for counts in placement.values())
    assert placement["reorder.onnx"][CPU] == 4


def test_auto_takes_the_gpu_that_can_start(monkeypatch):
    monkeypatch.setattr(providers, "why_not", lambda name, device_id: None)
    found = find_provider("auto", 1)
    assert (found.device, found.memory, found.device_id, found.why) == ("cuda", "cuda", 1, "auto took cuda:1, which can start.")
    assert found.options["device_id"] == "1"
    assert found.options["use_tf32"] == "0"


def test_what_a_user_names_is_passed_on(demo_fp32):
    found = given_providers([("cpu", {}), CPU])
    assert found.chain() == [(CPU, {}), (CPU, {})]
    with load(demo_fp32, providers=[CPU], threads=1) as pipeline:
        assert pipeline("a text editor") == load(demo_fp32, threads=1)("a text editor")
        assert pipeline.provider.why == f"{CPU} asked for."


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"providers": ["OpenVINO"]},
            rf"no provider 'OpenVINO'; there are: .*{CPU}\. For it: pip uninstall -y onnxruntime, then pip install onnxruntime-openvino\.",
        ),
        ({"providers": [("cpu", {"fast": 1})]}, f"{CPU} takes no options, and would leave fast out"),
        ({"providers": ["cpus"]}, rf"'cpus' \(did you mean {CPU}\?\)"),
        ({"providers": []}, "providers takes a list"),
        ({"providers": CPU}, "providers takes a list"),
        ({"providers": [("cpu", 3)]}, "a provider is a name or"),
        ({"providers": [CPU], "device": "cpu"}, "in the place of a device"),
        ({"device": "cpu", "device_id": 1}, "chooses among GPUs"),
        ({"device": "cuda", "device_id": -1}, "device_id must be a whole number from 0"),
        ({"device": "tpu"}, "there are: auto, cuda, cpu"),
    ],
    ids=str,
)
def test_what_there_is_not(demo_fp32, options, said):
    with pytest.raises(OptionError, match=said):
        load(demo_fp32, **options)


def test_a_provider_that_did_not_start_is_found_out_after_loading(tmp_path):
    """ONNX Runtime itself only warns, and goes on without it."""
    graph = """<ir_version: 10, opset_import: ["" : 21]> g (float[B] x) => (float[B] y) { y = Add(x, x) }"""
    onnx.save(onnx.parser.parse_model(graph), tmp_path / "g.onnx")
    with (
        pytest.warns(UserWarning, match="not in available provider names"),
        pytest.raises(ZenEdgeError, match=f"CUDAExecutionProvider could not start, .*{build()} has no"),
    ):
        Session(tmp_path / "g.onnx", CUDA, 1)  # fmt: skip


def elf(*names: str) -> bytes:
    """A library that is linked with `names`, as far as its dynamic section: one segment in which everything lies 4096 behind its place in the file."""
    strings = b"\0" + b"".join(name.encode() + b"\0" for name in names)
    places, at = [], 1
    for name in names:
        places.append(at)
        at += len(name) + 1
    start = 64 + 2 * 56
    dynamic = b"".join(struct.pack("<QQ", 1, place) for place in places)
    table = start + len(dynamic) + 32
    dynamic += struct.pack("<QQ", 5, table + 4096) + struct.pack("<QQ", 0, 0)
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 3, 62, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    whole = table + len(strings)
    segments = struct.pack("<IIQQQQQQ", 1, 4, 0, 4096, 4096, whole, whole, 4096) + struct.pack(
        "<IIQQQQQQ", 2, 4, start, start + 4096, start + 4096, len(dynamic), len(dynamic), 8
    )
    return header + segments + dynamic + strings


def test_missing_libraries_are_read_from_the_provider_and_named(tmp_path, monkeypatch, capsys):
    package = tmp_path / "onnxruntime"
    (package / "capi").mkdir(parents=True)
    beside = package / "capi" / "libbeside.so.1"
    beside.touch()
    names = ("libcublasLt.so.13", "libc.so.6", beside.name, "libcudnn.so.9", "libcuda.so.1", "libother.so.2")
    (package / "capi" / "libonnxruntime_providers_cuda.so").write_bytes(elf(*names))
    monkeypatch.setattr(libraries, "loads", lambda name: name == "libc.so.6")
    monkeypatch.setattr(providers, "build", lambda: "onnxruntime-gpu 9.9")

    class Module:
        __file__ = str(package / "__init__.py")
        cuda_version = "13.0"
        get_available_providers = staticmethod(lambda: ["CUDAExecutionProvider", CPU])

        @staticmethod
        def preload_dlls():
            print("Failed to load something")  # it does, and stdout carries data only

    monkeypatch.setattr(providers, "onnxruntime", lambda: Module)
    assert libraries.needed(package / "capi" / "libonnxruntime_providers_cuda.so") == names
    with pytest.raises(MissingDependencyError) as caught:
        find_provider("cuda")
    assert str(caught.value) == (
        "CUDAExecutionProvider of onnxruntime-gpu 9.9, made for CUDA 13.0, cannot start, because libcublasLt.so.13, libcudnn.so.9, libcuda.so.1, "
        'libother.so.2 cannot be loaded: pip install "nvidia-cublas==13.*" "nvidia-cudnn-cu13==9.*"; install the NVIDIA driver, which brings libcuda.so.1 '
        "(nvidia-smi then lists the GPU); install libother.so.2; or use --device cpu."
    )
    assert capsys.readouterr().out == ""
    assert find_provider("auto").why.startswith("auto took cpu: CUDAExecutionProvider of onnxruntime-gpu 9.9, made for CUDA 13.0, cannot start")


def test_libraries_of_cuda_12_and_of_windows():
    assert libraries.advice(["libcublas.so.12", "libcudart.so.12"], "12") == 'pip install "nvidia-cublas-cu12==12.*" "nvidia-cuda-runtime-cu12==12.*"'
    assert libraries.advice(["libcudnn.so.9", "libnvinfer.so.10"], "12") == 'pip install "nvidia-cudnn-cu12==9.*" "tensorrt-cu12==10.*"'
    assert libraries.advice(["cublasLt64_13.dll", "cublas64_13.dll"], "13") == 'pip install "nvidia-cublas==13.*"'


@pytest.mark.skipif(sys.platform != "linux", reason="reads ELF files")
def test_a_library_that_loads_lacks_nothing():
    import onnxruntime.capi.onnxruntime_pybind11_state as extension

    assert {"libc.so.6", "libm.so.6"} <= set(libraries.needed(Path(extension.__file__)))
    assert libraries.missing(Path(extension.__file__)) == ()
    assert libraries.needed(Path(__file__)) == ()


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (None, "there is no NVIDIA driver: "),
        (Driver(0, 12040, 1), "the NVIDIA driver serves CUDA 12.4, and this ONNX Runtime is made for CUDA 13.0: update the driver"),
        (Driver(100, 13000), "the NVIDIA driver shows no GPU: "),
        (Driver(0, 13000, 0), "the NVIDIA driver shows no GPU: "),
        (Driver(803, 13000), "the NVIDIA driver does not start (its error 803)"),
        (Driver(0, 13020, 1), "there is no GPU 1: the NVIDIA driver shows 1, counted from 0"),
    ],
    ids=str,
)
def test_what_the_driver_says(found, said):
    assert str(why_no_gpu(found, "13.0", 1)).startswith(said)


def test_a_gpu_in_order():
    assert why_no_gpu(Driver(0, 13010, 2), "13.0", 1) is None
    assert why_no_gpu(Driver(0, 12080, 2), "12.8", 1) is None


def test_the_cpu_can_start():
    assert why_not(CPU) is None
    assert onnxruntime().get_available_providers()[-1] == CPU


def test_the_driver_is_asked(monkeypatch):
    """Through ctypes, in the way that the driver's functions take what they fill."""

    class Cuda:
        status = 0

        @staticmethod
        def cuDriverGetVersion(version):
            version._obj.value = 13020
            return 0

        @classmethod
        def cuInit(cls, flags):
            return cls.status

        @staticmethod
        def cuDeviceGetCount(count):
            count._obj.value = 2
            return 0

        @staticmethod
        def cuDeviceGetName(name, length, number):
            name.value = f"GPU {number}".encode()[: length - 1]
            return 0

    monkeypatch.setattr(nvidia, "_library", lambda: Cuda)
    assert nvidia.driver() == Driver(0, 13020, 2)
    assert nvidia.gpu_names() == ("GPU 0", "GPU 1")
    monkeypatch.setattr(Cuda, "status", 100)
    assert nvidia.driver() == Driver(100, 13020, 0)
    assert nvidia.gpu_names() == ()
    monkeypatch.setattr(nvidia, "_library", lambda: None)
    assert nvidia.driver() is None

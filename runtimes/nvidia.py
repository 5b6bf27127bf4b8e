"""What the NVIDIA driver of this machine says."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import NamedTuple

from zen_edge.runtimes.libraries import DRIVER, loads

NO_DEVICE = 100  # CUDA_ERROR_NO_DEVICE


class Reason(NamedTuple):
    """What keeps a provider from starting, and what to do about it."""

    said: str
    todo: str

    def __str__(self) -> str:
        return f"{self.said}: {self.todo}"


@dataclass(frozen=True)
class Driver:
    """What the NVIDIA driver says: its status (0 is well), the newest CUDA it serves, as 1000 * major + 10 * minor, and how many GPUs it shows."""

    status: int
    version: int = 0
    gpus: int = 0


def driver() -> Driver | None:
    """None where there is no driver."""
    cuda = _library()
    if cuda is None:
        return None
    version, gpus = ctypes.c_int(0), ctypes.c_int(0)
    cuda.cuDriverGetVersion(ctypes.byref(version))
    status = cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(gpus))
    return Driver(int(status), version.value, gpus.value)


def gpu_names() -> tuple[str, ...]:
    """The names of the GPUs, in the order of their numbers."""
    cuda, found = _library(), driver()
    if cuda is None or found is None or found.status:
        return ()
    names = []
    for number in range(found.gpus):
        name = ctypes.create_string_buffer(256)
        cuda.cuDeviceGetName(name, len(name), number)  # a device is its number
        names.append(name.value.decode())
    return tuple(names)


def _library() -> ctypes.CDLL | None:
    name = next(filter(loads, DRIVER), None)
    return None if name is None else ctypes.CDLL(name)


def why_no_gpu(found: Driver | None, built_for: str, device_id: int) -> Reason | None:
    """What keeps CUDA from the GPU where its libraries are all there. found: the driver. built_for: the release of CUDA that ONNX Runtime was made for, "13.0"."""
    if found is None:
        return Reason("there is no NVIDIA driver", "install that of the GPU (nvidia-smi then lists it)")
    served, major = found.version // 1000, built_for.partition(".")[0]
    if found.version and major.isdecimal() and served < int(major):
        said = f"the NVIDIA driver serves CUDA {served}.{found.version % 1000 // 10}, and this ONNX Runtime is made for CUDA {built_for}"
        return Reason(said, f"update the driver, or install an onnxruntime-gpu that is made for CUDA {served}")
    if found.status == NO_DEVICE or (found.status == 0 and found.gpus == 0):
        return Reason("the NVIDIA driver shows no GPU", "look at nvidia-smi and CUDA_VISIBLE_DEVICES")
    if found.status:
        return Reason(f"the NVIDIA driver does not start (its error {found.status})", "look at nvidia-smi; a container needs --gpus all")
    if device_id >= found.gpus:
        return Reason(f"there is no GPU {device_id}", f"the NVIDIA driver shows {found.gpus}, counted from 0")
    return None

"""Shared libraries that a provider of ONNX Runtime is linked with: which of them this machine lacks, and what brings them."""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
from collections.abc import Sequence
from pathlib import Path

DRIVER = ("libcuda.so.1", "nvcuda.dll")
CUDNN = "libcudnn.so.9"  # loaded when a graph first convolves, so no provider is linked with it

# Of Windows, whose libraries are not read here; {cuda}: the release that ONNX Runtime was built for.
ON_WINDOWS = {"cuda": ("nvcuda.dll", "cudart64_{cuda}.dll", "cublas64_{cuda}.dll", "cublasLt64_{cuda}.dll")}

# The pip package that brings a library. NVIDIA's for CUDA 12 have an ending that those for 13 have not, except where it stands here.
PACKAGES = {
    "cudart": "nvidia-cuda-runtime",
    "cublas": "nvidia-cublas",
    "cublasLt": "nvidia-cublas",
    "curand": "nvidia-curand",
    "cufft": "nvidia-cufft",
    "nvrtc": "nvidia-cuda-nvrtc",
    "cudnn": "nvidia-cudnn-cu{cuda}",
    "nvinfer": "tensorrt-cu{cuda}",
    "nvonnxparser": "tensorrt-cu{cuda}",
}


def missing(library: Path, cuda: str = "") -> tuple[str, ...]:
    """The libraries that `library` is linked with and that cannot be loaded, by name. cuda: of what release of CUDA, where names tell it."""
    names = needed(library) or tuple(name.format(cuda=cuda) for name in ON_WINDOWS.get(library.stem.rpartition("_")[2], ()) if os.name == "nt")
    return tuple(name for name in names if not (library.parent / name).exists() and not loads(name))


def loads(name: str) -> bool:
    """Whether the system finds a library and can load it."""
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def advice(names: Sequence[str], cuda: str) -> str:
    """What to install for libraries that are missing. cuda: the major release of CUDA."""
    packages, steps = [], []
    for name in names:
        stem, release = _parts(name)
        package = PACKAGES.get(stem)
        if package is not None:  # a package's first number is that of its library
            full = package.format(cuda=cuda) if "{" in package or cuda != "12" else f"{package}-cu12"
            packages.append(f'"{full}=={release}.*"')
        elif name in DRIVER:
            steps.append(f"install the NVIDIA driver, which brings {name} (nvidia-smi then lists the GPU)")
        else:
            steps.append(f"install {name}")
    return "; ".join([*([f"pip install {' '.join(dict.fromkeys(packages))}"] if packages else []), *steps])


def _parts(name: str) -> tuple[str, str]:
    """ "libcublasLt.so.13" and "cublasLt64_13.dll" -> ("cublasLt", "13")."""
    stem, *rest = name.removesuffix(".dll").removeprefix("lib").replace("64_", ".", 1).split(".")
    return stem, rest[-1] if rest else ""


def needed(library: Path) -> tuple[str, ...]:
    """The libraries that one is linked with, as its file says, in their order; none where it is no 64-bit ELF file.

    Source: the dynamic section of the System V ABI (ELF-64), entries DT_NEEDED.
    """
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data[:5] != b"\x7fELF\x02":
            return ()
        order = "<" if data[5] == 1 else ">"
        (headers,) = struct.unpack_from(f"{order}Q", data, 32)
        size, count = struct.unpack_from(f"{order}HH", data, 54)
        segments = [struct.unpack_from(f"{order}IIQQQQ", data, headers + i * size) for i in range(count)]
        loaded = [(address, offset, length) for kind, _, offset, address, _, length in segments if kind == 1]
        names, strings = [], 0
        for kind, _, offset, _, _, length in segments:
            if kind == 2:  # the dynamic section
                for tag, value in struct.iter_unpack(f"{order}QQ", data[offset : offset + length]):
                    if tag == 0:
                        break
                    if tag == 1:
                        names.append(value)
                    elif tag == 5:
                        strings = next(value - address + start for address, start, size in loaded if address <= value < address + size)
        return tuple(data[strings + name : data.find(b"\0", strings + name)].decode() for name in names)

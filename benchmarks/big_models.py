"""What exporting a large checkpoint takes: memory, address space and disk, by step, for random weights of a size that is asked for.

python -m zen_edge.benchmarks.big_models FOLDER [--family bart ...] [--gigabytes 4] [--stored float32|bfloat16|float16|bin] [--shard 1GB] [--address-space GB] [--data GB]

Each is written to FOLDER, exported there, opened, quantized, and removed. Lines of JSON on stdout.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zen_edge.benchmarks.make_checkpoint import SHAPES, Shape, write_shape

GB = 1e9
PERIOD_S = 0.02
COUNTED = {"VmHWM": "peak", "RssAnon": "own", "VmPeak": "address_space", "VmData": "data"}
STORED = ("float32", "bfloat16", "float16", "bin")
OPEN = """
import json, sys
import zen_edge
def held():
    return 1024 * sum(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS"))
before = held()
pipeline = zen_edge.load(sys.argv[1])
print(json.dumps(held() - before), file=sys.stderr)
"""


def _stack(width: int, head: int, **sizes: Any) -> dict[str, Any]:
    """Sizes of layers as the names of several configurations have them."""
    heads = width // head
    return {
        **dict.fromkeys(("d_model", "hidden_size"), width),
        **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads", "num_attention_heads", "num_heads"), heads),
        **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim", "intermediate_size", "d_ff"), 4 * width),
    } | sizes


# As the larger published ones of each kind: the shape it has the other sizes of, its layers' sizes, and its task.
FAMILIES = {
    "marian": ("marian-74m", _stack(1024, 64), "translation"),
    "bart": ("bart-base", _stack(1280, 64), "summarization"),
    "t5": ("t5-base", _stack(1280, 64), "summarization"),
    "bert": ("bert-base", _stack(1280, 64), "text-embedding"),
    "whisper": ("whisper-small", _stack(1280, 64), "speech-recognition"),
    "wav2vec2": ("wav2vec2-base", _stack(1280, 80, do_stable_layer_norm=True, feat_extract_norm="layer", conv_bias=True), "speech-recognition"),
}
LAYERS = ("encoder_layers", "decoder_layers", "num_layers", "num_hidden_layers")


def sized(family: str, gigabytes: float) -> Shape:
    """The shape of `family` with as many layers as come nearest to `gigabytes` in float32."""
    name, sizes, _ = FAMILIES[family]
    one, two = (_parameters(_layered(SHAPES[name], sizes, layers)) for layers in (1, 2))
    return _layered(SHAPES[name], sizes, max(1, round((gigabytes * GB / 4 - one) / (two - one)) + 1))


def _layered(shape: Shape, sizes: dict[str, Any], layers: int) -> Shape:
    return replace(shape, sizes={**shape.sizes, **sizes, **dict.fromkeys(LAYERS, layers)})


def _parameters(shape: Shape) -> int:
    import torch

    with torch.device("meta"):
        return sum(weights.numel() for weights in shape.model().parameters())


@dataclass
class Peaks:
    """The most that was seen of a process, in bytes: pages it holds, those of its own, its address space, what counts as its data; files beside it; each by step."""

    by_step: dict[str, dict[str, int]]

    def most(self, name: str) -> int:
        return max((step.get(name, 0) for step in self.by_step.values()), default=0)


def watched(command: Sequence[str], folder: Path, limits: Callable[[], None] | None = None) -> tuple[int, list[str], Peaks, float]:
    """Runs it. Returns its exit status, the lines it wrote to stderr, its peaks, and seconds."""
    by_line: dict[int, dict[str, int]] = {}
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, preexec_fn=limits)
    said: list[str] = []  # a step is told when it is done
    assert process.stderr is not None
    listening = threading.Thread(target=lambda lines: said.extend(line.strip() for line in lines), args=(process.stderr,))
    listening.start()
    while process.poll() is None:
        seen = by_line.setdefault(len(said), {})
        for name, size in {**_of_process(process.pid), "disk": _on_disk(folder)}.items():
            seen[name] = max(seen.get(name, 0), size)
        time.sleep(PERIOD_S)
    listening.join()
    steps = [re.sub(r"  [\d.]+ s$", "", line) for line in [*said[:-1], "end", "end"]]
    return process.returncode, said, Peaks({steps[line]: seen for line, seen in by_line.items()}), time.perf_counter() - start


def _of_process(pid: int) -> dict[str, int]:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return {}
    found = {name: 1024 * int(value) for name, value in re.findall(r"^(\w+):\s+(\d+) kB$", status, re.MULTILINE)}
    return {ours: found[name] for name, ours in {**COUNTED, "VmRSS": "held"}.items() if name in found}


def _on_disk(folder: Path) -> int:
    sizes = 0
    for path in folder.rglob("*"):
        try:
            sizes += path.stat().st_blocks * 512
        except OSError:  # renamed meanwhile
            continue
    return sizes


def measure(
    folder: Path, family: str, gigabytes: float, stored: str, shard: str, limits: Callable[[], None] | None, precisions: Sequence[str]
) -> dict[str, Any]:
    source, out = folder / "source", folder / "bundle"
    shape = sized(family, gigabytes)
    write_shape(source, shape, stored=stored, shard=shard)
    own = sum(path.stat().st_size for path in source.iterdir())
    status, said, peaks, seconds = watched([*ZEN_EDGE, "export", str(source), str(out), "--task", FAMILIES[family][2]], folder, limits)
    row: dict[str, Any] = {"family": family, "stored": stored, "source_gb": own / GB, "status": status, "seconds": round(seconds), "said": said[-1]}
    row |= _gigabytes(peaks)
    row["steps"] = {step: {name: round(size / GB, 3) for name, size in seen.items()} for step, seen in peaks.by_step.items()}
    if status == 0:
        size = sum(path.stat().st_size for path in out.iterdir())
        row |= {"bundle_gb": size / GB, "peak_ratio": peaks.most("peak") / size, "loaded_ratio": opened(out) / size}
        shutil.rmtree(source)
        row["quantized"] = [quantized(folder, out, precision) for precision in precisions]
    shutil.rmtree(folder)
    return row


def _gigabytes(peaks: Peaks) -> dict[str, float]:
    return {f"{name}_gb": round(peaks.most(name) / GB, 3) for name in (*COUNTED.values(), "disk")}


def opened(bundle: Path) -> float:
    """Bytes by which the memory of a process has grown right after it opened the bundle."""
    done = subprocess.run([sys.executable, "-c", OPEN, str(bundle)], capture_output=True, text=True, check=True)
    return float(done.stderr.splitlines()[-1])


def quantized(folder: Path, bundle: Path, precision: str) -> dict[str, Any]:
    out = folder / precision
    status, said, peaks, seconds = watched([*ZEN_EDGE, "quantize", str(bundle), str(out), "--precision", precision], folder)
    row: dict[str, Any] = {"precision": precision, "status": status, "seconds": round(seconds), "said": said[-1], **_gigabytes(peaks)}
    row["steps"] = {step: {name: round(size / GB, 3) for name, size in seen.items()} for step, seen in peaks.by_step.items()}
    if status == 0:
        size = sum(path.stat().st_size for path in out.iterdir())
        row |= {"bundle_gb": size / GB, "loaded_ratio": opened(out) / size}
        shutil.rmtree(out)
    return row


ZEN_EDGE = (sys.executable, "-m", "zen_edge")


def _limited(address_space: float | None, data: float | None) -> Callable[[], None]:
    def limit() -> None:
        for kind, most in ((resource.RLIMIT_AS, address_space), (resource.RLIMIT_DATA, data)):
            if most is not None:
                resource.setrlimit(kind, (int(most * GB), int(most * GB)))

    return limit


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure what exporting a large checkpoint takes.")
    parser.add_argument("folder", type=Path, help="is made, and removed")
    parser.add_argument("--family", choices=FAMILIES, nargs="+", default=list(FAMILIES))
    parser.add_argument("--gigabytes", type=float, default=4.0, help="of float32")
    parser.add_argument("--stored", choices=STORED, default="float32")
    parser.add_argument("--shard", default="50GB", help="the most that one safetensors file holds")
    parser.add_argument("--precision", nargs="*", default=["int8", "int4"], help="to quantize to")
    parser.add_argument("--address-space", type=float, help="of the export, as `ulimit -v` counts it, in gigabytes")
    parser.add_argument("--data", type=float, help="memory of its own and pages it may write, as `ulimit -d` counts them, in gigabytes")
    given = parser.parse_args()
    for one in given.family:
        limits = _limited(given.address_space, given.data)
        print(json.dumps(measure(given.folder, one, given.gigabytes, given.stored, given.shard, limits, given.precision)), flush=True)

"""What the processor can do."""

from __future__ import annotations

import platform
from pathlib import Path

# Flags as Linux names them -> what they are called elsewhere, and what they are good for here.
CPU_FEATURES = {
    "avx2": "AVX2",
    "avx512f": "AVX512",
    "avx_vnni": "AVX-VNNI",
    "avx512_vnni": "AVX512-VNNI",
    "avx512_bf16": "AVX512-BF16",
    "amx_int8": "AMX-INT8",
    "amx_bf16": "AMX-BF16",
    "asimd": "NEON",
    "asimddp": "NEON dot product",
    "i8mm": "I8MM",
    "sve": "SVE",
}
EXACT_INT8 = ("avx_vnni", "avx512_vnni", "amx_int8", "asimd")  # 8-bit products summed in 32 bits


def cpu_flags() -> tuple[str, frozenset[str]]:
    """The processor's name, and its features under Linux's names; no features where they cannot be told."""
    try:
        rows = [row.partition(":") for row in Path("/proc/cpuinfo").read_text(errors="replace").splitlines()]
    except OSError:
        machine = platform.machine().lower()
        return platform.processor() or machine, frozenset({"asimd"} if machine in ("arm64", "aarch64") else ())
    fields = {name.strip(): value.strip() for name, _, value in reversed(rows)}
    flags = fields.get("flags", fields.get("Features", "")).lower().split()
    return fields.get("model name", platform.machine()), frozenset(flags)


def saturates_int8(flags: frozenset[str]) -> bool:
    """Whether sums of 8-bit products may overflow 16 bits: x86 without VNNI. False where the features cannot be told to be x86's."""
    return bool(flags) and not any(flag in flags for flag in EXACT_INT8)

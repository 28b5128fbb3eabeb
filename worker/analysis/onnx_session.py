"""How onnxruntime runs the model on this processor."""

from __future__ import annotations

from pathlib import Path

from onnxruntime import SessionOptions

ERRORS_ONLY = 3  # onnxruntime's log severity
CPU_INFO = Path("/proc/cpuinfo")
SUMS_IN_32_BITS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})


def session_options(threads: int = 1) -> SessionOptions:
    """So many threads for a call, and exact sums of int8 products on every x86.

    Without VNNI onnxruntime's usual kernel adds products in pairs of 16 bits, which saturate and change labels. It has
    a slower exact one, which must be asked for, and only there: with VNNI it would be taken too, and cost its speed
    for nothing (docs/decisions/int8.md).
    """
    options = SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = ERRORS_ONLY
    options.add_session_config_entry("session.x64quantprecision", "1" if saturates(CPU_INFO) else "0")
    return options


def saturates(cpu_info: Path) -> bool:
    """Whether the processor that `cpu_info` describes, as Linux does, lacks VNNI; True where there is no such file.

    On other architectures than x86 the option that hangs on this has no effect.
    """
    try:
        lines = cpu_info.read_text().splitlines()
    except OSError:
        return True
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
    return SUMS_IN_32_BITS.isdisjoint(flags)

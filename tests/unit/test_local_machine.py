"""What the machine lacks is one line that says what to do."""

import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from worker.errors import PlatformUnsupported
from worker.local import machine
from worker.local.ports import LOOPBACK, free_port, require_free

DEBIAN_12 = ("Linux", "x86_64", ("glibc", "2.36"), (3, 11))
OS_RELEASES = {
    "debian": 'PRETTY_NAME="Debian GNU/Linux 12"\nNAME="Debian GNU/Linux"\nID=debian\n',
    "mint": 'NAME="Linux Mint"\nID=linuxmint\nID_LIKE="ubuntu debian"\n',
    "rocky": 'NAME="Rocky Linux"\nID="rocky"\nID_LIKE="rhel centos fedora"\n',
    "arch": 'NAME="Arch Linux"\nID=arch\n',
}


def test_a_supported_machine_passes() -> None:
    """Linux on x86_64 with a new enough glibc and Python is accepted."""
    machine.require_platform(*DEBIAN_12)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ((0, "Darwin"), "Darwin"),
        ((1, "aarch64"), "aarch64"),
        ((2, ("", "")), "another libc"),
        ((2, ("glibc", "2.31")), "glibc 2.31"),
        ((3, (3, 10)), "3.10"),
        ((3, (3, 13)), "3.13"),
    ],
)
def test_an_unsupported_machine_is_one_clear_line(changed: tuple[int, object], named: str) -> None:
    """The line says what is needed, what is here, and where else to go."""
    facts: list[object] = list(DEBIAN_12)
    facts[changed[0]] = changed[1]
    with pytest.raises(PlatformUnsupported) as caught:
        machine.require_platform(*facts)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message
    assert named in message
    assert "needs" in message
    assert "README" in message


@pytest.mark.parametrize(
    ("system", "library", "advice"),
    [
        ("debian", "libpython3.11.so.1.0", "apt-get install libpython3.11"),
        ("debian", "libstdc++.so.6", "apt-get install libstdc++6"),
        ("mint", "libz.so.1", "apt-get install zlib1g"),
        ("rocky", "libpython3.12.so.1.0", "dnf install python3.12-libs"),
        ("debian", "libunheard.so.1", "install the package"),
        ("arch", "libz.so.1", "install the package"),
    ],
)
def test_a_missing_library_comes_with_the_package_that_holds_it(system: str, library: str, advice: str) -> None:
    """On Debian, Fedora and their kin the line is a command to run; elsewhere it names the library."""
    message = machine.missing_library("tritonserver", library, OS_RELEASES[system])
    assert advice in message
    assert library in message
    assert "\n" not in message


@pytest.fixture
def broken_program(tmp_path: Path) -> Path:
    """A program whose C library is called libq.so.6."""
    found = shutil.which("true")
    assert found
    program = tmp_path / "program"
    program.write_bytes(Path(found).resolve().read_bytes().replace(b"libc.so.6", b"libq.so.6"))
    program.chmod(0o755)
    return program


def test_a_missing_library_is_found_before_the_start(broken_program: Path) -> None:
    """The dynamic loader is asked; the program itself does not run."""
    with pytest.raises(PlatformUnsupported, match=r"libq\.so\.6"):
        machine.require_libraries(broken_program, {})


def test_a_missing_library_is_found_in_the_log(broken_program: Path) -> None:
    """What the loader says when the program is started is understood too; other logs give no advice."""
    log = subprocess.run([broken_program], capture_output=True, text=True, check=False).stderr
    assert "libq.so.6" in machine.explain_log("program", log)
    assert machine.explain_log("program", "killed by something else") == ""


def test_too_little_shared_memory_is_refused(tmp_path: Path) -> None:
    """The line says how much is needed and how to get it."""
    machine.require_shared_memory(tmp_path, needed_bytes=1)
    with pytest.raises(PlatformUnsupported, match="--shm-size"):
        machine.require_shared_memory(tmp_path, needed_bytes=2**60)
    with pytest.raises(PlatformUnsupported, match="mount a tmpfs"):
        machine.require_shared_memory(tmp_path / "absent")


def test_a_packages_program_is_found_without_importing_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is made executable when the installer lost that; a package that is not there is named with its command."""
    package = tmp_path / "carrier_of_a_program"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "program").write_text("#!/bin/sh\n")
    monkeypatch.syspath_prepend(tmp_path)
    path = machine.packaged_file("carrier_of_a_program", "carrier", "program")
    assert path == package / "program"
    assert path.stat().st_mode & 0o111
    for name, file in (("carrier_of_a_program", "other"), ("no_such_package_here", "program")):
        with pytest.raises(PlatformUnsupported, match="pip install --force-reinstall carrier"):
            machine.packaged_file(name, "carrier", file)


def test_a_busy_port_is_one_clear_line() -> None:
    """The line names the server and the port, and offers a free one."""
    with socket.create_server((LOOPBACK, 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(PlatformUnsupported, match=rf"redis: port {port} .* in use: .* 0 for a free one$"):
            require_free(port, "redis")


def test_free_ports_are_free_and_distinct() -> None:
    """No port is given out twice, and each can be listened on."""
    taken: set[int] = set()
    ports = [free_port(taken) for _ in range(50)]
    assert len(set(ports)) == len(taken) == 50
    for port in ports:
        assert require_free(port, "kafka") == port

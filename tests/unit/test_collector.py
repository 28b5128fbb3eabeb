"""What the cycle collector of a worker does not look at."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator

import pytest

from worker.stream.collector import lasting


@pytest.fixture
def unfrozen() -> Iterator[None]:
    """The collector as it was, afterwards."""
    yield
    gc.unfreeze()
    gc.enable()


@pytest.mark.usefixtures("unfrozen")
def test_what_lasts_is_not_looked_at_again() -> None:
    """An object made inside is not among those that a collection reads; one made afterwards is."""
    with lasting():
        assert not gc.isenabled()
        inside: list[object] = []
    after: list[object] = []
    assert gc.isenabled()
    looked_at = {id(each) for each in gc.get_objects()}
    assert id(inside) not in looked_at
    assert id(after) in looked_at


@pytest.mark.usefixtures("unfrozen")
def test_the_collector_runs_again_after_a_failure() -> None:
    """A file that cannot be read does not leave a process without collections."""
    with pytest.raises(OSError, match="no such"), lasting():
        raise OSError("no such file")
    assert gc.isenabled()


def test_a_worker_that_asks_triton_does_without_onnxruntime() -> None:
    """Its import takes 0.1 s and 17 MB, which are for `POLYVOX_INFERENCE=embedded` alone."""
    program = "import sys, worker.stream.main; sys.exit('onnxruntime' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0

"""The null model with faults on demand: what it does is read from a file beside it at each call."""

from __future__ import annotations

from pathlib import Path

MODE = "mode"
DEATHS = "deaths"
DEADLY_TOKENS = 100
DEADLY_TEXT = "gut " * (DEADLY_TOKENS + 10)
"""More tokens than any other post of the rows has, in one window."""

CODE = """

import os
import signal
import time
from pathlib import Path

HERE = Path(__file__).parent
HEALTHY = TritonPythonModel


class TritonPythonModel(HEALTHY):
    def answer(self, request):
        mode, _, argument = (HERE / "mode").read_text().partition(" ")
        if mode == "slow":
            time.sleep(float(argument))
        mask = pb_utils.get_input_tensor_by_name(request, "attention_mask").as_numpy()
        if mode == "deadly" and mask.sum(axis=1).max() > int(argument):
            with (HERE / "deaths").open("a") as deaths:
                deaths.write("x")
            os.kill(os.getpid(), signal.SIGKILL)
        rows = self.rows
        if mode == "nan":
            self.rows = {name: row * np.float32("nan") for name, row in rows.items()}
        if mode == "shapes":
            self.rows = {name: row[:-1] for name, row in rows.items()}
        try:
            return super().answer(request)
        finally:
            self.rows = rows
"""


class FaultyModel:
    """Turns a repository that holds the null model into one that can be told to fail.

    Args:
        repository: as `null_repository` makes it; changed.
    """

    def __init__(self, repository: Path) -> None:
        self._version = repository / "analyzer" / "1"
        source = self._version / "model.py"
        source.write_text(source.read_text(encoding="utf-8") + CODE, encoding="utf-8")
        self.become("ok")

    def become(self, mode: str) -> None:
        """`ok`, `slow <seconds>`, `deadly <tokens>`, `nan` or `shapes`, from the next call on."""
        partial = self._version / "mode.partial"
        partial.write_text(mode, encoding="utf-8")
        partial.rename(self._version / MODE)

    @property
    def deaths(self) -> int:
        """How often it has died."""
        file = self._version / DEATHS
        return len(file.read_text(encoding="utf-8")) if file.exists() else 0

"""Which of the stages a worker runs."""

from __future__ import annotations

from typing import Literal

Role = Literal["enrich", "aggregate", "all"]

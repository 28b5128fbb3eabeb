"""One call of `apply.lua`, for the counters that queries read and for those that a replay stages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from worker.opinion.authors import AuthorHashes
from worker.opinion.cells import Retention
from worker.opinion.client import Link, Script
from worker.opinion.wire import BatchWriter, Counted
from worker.settings import Settings

_HERE = Path(__file__).parent
APPLY = Script("".join((_HERE / name).read_text(encoding="utf-8") for name in ("sums.lua", "names.lua", "apply.lua")))


class Applier:
    """Sends batches.

    Args:
        link: the connection; closed by its owner.
        settings: retentions and limits.
        script: `apply.lua`; tests pass mutants of it.
    """

    def __init__(self, link: Link, settings: Settings, script: Script = APPLY) -> None:
        self._link = link
        self._script = script
        self._authors = AuthorHashes(link, settings)
        self.retention = Retention.of(settings)
        self._limits = {
            "forms_limit": settings.entity_forms_per_window,
            "authors_limit": settings.authors_per_window,
            "fine_authors_limit": settings.authors_per_minute,
        }

    async def call(
        self, prefix: str, header: dict[str, int | str], counted: Sequence[Counted], now_ms: int
    ) -> list[Any]:
        """The script's reply: `applied` and two counts, or `lost` and a position; see `apply.lua`.

        Args:
            prefix: of the keys to add to.
            header: `position_field`, `expected` (-1: none), `next`.
            counted: all of one source partition, in the order in which they were read.
            now_ms: the present, Unix milliseconds.
        """
        author_hash = await self._authors.ready()
        argument = BatchWriter(self.retention, author_hash, now_ms).write(counted, {**header, **self._limits})
        return await self._link.run(self._script, prefix, argument, doing="applying a batch")

"""The Faust application as it is configured: what Faust would do by itself and must not."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from worker.settings import load_settings
from worker.stream.build import WithoutTables, create_app


def test_a_start_does_not_sleep_for_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust's table manager sleeps for a second of every start, also without tables."""

    async def main() -> None:
        app = create_app(load_settings())
        assert isinstance(app.tables, WithoutTables)
        started = []

        async def start() -> None:
            started.append(True)

        async def sleep(_seconds: float) -> None:
            raise AssertionError("it sleeps")

        monkeypatch.setattr(app.tables, "sleep", sleep)
        monkeypatch.setattr(type(app), "consumer", SimpleNamespace(assignment=set, pause_partitions=set))
        monkeypatch.setattr(app.tables, "_recovery", SimpleNamespace(start=start))
        await app.tables.on_start()
        assert started
        assert app.tables._tables_registered.is_set()

    asyncio.run(main())

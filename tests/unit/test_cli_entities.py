"""`polyvox entities`: what the alias table knows, for people and for scripts."""

from __future__ import annotations

import json

from typer.testing import CliRunner

from worker.cli import app

RUNNER = CliRunner()


def test_a_form_is_looked_up() -> None:
    """Id, kind, name and source, a line each."""
    result = RUNNER.invoke(app, ["entities", "lookup", "苹果公司", "Nice"])
    assert result.exit_code == 0
    assert "cik:0000320193" in result.stdout
    assert "geonames:2990440" in result.stdout


def test_json_is_one_object_a_form() -> None:
    """An unknown form has no entities, and the exit code says so."""
    result = RUNNER.invoke(app, ["entities", "lookup", "$AAPL", "zxqv", "--json"])
    assert result.exit_code == 1
    known, unknown = map(json.loads, result.stdout.splitlines())
    assert known["entities"] == [
        {"id": "cik:0000320193", "kind": "company", "name": "Apple", "source": "curated"},
    ]
    assert unknown == {"form": "zxqv", "entities": []}
    assert "no entity is called zxqv" in result.stderr

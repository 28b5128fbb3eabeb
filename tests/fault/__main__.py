"""`python -m tests.fault`: run rows of the fault table, print one line a row and, last, one JSON object."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from tests.fault.report import page
from tests.fault.rig import Rig
from tests.fault.rows import APART, ROWS
from tests.fault.run import run_row

REPORT = Path(__file__).parents[2] / "docs" / "fault-report.md"


def main() -> int:
    """0 when every row that ran held."""
    parser = argparse.ArgumentParser(prog="tests.fault", description=__doc__)
    parser.add_argument("--only", default="", help="numbers of rows, comma-separated; all without it")
    parser.add_argument("--seed", type=int, default=1, help="what every random choice follows from")
    parser.add_argument("--share", type=float, default=1.0, help="part of each row's repeats, such as 0.1")
    parser.add_argument("--report", action="store_true", help=f"write {REPORT.name}; all rows at share 1 only")
    wanted = parser.parse_args()
    numbers = {number.strip() for number in wanted.only.split(",") if number.strip()}
    unknown = numbers - {row.number for row in (*ROWS, *APART)}
    if unknown:
        known = ", ".join(row.number for row in (*ROWS, *APART))
        parser.error(f"no row {', '.join(sorted(unknown))}; there are {known}")
    rows = [row for row in (*ROWS, *APART) if row.number in numbers] if numbers else ROWS
    results = []
    with Rig() as rig:
        for row in rows:
            results.append(run_row(row, rig, wanted.seed, row.share_of(wanted.share)))
            print(results[-1].line(), flush=True)
    if wanted.report:
        REPORT.write_text(page(results, wanted.share), encoding="utf-8")
    holds = all(result.broken is None for result in results)
    print(json.dumps({"holds": holds, "share": wanted.share, "rows": [asdict(result) for result in results]}))
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())

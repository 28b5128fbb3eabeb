"""`python -m tests.fault`: run rows of the fault table, print one line a row and, last, one JSON object.

python -m tests.fault --only 5,14 --share 0.1 --seed 2     # two rows, a tenth of their repeats
python -m tests.fault --mutants --report                   # everything, and docs/fault-report.md
python -m tests.fault --only none --mutants                # the planted bugs alone
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from tests.fault.mutants import MUTANTS, Planted
from tests.fault.report import page
from tests.fault.rig import Rig
from tests.fault.rows import APART, ROWS
from tests.fault.run import run_row

REPORT = Path(__file__).parents[2] / "docs" / "fault-report.md"
NONE = "none"


def main() -> int:
    """0 when every row that ran held, and every planted bug was found."""
    parser = argparse.ArgumentParser("tests.fault", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--only", default="", help=f"rows in the order to run, comma-separated, or {NONE}; all without it"
    )
    parser.add_argument("--seed", type=int, default=1, help="what every random choice follows from")
    parser.add_argument("--share", type=float, default=1.0, help="part of each row's repeats, such as 0.1")
    parser.add_argument("--mutants", action="store_true", help="then plant bugs, each of which must fail its row")
    parser.add_argument("--report", action="store_true", help=f"write {REPORT.name}; all rows at share 1 only")
    wanted = parser.parse_args()
    numbers = [number.strip() for number in wanted.only.split(",") if number.strip()]
    unknown = set(numbers) - {row.number for row in (*ROWS, *APART)} - {NONE}
    if unknown:
        known = ", ".join(row.number for row in (*ROWS, *APART))
        parser.error(f"no row {', '.join(sorted(unknown))}; there are {known}")
    by_number = {row.number: row for row in (*ROWS, *APART)}
    rows = [by_number[number] for number in numbers if number != NONE] if numbers else ROWS
    results = []
    with Rig() as rig:
        for row in rows:
            results.append(run_row(row, rig, wanted.seed, row.share_of(wanted.share)))
            print(results[-1].line(), flush=True)
        planted = list(_planted(rig, wanted.seed)) if wanted.mutants else []
    if wanted.report:
        REPORT.write_text(page(results, wanted.share, planted), encoding="utf-8")
    full_s = sum(result.full_s for result in results)
    print(
        f"at full share these rows take about {full_s / 60:.0f} minutes on this machine, as busy as it was", flush=True
    )
    holds = all(result.broken is None for result in results) and all(each.found for each in planted)
    rows, bugs = [asdict(result) for result in results], [asdict(each) for each in planted]
    print(json.dumps({"holds": holds, "share": wanted.share, "rows": rows, "mutants": bugs}))
    return 0 if holds else 1


def _planted(rig: Rig, seed: int) -> Iterator[Planted]:
    for mutant in MUTANTS:
        with tempfile.TemporaryDirectory(prefix="polyvox-mutant-", dir=rig.directory) as root:
            planted = mutant.judged(run_row(mutant.row, rig, seed, mutant.repeats, mutant.plant(Path(root))))
        print(planted.line(), flush=True)
        yield planted


if __name__ == "__main__":
    sys.exit(main())

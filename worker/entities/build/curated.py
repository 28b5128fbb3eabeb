"""The lists kept by hand: companies people discuss most, and names of places and currencies that CLDR lacks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Extra:
    """One line: a key, the name to show, and forms.

    Args:
        key: an id (`iso3166:US`, `org:bytedance`) or a ticker by which the lists of companies know it (`AAPL`).
    """

    key: str
    name: str
    forms: list[str]


def read_extras(name: str) -> dict[str, Extra]:
    """The lines of a file by key: key, name to show and forms, parted by tabs, and the forms by bars.

    Raises:
        ValueError: a line of other fields, or a key twice.
    """
    found: dict[str, Extra] = {}
    path = HERE / name
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        fields = line.split("\t")
        if len(fields) != 3 or fields[0] in found:
            raise ValueError(f"{path}:{number}: expected a new key, a name and forms, parted by tabs")
        found[fields[0]] = Extra(fields[0], fields[1], [form.strip() for form in fields[2].split("|") if form.strip()])
    return found

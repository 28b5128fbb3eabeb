"""Listed companies: issuers known to the SEC, members of stock indices (pytickersymbols), and the curated ones.

An issuer's id is its SEC number (`cik:`) where it has one, since a company has several ISINs, one a security, and the
list of index members mixes some up. Else the ISIN if the list gives one only, else a slug of the name (`org:`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from cleanco import basename
from pytickersymbols import PyTickerSymbols

from worker.entities.build.curated import HERE, Extra
from worker.entities.build.rows import Row
from worker.entities.fold import fold
from worker.entities.table import Alias

SEC_LIST = HERE / "sec_companies.tsv"
_STATE = re.compile(r"\s*/[A-Za-z ]{2,}/?\s*$|\s*\\[A-Z]{2}\\?\s*$|,? \(?The\)?$")
_TAIL = re.compile(
    r"[\s,]+(?:class [a-z]|& co|holdings?|group|corp(?:oration)?|company|co|and company)\.?$", re.IGNORECASE
)
_SPACED = re.compile(r"\b([A-Z]) ([A-Z])(?: ([A-Z]))?$")
"""`NESTLE S A`: legal forms as the SEC's list spells some of them."""
_US_TICKER = re.compile(r"[A-Z]{1,5}(?:[.-][A-Z])?")


@dataclass(slots=True)
class _Company:
    name: str
    source: str
    cik: str = ""
    isins: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    tickers: list[str] = field(default_factory=list)

    @property
    def id(self) -> str:
        if self.cik:
            return f"cik:{self.cik}"
        if len(self.isins) == 1 and checksum_fits(self.isins[0]):
            return f"isin:{self.isins[0]}"
        return "org:" + re.sub(r"[^a-z0-9]+", "-", fold(base_of(self.name))).strip("-")


def companies(curated: dict[str, Extra]) -> Iterator[Row]:
    """One row a company; the curated ones first, then members of indices, then the SEC's list, largest first."""
    issuers = _issuers()
    members = list(_members(issuers))
    known = {key: company for company in [*members, *issuers.values()] for key in (company.id, *company.tickers)}
    twice = Counter(company.id for company in members)
    rows: dict[str, Row] = {}
    for extra in curated.values():
        row = _curated(extra, known)
        rows[row.alias.id] = row
    for company in [*(member for member in members if twice[member.id] == 1), *issuers.values()]:
        forms = [form for name in (company.name, *company.names) for form in _forms(name)]
        alias = Alias(company.id, "company", company.name, company.source)
        row = rows.setdefault(company.id, Row(alias))
        row.forms += forms
        row.tickers += company.tickers
    yield from rows.values()


def base_of(name: str) -> str:
    """A company's name without its legal suffix: `Apple Inc.` is `Apple`, `TARGET CORP/MN` is `TARGET`."""
    stripped = _SPACED.sub(lambda found: "".join(filter(None, found.groups())), _STATE.sub("", name))
    return str(basename(stripped)) or stripped


def checksum_fits(isin: str) -> bool:
    """Whether the last digit is what ISO 6166 makes of the others (Luhn over letters as 10 to 35)."""
    digits = "".join(str(int(char, 36)) for char in isin)
    doubled = [int(digit) * (2 if at % 2 else 1) for at, digit in enumerate(reversed(digits))]
    return len(isin) == 12 and sum(number // 10 + number % 10 for number in doubled) % 10 == 0


def _forms(name: str) -> list[str]:
    """The whole name, without its legal suffix, and without `Group` or `Holdings` where more than a word is left."""
    stripped = _STATE.sub("", name)
    base = base_of(name)
    shorter = _TAIL.sub("", base)
    return [stripped, base, shorter] if len(shorter) > 2 else [stripped, base]


def _issuers() -> dict[str, _Company]:
    """The SEC's list by CIK, in its order, which is by size."""
    found: dict[str, _Company] = {}
    for line in SEC_LIST.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        cik, name, tickers = line.split("\t")
        found[cik] = _Company(name, "sec", cik=cik, tickers=tickers.split())
    return found


def _members(issuers: dict[str, _Company]) -> Iterator[_Company]:
    """The members of indices that the SEC does not know; the others lend their issuer a readable name."""
    by_ticker = {ticker: company for company in issuers.values() for ticker in company.tickers}
    by_name = {fold(base_of(company.name)): company for company in reversed(list(issuers.values()))}
    for stock in PyTickerSymbols().get_all_stocks():
        symbols = [stock.get("symbol", ""), *(each.get("yahoo", "") for each in stock.get("symbols", []))]
        american = [symbol for symbol in symbols if _US_TICKER.fullmatch(symbol) and "." not in symbol]
        issuer = by_name.get(fold(base_of(stock["name"]))) or next(
            (by_ticker[symbol] for symbol in american if symbol in by_ticker and _alike(stock, by_ticker[symbol])), None
        )
        if issuer is None:
            tickers = [symbol for symbol in symbols if symbol]
            yield _Company(stock["name"], "pytickersymbols", isins=stock.get("isins", []), tickers=tickers)
        else:
            issuer.names.append(issuer.name)
            issuer.name = stock["name"]
            issuer.tickers += [symbol for symbol in symbols if symbol and symbol not in issuer.tickers]


def _alike(stock: dict[str, Any], issuer: _Company) -> bool:
    """Whether a member is an issuer of the same ticker: at home in America, or with a name that begins the same."""
    words = [fold(name).removeprefix("the ").split()[:1] for name in (stock["name"], issuer.name)]
    return stock.get("country") == "United States" or words[0] == words[1]


def _curated(extra: Extra, known: dict[str, _Company]) -> Row:
    """A curated company under the id that the lists give it.

    Raises:
        ValueError: no list knows its ticker, so it needs an id of its own (`org:`).
    """
    if extra.key.startswith("org:"):
        return Row(Alias(extra.key, "company", extra.name, "curated"), extra.forms)
    company = known.get(extra.key)
    if company is None:
        raise ValueError(f"no list has {extra.key} of {extra.name}: give it an id, org:<name>")
    return Row(Alias(company.id, "company", extra.name, "curated"), extra.forms)

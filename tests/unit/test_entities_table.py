"""The committed alias table is what the lists make, and holds what the contract names."""

from __future__ import annotations

import gzip
from collections import Counter

import pytest

from worker.entities.build.__main__ import table_text
from worker.entities.build.companies import base_of, checksum_fits
from worker.entities.build.rows import Row, settle
from worker.entities.fold import fold
from worker.entities.table import TABLE, Alias, load_aliases, make_aliases


@pytest.mark.slow
def test_the_committed_table_is_what_the_build_makes() -> None:
    """`make aliases` changes nothing: the file in the repository comes from the lists and from nothing else."""
    assert gzip.decompress(TABLE.read_bytes()).decode() == table_text()


def test_the_table_holds_what_it_promises() -> None:
    """3,000 listed companies with tickers and more, every ISO 3166 country, cities of 100,000; and it stays small."""
    aliases = load_aliases()
    kinds = Counter(alias.kind for alias in aliases.entities)
    listed = {number for number in aliases.tickers.values() if aliases.entities[number].kind == "company"}
    assert len(listed) >= 3000
    assert kinds["country"] >= 249
    assert kinds["city"] >= 5000
    assert kinds["currency"] >= 150
    assert TABLE.stat().st_size <= 2_000_000
    assert len(aliases.by_id) == len(aliases.entities)


def test_every_form_is_folded() -> None:
    """Otherwise the automaton, which reads folded text, would never find it."""
    aliases = load_aliases()
    assert [form for form in aliases.automaton if fold(form) != form] == []


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("苹果公司", "cik:0000320193"),
        ("$aapl", "cik:0000320193"),
        ("AAPL", "cik:0000320193"),
        ("iso4217:EUR", "iso4217:EUR"),
        ("доллар США", "iso4217:USD"),
        ("Allemagne", "iso3166:DE"),
        ("東京", "geonames:1850147"),
    ],
)
def test_people_look_up_forms(form: str, expected: str) -> None:
    """A surface form, a cashtag, a ticker or an id leads to its entity."""
    assert load_aliases().look_up(form)[0].id == expected


def test_what_nobody_knows_is_not_found() -> None:
    """An unknown form gives nothing, an unknown id is its own name."""
    assert load_aliases().look_up("zxqv") == []
    assert load_aliases().name_of("org:nobody") == "org:nobody"
    assert load_aliases().name_of("iso3166:US") == "United States"


def test_the_first_row_of_a_kind_has_a_shared_form() -> None:
    """The order of rows decides; another kind may have the form too; a row that is left with nothing goes."""
    big, small = Alias("geonames:1", "city", "Paris", "geonames"), Alias("geonames:2", "city", "paris", "geonames")
    company = Alias("org:paris", "company", "PARIS", "curated")
    settled = settle([Row(company), Row(big), Row(small)])
    assert [(alias.id, forms) for alias, forms, _ in settled] == [("org:paris", ["paris"]), ("geonames:1", ["paris"])]
    assert [alias.id for alias in make_aliases(settled).candidates("paris")] == ["org:paris", "geonames:1"]


@pytest.mark.parametrize(
    ("name", "base"),
    [("Apple Inc.", "Apple"), ("TARGET CORP/MN", "TARGET"), ("SAP SE", "SAP"), ("NESTLE S A", "NESTLE")],
)
def test_legal_suffixes_are_no_part_of_a_name(name: str, base: str) -> None:
    """Filed names end in their legal form and the state of incorporation; people say neither."""
    assert base_of(name) == base


def test_a_mistyped_isin_is_no_id() -> None:
    """The last digit is checked; ISO 6166 would call it another security."""
    assert checksum_fits("US0378331005")
    assert not checksum_fits("US0378331006")
    assert not checksum_fits("US037833100")

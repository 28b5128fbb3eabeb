"""Currencies: ISO 4217 (pycountry), named by CLDR (babel) in every served language, also in their plural forms."""

from __future__ import annotations

from collections.abc import Iterator

import pycountry
from babel import Locale

from worker.entities.build.curated import Extra
from worker.entities.build.places import LOCALES
from worker.entities.build.rows import Row
from worker.entities.table import Alias

_NO_MONEY = {"XXX", "XTS", "XUA", "XSU", "XDR", "XBA", "XBB", "XBC", "XBD", "XAD"}
"""ISO 4217 codes of no currency, of tests, and of units of account."""


def currencies(extras: dict[str, Extra]) -> Iterator[Row]:
    """One row a currency in use; the code is a ticker, so `$EUR` is one too."""
    locales = [Locale.parse(name) for name in LOCALES]
    for code in sorted(currency.alpha_3 for currency in pycountry.currencies if currency.alpha_3 not in _NO_MONEY):
        forms = [pycountry.currencies.get(alpha_3=code).name]
        for locale in locales:
            forms.append(locale.currencies.get(code, ""))
            forms += (locale._data["currency_names_plural"].get(code) or {}).values()  # babel has no way in but this
        extra = extras.get(f"iso4217:{code}")
        shown = extra.name if extra else locales[0].currencies.get(code, forms[0])
        alias = Alias(f"iso4217:{code}", "currency", shown, "cldr")
        yield Row(alias, [form for form in forms if form] + (extra.forms if extra else []), [code])

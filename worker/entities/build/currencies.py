"""Currencies: ISO 4217 (pycountry), named by CLDR (babel) in every served language, also in their plural forms."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pycountry
from babel import Locale

from worker.entities.build.curated import Extra
from worker.entities.build.places import LOCALES
from worker.entities.build.rows import Row
from worker.entities.table import UNMISTAKABLE, Alias

_NO_MONEY = frozenset(
    ("XXX", "XTS", "XUA", "XSU", "XDR", "XBA", "XBB", "XBC", "XBD", "XAD", "XAU", "XAG", "XPT", "XPD")
)
"""ISO 4217 codes of no currency, of tests, of units of account, and of metals, whose names are words."""


_HAN = re.compile("[\u3400-\u9fff]{2,}")


def currencies(extras: dict[str, Extra]) -> Iterator[Row]:
    """One row a currency in use; the code is a ticker, so `$EUR` is one too.

    Names of two words, such as `Swiss franc`, of two Han characters, and those that are marked need no tagger.
    """
    locales = [Locale.parse(name) for name in LOCALES]
    for code in sorted(currency.alpha_3 for currency in pycountry.currencies if currency.alpha_3 not in _NO_MONEY):
        forms = [pycountry.currencies.get(alpha_3=code).name]
        for locale in locales:
            forms.append(locale.currencies.get(code, ""))
            forms += (locale._data["currency_names_plural"].get(code) or {}).values()  # babel has no way in but this
        extra = extras.get(f"iso4217:{code}")
        shown = extra.name if extra else locales[0].currencies.get(code, forms[0])
        marked = extra.forms if extra else []
        forms = [form for form in (*forms, *(form.removeprefix(UNMISTAKABLE) for form in marked)) if form]
        free = [form for form in forms if " " in form or _HAN.fullmatch(form)]
        free += [form.removeprefix(UNMISTAKABLE) for form in marked if form.startswith(UNMISTAKABLE)]
        yield Row(Alias(f"iso4217:{code}", "currency", shown, "cldr"), forms, [code], free)

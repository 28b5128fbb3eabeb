"""What a name wears in running text: clitics before it, suffixes after it, and the endings of languages that inflect.

All of it is folded (`fold.py`). The lists are short on purpose: they hold what is frequent and cheap, not a morphology.
"""

from __future__ import annotations

import re

from worker.entities.fold import fold

# A tagger's mention may begin with an article, a hash, or what Arabic and Hebrew write onto the next word.
PREFIX = re.compile(
    r"""[#$@"'«“„(\[]*
    (?:(?:the|der|die|das|le|la|les|el|los|il|lo|gli|i|o|a|os|de|het|η|ο|το|οι|την?|της|του|τον|στην?|στο)[ ]
    |[ld]'|(?:all|dall|dell|nell|sull|un|qu)'|ال|و?(?:ال|[بفكل]?ال|لل|[بلفكو])|[ושהבלמכ]{1,3}-?)?""",
    re.VERBOSE,
)

_LEGAL = (
    r"inc|incorporated|corp|corporation|co|company|ltd|limited|llc|llp|lp|plc|ag|se|sa|s\.a|n\.?v|b\.?v|s\.?p\.?a|srl|gmbh|"
    r"kgaa|oyj|oy|abp?|asa|as|a/s|a\.s|kk|k\.k|tbk|nyrt|zrt|bhd|pjsc|ao|пао|оао|ооо|holdings?|group|grupp?e?|groupe|grubu|holding"
)
# Written onto the name without a space: companies, then particles.
_CJK_TAIL = (
    "股份有限公司|有限公司|公司|集团|集團|控股|株式会社|グループ|ホールディングス|주식회사|그룹|"
    "社|氏|側|製|的|总部|總部|股价|股價|は|が|を|に|の|で|と|も|へ|から|まで|より|や|さん|市|都|府|"
    "에서는|에서도|으로|에서|에게|부터|까지|보다|처럼|이라는|라는|이나|측은|측|은|는|이|가|을|를|의|에|와|과|로|도|만|나|서|시|사|산"
)
SUFFIX = re.compile(
    rf"""(?:
      (?:[,]?\ (?:{_LEGAL})\.?)*                       # Apple, Inc.
      | (?:{_CJK_TAIL}){{1,2}}                        # 苹果公司, 삼성전자에서는
      | [-–](?:{_LEGAL})\.?
    )
    (?:'[^\W\d_]{{0,8}})?                             # Apple's, Ankara'nın
    [.,;:!?"'»”)\]。、，！？]*""",
    re.VERBOSE,
)


def _folded(words: str) -> list[str]:
    """Words parted by spaces, folded, the longest first; `-` is nothing at all."""
    return sorted({fold(word.replace("-", "")) for word in words.split()}, key=lambda each: (-len(each), each))


# Endings that are written onto a name, and what the name's own form may end in instead.
_CYRILLIC = _folded(
    "иями ями ами ией ией ою ею ого ому ыми ими его ах ях ам ям ом ем ой ей ию ии ия ов ев у ю а я е и ы о "
    "і ї ій єю ові єві"
)
_CYRILLIC_BASES = _folded("- а я ия ь й о е ы и ія")
_SLAVIC = _folded(
    "iach ach ami iami owi owie ovi ovia iem em om ou ech ich ych ego emu ej ie iu ii ia u y a e i o ow ke ze ce"
)
_SLAVIC_BASES = _folded("- a o e y ia ko sko ka")
_FINNISH = _folded(
    "issa issä ssa ssä sta stä lla llä lta ltä lle aan een iin oon uun yyn hin han hon ksi na nä n t a in en an on i"
)
_HUNGARIAN = _folded("ban ben nak nek ból ről tól hoz hez val vel nál nél ért ra re ba be on en an ot et at ig t n")
_ROMANIAN = _folded("ului elui iei ei ul ii i a")
_TURKISH = _folded("nin nun dan den tan ten nda nde daki deki da de ta te ya ye yi yu na ne in un a e i u si li lu")
_GREEK = _folded("ς ν υ ου ας ης α η ο")

ENDINGS: dict[str, tuple[list[str], list[str]]] = {
    **dict.fromkeys(("ru", "uk", "sr"), (_CYRILLIC, _CYRILLIC_BASES)),
    **dict.fromkeys(("pl", "cs", "sk", "hr"), (_SLAVIC, _SLAVIC_BASES)),
    **dict.fromkeys(("de", "sv", "da", "nb", "nl"), (["es", "s"], [""])),
    "fi": (_FINNISH, ["", "a", "i"]),
    "hu": (_HUNGARIAN, ["", "a", "e"]),
    "ro": (_ROMANIAN, ["", "a", "ia"]),
    "tr": (_TURKISH, [""]),
    "el": (_GREEK, ["", *_folded("ς α η ο ος")]),
}
"""Language to its endings, and to what stands in their place in the name's own form."""

MIN_STEM = 3


def base_forms(word: str, language: str) -> list[str]:
    """What a folded name may be without its ending, the longest ending first; nothing where names are not inflected."""
    endings, bases = ENDINGS.get(language, ((), ()))
    return [
        word[: len(word) - len(ending)] + base
        for ending in endings
        if word.endswith(ending) and len(word) - len(ending) >= MIN_STEM
        for base in bases
        if base != ending
    ]

"""Normalises texts: removes markup, typographic variants and invisible characters, which word vectors do not cover."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable
from html.entities import html5
from typing import Final

_ENTITY: Final = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
NESTED = 4  # levels of nested markup that are resolved: '&amp;lt;' has two

# Listed by name, to keep other uses of angle brackets: '<user>', '<3', 'x < y', and '<time>', which is left out here.
_ELEMENTS: Final = (
    "a|abbr|acronym|applet|area|article|aside|audio|b|base|basefont|bdi|bdo|big|blockquote|body|br|button|"
    "canvas|caption|center|cite|code|col|colgroup|datalist|dd|del|details|dfn|dialog|dir|div|dl|dt|em|embed|"
    "fieldset|figcaption|figure|font|footer|form|frame|frameset|h[1-6]|head|header|hr|html|i|iframe|img|input|ins|kbd|"
    "label|legend|li|mark|menu|meta|meter|nav|noframes|noscript|ol|optgroup|option|p|param|"
    "picture|pre|q|rp|rt|ruby|s|samp|script|section|select|small|span|strike|strong|style|sub|"
    "sup|svg|table|tbody|td|template|textarea|tfoot|th|thead|title|tr|track|tt|u|ul|var|video|wbr"
)
# No pattern looks beyond the next start of the same kind of element, so that matching takes linear time.
_NOT_SHOWN: Final = re.compile(r"(?is)<(script|style)\b(?:(?!<\1\b).)*?</\1\s*>|<!--(?:(?!<!--).)*?-->")
_TAG: Final = re.compile(rf"(?i)</?(?:{_ELEMENTS})(?![\w:.@])[^<>]*>")
_BEGINNING: Final = re.compile(rf"(?i)<(?=/?(?:{_ELEMENTS})(?![\w:.@]))")

# Joiners after letters of these scripts (Arabic, Syriac, Indian and South-East Asian, Mongolian) are part of spelling.
_JOINERS: Final = re.compile("[\u200c\u200d](?<![\u0600-\u0dff\u1000-\u109f\u1780-\u18af].)")
_DASH: Final = re.compile(r" ?--+ ?")

_VARIANTS: Final[dict[str, str]] = {
    "'": "\u2018\u2019\u201a\u201b\u2032\u2035\u02bc\u02b9\u2039\u203a\u00b4\u1ffd\uff07",
    '"': "\u201c\u201d\u201e\u201f\u2033\u2036\u00ab\u00bb\uff02",
    "-": "\u2010\u2011\u2012\u2013\u2212",
    "--": "\u2014\u2015",
    "...": "\u2026",
    " ": "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000",
    "\n": "\u2028\u2029",
    # Soft hyphens, zero-width spaces, direction marks, byte order marks, and variation selectors of emoji.
    "": "\u00ad\u061c\u180e\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2061\u2062\u2063\u2064"
    "\u2066\u2067\u2068\u2069\ufeff\ufe0e\ufe0f",
}


def _replacements() -> dict[str, str]:
    """Character -> its replacement, for characters that are changed."""
    table = {character: new for new, characters in _VARIANTS.items() for character in characters}
    for code in (*range(0x20), 0x7F):
        if chr(code) not in "\t\n\r":
            table[chr(code)] = " "
    for code in range(0x80, 0xA0):  # C1 controls, which nobody types: Windows-1252 that was read as Latin-1
        meant = bytes([code]).decode("cp1252", "replace")
        table[chr(code)] = " " if meant == "\ufffd" else table.get(meant, meant)
    return table


_REPLACEMENTS: Final = _replacements()
_CHANGED: Final = re.compile(f"[{re.escape(''.join(_REPLACEMENTS))}]")
_SURROGATES: Final = re.compile("[\ud800-\udfff]")  # lone surrogates, which no file can contain


def clean(text: str) -> str:
    """Normalises a text: to Unicode's composed form (NFC), with quotes, dashes, ellipses and spaces in ASCII, with HTML
    entities resolved, and without HTML tags, comments, scripts, control characters and zero-width characters.

    Idempotent. Takes time linear in the length of the text, whatever it contains.
    """
    text = _characters(text.replace("<br />", " "))  # by far the most frequent tag; faster than the pattern
    if "&" in text:
        text = _until_same(text, lambda part: _characters(_ENTITY.sub(_resolved, part)), _ENTITY)
    if "<" in text:
        text = _until_same(text, lambda part: _TAG.sub(" ", _NOT_SHOWN.sub(" ", part)), _BEGINNING)
    return _DASH.sub(" -- ", text) if "--" in text else text


def _until_same(text: str, change: Callable[[str], str], begins: re.Pattern[str]) -> str:
    """Applies `change` until nothing changes, at most NESTED times; then replaces matches of `begins` by spaces."""
    for _ in range(NESTED):
        changed = change(text)
        if changed == text:
            return text
        text = changed
    return begins.sub(" ", text)


def _characters(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    text = _CHANGED.sub(_new, unicodedata.normalize("NFC", _SURROGATES.sub("\ufffd", text)))
    return unicodedata.normalize("NFC", _JOINERS.sub("", text))


def _new(changed: re.Match[str]) -> str:
    return _REPLACEMENTS[changed[0]]


def _resolved(entity: re.Match[str]) -> str:
    """The character of an HTML entity; an undefined entity stays as it is."""
    return html.unescape(entity[0]) if entity[0][1] == "#" else html5.get(entity[0][1:], entity[0])

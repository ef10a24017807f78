"""From a text to its words, and from words to a vocabulary: cleaning, tokenizers, and torchtext's vocabulary.

The only module that touches torchtext, which imports torch and takes seconds: so only where a text is really cut, or a
vocabulary built.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any

from data.base import plugins
from data.base.errors import UserError, did_you_mean
from data.base.plugins import Plugin
from data.base.reading import Reading
from data.cleaning import clean

SPECIALS = ["<pad>", "<unk>"]  # ids 0 and 1: data.encode.PADDING and UNKNOWN

HTML_BREAK = re.compile(r"<\s*/?\s*br\s*/?\s*>", re.IGNORECASE)
CHARACTERS_PER_WORD = 6  # of a text's beginning: at 100 words enough for all but 37 reviews of imdb

#: Letters of scripts that are written without spaces between words, as a class of `re`.
UNSPACED = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u0f00-\u0fff"  # Tibetan
    "\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f"  # Burmese
    "\u1780-\u17ff\u19e0-\u19ff"  # Khmer
    "\u1950-\u19df\u1a20-\u1aaf"  # Tai Le, New Tai Lue, Tai Tham
    "\ua980-\ua9df"  # Javanese
    "\u3005-\u3007\u3021-\u3029\u3031-\u3035\u303b"  # what stands among Chinese characters
    "\u3041-\u30ff\u31f0-\u31ff\uff66-\uff9f\U0001aff0-\U0001b16f"  # Hiragana, Katakana
    "\u3105-\u312f\u31a0-\u31bf"  # Bopomofo
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
)


def basic_english(text: str, max_words: int) -> list[str]:
    """The first `max_words` tokens of the text: torchtext's `basic_english` after HTML breaks are removed.

    Only the beginning is tokenized where that must give the same. It is cut at a space, and the tokenizer looks
    past a space in one case only (a `<br />` that comes to light when quotes are removed), which the cut leaves as
    the beginning's last token. So if there is a token to spare, those before it are the whole text's.
    """
    cut = _torchtexts()
    text = HTML_BREAK.sub(" ", text)
    end = text.find(" ", CHARACTERS_PER_WORD * max_words)
    if end >= 0:
        words = cut(text[:end])
        if len(words) > max_words:
            return words[:max_words]
    return cut(text)[:max_words]


@cache
def _torchtexts() -> Callable[[str], list[str]]:
    from torchtext.data.utils import get_tokenizer

    cut: Callable[[str], list[str]] = get_tokenizer("basic_english")
    return cut


def characters(text: str, max_words: int) -> list[str]:
    """The first `max_words` of: each character of a script that is written without spaces, with the marks on it; other
    letters, digits and `_` by words, in lower case; and each other character that is no space, with its marks."""
    return [found[0] for found in islice(_characters().finditer(text.lower()), max_words)]


@cache
def _characters() -> re.Pattern[str]:
    # Vowels and tones of many scripts are marks, which Python's \w does not have; without private and unused planes.
    points = (*range(0x20000), *range(0xE0000, 0xE0200))
    marks = "".join(chr(point) for point in points if unicodedata.category(chr(point))[0] == "M")
    mark = f"[{re.escape(marks)}]*"
    return re.compile(rf"[{UNSPACED}]{mark}|(?:[^\W{UNSPACED}]{mark})+|\S{mark}")


#: What cuts a text into its words, at most so many.
TOKENIZERS: dict[str, Callable[[str, int], list[str]]] = {"basic_english": basic_english, "characters": characters}


def require_function(plugin: Plugin) -> None:
    """Raises UserError unless it can be called, as what makes a list of words of a text. It is not called yet."""
    if not callable(plugin.load()):
        raise UserError(f"{plugin.reference} should be a function from a text to a list of words")


@dataclass(frozen=True)
class Tokenizer:
    """How a text becomes words: whether it is cleaned first, and what cuts it.

    cuts: one of `TOKENIZERS`, or a function from outside.
    """

    clean: bool = False
    cuts: str | Plugin = "basic_english"

    @classmethod
    def of(cls, reading: Reading) -> Tokenizer:
        """Raises UserError for a tokenizer that is unknown or cannot be found."""
        cuts = reading.tokenizer
        if isinstance(cuts, str) and cuts not in TOKENIZERS:
            if not plugins.is_reference(cuts):
                raise UserError(
                    f"unknown tokenizer {cuts!r}{did_you_mean(cuts, TOKENIZERS)}, or yours: my_words.py:cut"
                )
            cuts = plugins.read(cuts)
            require_function(cuts)
        return cls(reading.clean, cuts)

    def __call__(self, text: str, max_words: int) -> list[str]:
        """The first `max_words` words of a text, none of them empty or with a space in it. May import torch."""
        text = self.plain(text)
        if isinstance(self.cuts, Plugin):
            return _words_of(self.cuts, text)[:max_words]
        return TOKENIZERS[self.cuts](text, max_words)

    def plain(self, text: str) -> str:
        """The text before it is cut."""
        return clean(text) if self.clean else text


#: As models read that do not say how: those of version 0.2 and before.
AS_WRITTEN = Tokenizer()


def _words_of(plugin: Plugin, text: str) -> list[str]:
    """What somebody's function makes of a text, an expression of several words joined by `_`: words are kept with
    spaces between them. Raises UserError, with the line in its file or with what it should return."""
    function = plugin.load()
    try:
        returned: Any = function(text)
        is_list = isinstance(returned, Iterable) and not isinstance(returned, str | Mapping)
        words = list(returned) if is_list else [returned]
    except Exception as error:
        raise UserError(f"tokenizer: {plugin.explain(error)}") from error
    wrong = [type(each).__name__ for each in words if not (is_list and isinstance(each, str))]
    if wrong:
        got = f"{wrong[0]} in a list" if is_list else wrong[0]
        raise UserError(f"tokenizer: {plugin.reference} should return a list of words; got {got}")
    return [word for each in words if (word := "_".join(each.split()))]


def build_vocabulary(
    counts: Counter[str], *, known: Collection[str] | None = None, min_count: int = 1
) -> tuple[str, ...]:
    """Padding, unknown, then the counted words that are known and seen `min_count` times, most frequent first."""
    from torchtext.vocab import Vocab

    kept = counts if known is None else Counter({word: counts[word] for word in known})
    return tuple(Vocab(kept, min_freq=min_count, specials=SPECIALS).itos)

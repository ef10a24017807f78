"""Tokenizers, with cleaning before them, and the vocabulary, which is torchtext's.

The only module that uses torchtext. Importing it imports torch, which takes seconds, so it is imported only when a
text is tokenized or a vocabulary is built.
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
CHARACTERS_PER_WORD = 6  # estimate; with 100 words it is enough for all but 37 reviews of imdb

#: Letters of scripts that are written without spaces between words, as a class of `re`.
UNSPACED = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u0f00-\u0fff"  # Tibetan
    "\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f"  # Burmese
    "\u1780-\u17ff\u19e0-\u19ff"  # Khmer
    "\u1950-\u19df\u1a20-\u1aaf"  # Tai Le, New Tai Lue, Tai Tham
    "\ua980-\ua9df"  # Javanese
    "\u3005-\u3007\u3021-\u3029\u3031-\u3035\u303b"  # marks and numerals used among Chinese characters
    "\u3041-\u30ff\u31f0-\u31ff\uff66-\uff9f\U0001aff0-\U0001b16f"  # Hiragana, Katakana
    "\u3105-\u312f\u31a0-\u31bf"  # Bopomofo
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
)


def basic_english(text: str, max_words: int) -> list[str]:
    """The first `max_words` tokens of torchtext's `basic_english`, after HTML breaks are removed.

    Only the beginning of the text is tokenized if the result is certain to be the same. The beginning ends at a space.
    The tokenizer looks beyond a space in one case only (a `<br />` that appears when quotes are removed), and then it
    affects only the last token of the beginning. So if the beginning has more than `max_words` tokens, the first
    `max_words` are right.
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
    """The first `max_words` tokens, in lower case. A token is a character of a script that is written without spaces, a
    word of other letters, digits and `_`, or any other character that is not a space; each with its combining marks."""
    return [token[0] for token in islice(_characters().finditer(text.lower()), max_words)]


@cache
def _characters() -> re.Pattern[str]:
    # Vowels and tones of many scripts are combining marks, which Python's \w lacks. Skips private and unused planes.
    points = (*range(0x20000), *range(0xE0000, 0xE0200))
    marks = "".join(chr(point) for point in points if unicodedata.category(chr(point))[0] == "M")
    mark = f"[{re.escape(marks)}]*"
    return re.compile(rf"[{UNSPACED}]{mark}|(?:[^\W{UNSPACED}]{mark})+|\S{mark}")


#: Functions from a text and a maximum number of words to its words.
TOKENIZERS: dict[str, Callable[[str, int], list[str]]] = {"basic_english": basic_english, "characters": characters}


def require_function(plugin: Plugin) -> None:
    """Raises UserError unless the plugin is callable. It is not called yet."""
    if not callable(plugin.load()):
        raise UserError(f"{plugin.reference} should be a function from a text to a list of words")


@dataclass(frozen=True)
class Tokenizer:
    """Splits texts into words.

    clean: whether texts are cleaned first. cuts: a name in `TOKENIZERS`, or a function from outside.
    """

    clean: bool = False
    cuts: str | Plugin = "basic_english"

    @classmethod
    def of(cls, reading: Reading) -> Tokenizer:
        """The tokenizer that the options name. Raises UserError if it is unknown or cannot be found."""
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
        """The first `max_words` words of a text; no word is empty or contains a space. May import torch."""
        text = self.plain(text)
        if isinstance(self.cuts, Plugin):
            return _words_of(self.cuts, text)[:max_words]
        return TOKENIZERS[self.cuts](text, max_words)

    def plain(self, text: str) -> str:
        """The text as it is before tokenization: cleaned, if the option is set."""
        return clean(text) if self.clean else text


#: For models that do not state their tokenizer: those of version 0.2 and before.
AS_WRITTEN = Tokenizer()


def _words_of(plugin: Plugin, text: str) -> list[str]:
    """The words that a user's function returns for a text; spaces inside a word become `_`, since words are stored
    joined by spaces. Raises UserError, with the line in the user's file or the expected return value."""
    function = plugin.load()
    try:
        returned: Any = function(text)
        is_list = isinstance(returned, Iterable) and not isinstance(returned, str | Mapping)
        words = list(returned) if is_list else [returned]
    except Exception as error:
        raise UserError(f"tokenizer: {plugin.explain(error)}") from error
    wrong = [type(word).__name__ for word in words if not (is_list and isinstance(word, str))]
    if wrong:
        got = f"{wrong[0]} in a list" if is_list else wrong[0]
        raise UserError(f"tokenizer: {plugin.reference} should return a list of words; got {got}")
    return [joined for word in words if (joined := "_".join(word.split()))]


def build_vocabulary(
    counts: Counter[str], *, known: Collection[str] | None = None, min_count: int = 1
) -> tuple[str, ...]:
    """The specials, then the words seen at least `min_count` times, the most frequent first.

    known: if given, only these words.
    """
    from torchtext.vocab import Vocab

    kept = counts if known is None else Counter({word: counts[word] for word in known})
    return tuple(Vocab(kept, min_freq=min_count, specials=SPECIALS).itos)

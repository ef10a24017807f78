"""Tokenizer and vocabulary, both torchtext's. The only module that touches torchtext.

torchtext imports torch, which takes seconds: import this module only where a text is really tokenized.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection

from torchtext.data.utils import get_tokenizer
from torchtext.vocab import Vocab

SPECIALS = ["<pad>", "<unk>"]  # ids 0 and 1: data.encode.PADDING and UNKNOWN

HTML_BREAK = re.compile(r"<\s*/?\s*br\s*/?\s*>", re.IGNORECASE)
CHARACTERS_PER_WORD = 6  # of a text's beginning: at 100 words enough for all but 37 reviews of imdb

_basic_english = get_tokenizer("basic_english")


def tokenize(text: str, max_words: int) -> list[str]:
    """The first `max_words` tokens of the text: torchtext's `basic_english` after HTML breaks are removed.

    Only the beginning is tokenized where that must give the same. It is cut at a space, and the tokenizer looks
    past a space in one case only (a `<br />` that comes to light when quotes are removed), which the cut leaves as
    the beginning's last token. So if there is a token to spare, those before it are the whole text's.
    """
    text = HTML_BREAK.sub(" ", text)
    end = text.find(" ", CHARACTERS_PER_WORD * max_words)
    if end >= 0:
        words: list[str] = _basic_english(text[:end])
        if len(words) > max_words:
            return words[:max_words]
    words = _basic_english(text)
    return words[:max_words]


def build_vocabulary(
    counts: Counter[str], *, known: Collection[str] | None = None, min_count: int = 1
) -> tuple[str, ...]:
    """Padding, unknown, then the counted words that are known and seen `min_count` times, most frequent first."""
    kept = counts if known is None else Counter({word: counts[word] for word in known})
    return tuple(Vocab(kept, min_freq=min_count, specials=SPECIALS).itos)

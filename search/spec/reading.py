"""The keys of a spec for reading its texts."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from data.base.errors import UserError, choose
from data.base.reading import Column, Reading
from data.corpora.opening import codecs_name
from data.text import TOKENIZERS


def _as_strings(labels: Any) -> Any:
    """Labels as strings, since YAML parses {1.0: 1} as numbers."""
    return {str(old): str(new) for old, new in labels.items()} if isinstance(labels, dict) else labels


def _existing(encoding: str | None) -> str | None:
    """Raises UserError for an encoding that does not exist."""
    return encoding and codecs_name(encoding) and encoding


def _one_character(separator: str | None) -> str | None:
    """Raises UserError for an invalid separator."""
    if separator in ("tab", "\\t"):
        return "\t"
    if separator is not None and (len(separator) != 1 or separator in '"\r\n '):
        raise UserError(f"should be one character, such as ; or tab; got {separator!r:.40}")
    return separator


def as_class(written: Any) -> Any:
    """A class as a string, since YAML parses 1 as a number. Raises UserError for an unquoted yes, no, true or false."""
    if isinstance(written, bool):
        raise UserError(f'YAML reads it as {written}; write the class in quotes, such as "yes"')
    return str(written) if isinstance(written, int | float) else written


class ReadingKeys(BaseModel):
    """The fields of `data.base.reading.Reading` as keys of a spec."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    text_column: Column = Field(None, description="the column of the texts, by name or number from 1")
    label_column: Column = Field(None, description="the column of the labels, by name or number from 1")
    split_column: Column = Field(
        None,
        description="the column with train, val and test; by default a column named split, if it has these values; "
        "none: use no column, not even one named split",
    )
    group_column: Column = Field(
        None,
        description="a column of groups (authors, threads, products, ...): all texts of a group are in the same split",
    )
    time_column: Column = Field(
        None, description="a column of times: train on the oldest texts, validate on newer ones, test on the newest"
    )
    time_format: str | None = Field(
        None, min_length=1, description="the format of the times, if it is ambiguous, as for strptime: %d/%m/%Y"
    )
    header: bool = Field(
        True, description="whether the first line names the columns; if not, columns are given by number"
    )
    encoding: Annotated[str | None, AfterValidator(_existing)] = Field(
        None, description="for files that are neither UTF-8 nor UTF-16 with a byte order mark: latin-1, ..."
    )
    separator: Annotated[str | None, AfterValidator(_one_character)] = Field(
        None, description="between cells: one character, or tab; detected by default"
    )
    test: str | None = Field(None, description="another corpus, csv:PATH, whose texts are the test split")
    labels: Annotated[dict[str, str], BeforeValidator(_as_strings)] = Field(
        {}, description='renames or merges labels, old -> new: {"1.0": "1"}'
    )
    multi_label: str | None = Field(
        None,
        min_length=1,
        description='for texts with several classes, or none (an empty label): what separates classes in a label, ";"',
    )
    min_examples: Literal["drop", "merge"] | None = Field(
        None,
        description="how to treat classes with too few texts: drop them, or merge them into one; by default an error",
    )
    contradictions: Literal["drop", "majority", "first"] = Field(
        Reading.contradictions,
        description="how to treat equal texts with different labels: drop them, or keep the majority label; first: the "
        "first of their labels in the order of classes",
    )
    duplicates: Literal["folded", "exact"] = Field(
        Reading.duplicates,
        description="which texts count as equal, so that only one is kept; folded: also texts that differ in case, "
        "spaces or punctuation at the end",
    )
    positive_class: Annotated[str | None, BeforeValidator(as_class)] = Field(
        None,
        description="of two classes, the one for F1, precision and recall; by default a class with a positive name "
        "(positive, spam, yes, 1, ...), or else one with less than 40 % of the texts, or else the second in natural "
        "order; natural order: always the second",
    )

    clean: bool = Field(
        Reading.clean,
        description="whether to clean texts first: tags, entities, typographic punctuation and invisible characters",
    )
    tokenizer: str = Field(
        "basic_english",
        description="splits texts into words: basic_english; characters, for languages without spaces between words; "
        "or yours: path/my_words.py:cut",
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

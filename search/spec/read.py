"""Reads a spec from a YAML file, applies overrides, and checks all of it before anything is started.

Every mistake gives one line with the rule, the value and the nearest valid choice.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import ValidationError

import data
from data.base import reading
from data.base.errors import UserError, did_you_mean
from data.base.folding import Fold
from data.base.splitting import NO_FOLDS_OF_TIMES, Division
from data.base.texts import Example
from data.encoded import WHOLE_TEXTS, EncodedCorpus
from data.inspecting.findings import Inspection
from models import WHOLE, architecture, baseline, reads_embeddings, words_named
from models.parts.estimator import MOST_WORDS
from search.base import origin, timings
from search.spec.code import take_in
from search.spec.objectives import check_objectives
from search.spec.spec import Resources, Spec
from search.train import weighting
from search.train.config import reads_texts
from search.train.metrics import OURS, measured_in, split_metric

SHIPPED = Path(__file__).parent / "shipped"

SPEC_FILE = origin.SPEC_FILE  # in a search's folder


#: The values of keys that a stored spec lacks because it is older than they are.
BEFORE: dict[str, Any] = {"baselines": [], "duplicate_trials": "allow", "texts": "all", "packing": 1}
BEFORE |= reading.BEFORE

#: Keys that may change when a search is resumed: its extent and its resources, never what is compared.
EXTENDABLE = (
    "trials",
    "time_budget",
    "resources",
    "packing",
    "concurrency",
    "retries",
    "keep_checkpoints",
    "storage",
    "storage_path",
    "nodes",
    "texts",
)


class _Loader(yaml.SafeLoader):
    """Reads 1e-4 as a number, which is a string in YAML 1.1 (it requires 1.0e-4)."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


class _Dumper(yaml.SafeDumper):
    """Writes sources as literal blocks."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        # An unescaped NEL would be read back as a line end.
        style = '"' if "\x85" in text else "|" if "\n" in text else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _Dumper.represent_text)


def parse_yaml(text: str) -> Any:
    return yaml.load(text, Loader=_Loader)


def read(
    source: str, overrides: Iterable[str] = (), *, keys: Mapping[str, Any] | None = None, files: bool = True
) -> Spec:
    """The spec in a file, or a shipped spec by name, with `key=value` overrides applied.

    keys: values that replace whole keys of the file. files: whether the files that the spec names have to exist.

    Raises UserError, with one line per mistake.
    """
    path, where = Path(source), source
    if not path.is_file():
        if source not in (known := shipped()):
            raise UserError(f"no spec {source!r}: neither a file nor shipped{did_you_mean(source, known)}")
        path = SHIPPED / f"{source}.yaml"
    content = {**parse(path.read_bytes(), where), **(keys or {})}
    for override in overrides:
        _apply(content, override)
    return validate(content, where=where, files=files)


def shipped() -> list[str]:
    """The names of the specs that this project ships."""
    return sorted(str(path.relative_to(SHIPPED).with_suffix("")) for path in SHIPPED.rglob("*.yaml"))


def read_spec(folder: Path) -> Spec:
    """The spec with which the search in this folder was started.

    Raises UserError, with a one-line message, if it is missing or no longer readable.
    """
    path = folder / SPEC_FILE
    try:
        return load(path.read_bytes(), str(path))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            f"the files of the search are not on this machine: there is no {folder / SPEC_FILE}; name their folder "
            "with --searches"
        ) from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None


def load(text: str | bytes, where: str) -> Spec:
    """A stored spec, as YAML, or as JSON if `where` ends in .json. The files that it names need not exist any more.

    Raises UserError, with a one-line message, if it is no longer readable.
    """
    try:
        return validate({**BEFORE, **parse(text, where)}, where=where, files=False)
    except UserError as error:
        raise UserError("; ".join(str(error).splitlines())) from None


def parse(text: str | bytes, where: str) -> dict[str, Any]:
    """The content of a spec, without any checks; nothing is executed. Raises UserError unless it is a mapping."""
    is_json = where.endswith(".json")
    try:
        content = json.loads(text) if is_json else parse_yaml(text if isinstance(text, str) else text.decode())
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{where}: not {'JSON' if is_json else 'YAML'}: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise UserError(f"{where}: a spec is a mapping of keys to values; got {type(content).__name__}")
    return content


def _apply(content: dict[str, Any], override: str) -> None:
    """Sets 'a.b=value' in nested mappings. The value is parsed as YAML, except for string keys: YAML reads ~, which may
    be a home folder or a separator, as null."""
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise UserError(f"--set takes key=value; got {override!r}")
    field = Spec.model_fields.get(key)
    if field is not None and field.annotation in (str, str | None) and value not in ("", "null"):
        quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
        content[key] = parse_yaml(value) if quoted else value
        return
    *parents, last = key.split(".")
    for parent in parents:
        if not isinstance(content.get(parent), dict):
            content[parent] = {}
        content = content[parent]
    try:
        content[last] = parse_yaml(value)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"--set {key}: not YAML: {' '.join(str(error).split())}") from None


def validate(content: Mapping[str, Any], where: str = "spec", *, files: bool = True) -> Spec:
    """The validated spec. Raises UserError with one line per mistake."""
    try:
        spec = Spec.model_validate(take_in(content))
    except ValidationError as invalid:
        lines = [_explain(error) for error in invalid.errors()]
        raise UserError("\n".join(f"{where}: {line}" for line in lines)) from None
    except UserError as error:  # about code from outside
        raise UserError(f"{where}: {error}") from None

    try:
        if files:
            data.check_names(spec.corpus, None if spec.embeddings == "learned" else spec.vectors, spec.test)
        _check_task(spec)
        if spec.folds and spec.time_column is not None:
            raise UserError(NO_FOLDS_OF_TIMES)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    return spec


def _check_task(spec: Spec) -> None:
    """Raises UserError unless all architectures have the same task, and corpus, metrics and other keys fit it."""
    from models import ARCHITECTURES
    from search.train.tasks import TASKS, task_with

    names: dict[str, list[str]] = {}
    for name in spec.architectures:
        names.setdefault(ARCHITECTURES[name].task, []).append(name)
    if len(names) > 1:
        listed = ", ".join(f"{' '.join(of_task)} for {task}" for task, of_task in names.items())
        raise UserError(f"architectures: should be for one task; got {listed}")
    (kind,) = names
    for name in spec.baselines:
        if (other := architecture(name).task) != kind:
            raise UserError(f"baselines: {name} is for {other}, not {kind}; write baselines: none")
    arrays = data.arrays_of(spec.corpus, spec.reading)
    needed = task_with(kind, arrays).arrays
    task = task_with(kind, arrays).name
    if not {*needed} <= {*arrays}:
        known = [name for name in data.CORPORA if {*needed} <= {*data.arrays_of(name)}]
        raise UserError(
            f"corpus: {task} needs a corpus with {' and '.join(needed)}: {' or '.join(known)}; got {spec.corpus!r}"
        )
    if spec.class_weights != "none" and not (TASKS[task].has_classes and TASKS[task].exclusive):
        raise UserError(f"class_weights: only for single-label classification, not for {task}; leave it out")
    of_task = [metric for metric in measured_in(task) if metric.name in (*OURS, *spec.metrics)]
    measured = [f"val_{metric.name}" for metric in of_task if not metric.no_rank]
    for name in spec.metrics:
        if f"val_{name}" not in measured:
            raise UserError(f"metrics: {name} is for texts of one class each, not for {task}; leave it out")
    if why := split_metric(spec.metric)[1].no_rank:
        raise UserError(f"metric: {spec.metric} cannot rank trials: {why}; choose from {', '.join(measured)}")
    if spec.metric not in measured:
        raise UserError(f"metric: should be one of {', '.join(measured)} for {task}; got {spec.metric!r}")
    check_objectives(spec, measured)


def _explain(error: Any) -> str:
    """A pydantic error in one line: key, rule, value, nearest valid choice."""
    key = ".".join(str(part) for part in error["loc"])
    match error["type"]:
        case "extra_forbidden":
            fields = Resources.model_fields if key.startswith("resources.") else Spec.model_fields
            return f"unknown key {key!r}{did_you_mean(error['loc'][-1], fields)}"
        case "literal_error":
            known = re.findall(r"'([^']*)'", error["ctx"]["expected"])
            return f"{key}: unknown {error['input']!r}{did_you_mean(error['input'], known)}"
        case "value_error":
            return f"{key}: {error['ctx']['error']}" if key else str(error["ctx"]["error"])
        case _:
            rule = error["msg"].removeprefix("Input should be ").removeprefix("a valid ")
            return f"{key}: should be {rule}; got {error['input']!r}"


def compared(spec: Spec) -> dict[str, Any]:
    """The part of a spec that defines what is compared, and must not change on a resume."""
    return spec.model_dump(mode="json", exclude={*EXTENDABLE, "code", "inherited"}) | {"code": spec.code.digests}


def require_unchanged(spec: Spec, before: Mapping[str, Any]) -> None:
    """Raises UserError, with the differences, unless the `compared` part is the one that a search was started with."""
    current = compared(spec)
    changed = [key for key in current if current[key] != before.get(key, current[key])]
    if changed:
        lines = [f"{key} was {before[key]!r}, is {current[key]!r}" for key in changed]
        raise UserError("\n".join(["the spec differs from the one that this search was started with", *lines]))


def freeze(spec: Spec) -> Spec:
    """The spec with absolute paths, so that it means the same in any working directory."""
    storage_path = spec.storage_path
    if storage_path is not None and "://" not in storage_path:
        storage_path = str(Path(storage_path).expanduser().absolute())
    return spec.model_copy(
        update={
            "corpus": spec.corpus if spec.code.corpus else data.absolute(spec.corpus),
            "vectors": data.absolute_vectors(spec.vectors),
            "test": spec.test and data.absolute(spec.test),
            "storage_path": storage_path,
        }
    )


def load_corpus(
    spec: Spec, progress: bool = False, *, to_train: bool = False, fold: Fold | None = None
) -> EncodedCorpus:
    """The encoded corpus of a spec.

    to_train: include texts and embeddings, if an architecture or baseline learns from them. fold: the fold of a
    cross-validation to divide the texts by. Raises UserError for mistakes that a user can correct.
    """
    corpus = data.load(
        spec.corpus,
        vectors=spec.vectors,
        embeddings=spec.embeddings,
        embedding_size=spec.embedding_size,
        max_words=spec.most_words,
        limit=spec.limit,
        split_seed=spec.split_seed,
        fold=fold,
        reading=spec.reading,
        texts=to_train and any(map(reads_texts, spec.studied)),
        whole=any(_depends_on_words(name) for name in spec.baselines),
        most_words=MOST_WORDS,
        embedded=to_train and any(map(reads_embeddings, spec.studied)),
        progress=progress,
    )
    weighting.check(spec.class_weights, corpus.classes)
    timings.note(timings.Event.CORPUS)
    return corpus


def load_again(spec: Spec, purpose: str, progress: bool = False, fold: Fold | None = None) -> EncodedCorpus:
    """The corpus for training again. purpose: the command, for the error message if the texts are gone."""
    try:
        return load_corpus(spec, progress, to_train=True, fold=fold)
    except UserError as error:
        raise UserError(f"{purpose} needs the texts that the search was started with: {error}") from error


def require_folds(spec: Spec) -> None:
    """Raises UserError unless the texts can be divided into the folds for the cross-validation after a search."""
    if spec.folds and not spec.repeats:
        read_texts(spec, Fold(1, spec.folds))  # the first fold checks all of them


def inspect(spec: Spec, corpus: EncodedCorpus | None = None, progress: bool = False) -> Inspection:
    """The inspection of the spec's corpus: facts and findings. corpus: the result of `load_corpus`, if available.

    Contains no words of the texts if the spec has `texts: none`. Raises UserError if the corpus cannot be read.
    """
    inspection = data.inspect(
        spec.corpus,
        vectors=spec.vectors,
        embeddings=spec.embeddings,
        embedding_size=spec.embedding_size,
        max_words=sorted({spec.most_words, *(spec.words_of(name) for name in spec.architectures)}),
        limit=spec.limit,
        split_seed=spec.split_seed,
        reading=spec.reading,
        encoded=corpus,
        progress=progress,
    )
    return inspection.without_texts() if spec.texts == "none" else inspection


def read_examples(spec: Spec, split: Literal["train", "val", "test"]) -> Sequence[Example]:
    """The original texts of a split of the spec's corpus, each with the index of its class."""
    return read_texts(spec).splits[split]


def read_texts(spec: Spec, fold: Fold | None = None) -> Division:
    """All original texts of the spec's corpus, by split."""
    return data.read(spec.corpus, limit=spec.limit, split_seed=spec.split_seed, fold=fold, reading=spec.reading)


def fitted(spec: Spec, corpus: EncodedCorpus) -> Spec:
    """Adapts the spec to its corpus, which has to be loaded for training.

    An epoch has at most one report per batch. Baselines that read words are added for every max_words of an
    architecture, and for whole texts, if that makes a difference; a spec that repeats a search already has them.
    """
    batches = -(-round(spec.smallest_share * len(corpus.train)) // spec.largest_batch)
    if spec.reports_per_epoch > batches:
        spec = spec.model_copy(update={"reports_per_epoch": batches})
    if spec.repeats:
        return spec
    cuts, longest = WHOLE_TEXTS in corpus.train.arrays, int(corpus.train.lengths_N.max())
    counts = sorted({spec.words_of(name) for name in spec.architectures})
    words = [*(str(num) for num in counts if num < min(spec.most_words, longest)), *[WHOLE] * cuts]
    plain = [name for name in spec.baselines if _depends_on_words(name) and not words_named(name)]
    more = [f"{name}_{num_words}" for num_words in words for name in plain]
    names = [name for name in dict.fromkeys((*spec.baselines, *more)) if cuts or words_named(name) != WHOLE]
    return spec.model_copy(update={"baselines": names})


def _depends_on_words(name: str) -> bool:
    """Whether this is a baseline whose result depends on the number of words read per text."""
    return (entry := baseline(name)) is not None and entry.depends_on_words


def dump(spec: Spec) -> str:
    """The spec as YAML; reading it gives an equal spec."""
    content = spec.model_dump(mode="json", exclude={"code"})
    if spec.code.plugins:
        content["code"] = spec.code.model_dump(mode="json")
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True)

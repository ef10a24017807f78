"""Reads a spec: a YAML file, overrides applied, everything in it checked before anything is started.

Every mistake is one line that names the rule, the value and the nearest valid choice.
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


#: What a kept spec means that was written before there was such a key.
BEFORE: dict[str, Any] = {"baselines": [], "duplicate_trials": "allow", "texts": "all", "packing": 1}
BEFORE |= reading.BEFORE

#: What may change when a search is resumed: how far it goes and with what, never what is compared.
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
    """YAML 1.1 takes 1e-4 for a string (it wants 1.0e-4); users write 1e-4 and mean a number."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


class _Dumper(yaml.SafeDumper):
    """Sources are written as they are, line by line."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        # A NEL that is not escaped is read back as the end of a line.
        style = '"' if "\x85" in text else "|" if "\n" in text else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _Dumper.represent_text)


def parse_yaml(text: str) -> Any:
    return yaml.load(text, Loader=_Loader)


def read(
    source: str, overrides: Iterable[str] = (), *, keys: Mapping[str, Any] | None = None, files: bool = True
) -> Spec:
    """The spec in a file, or one of the shipped ones by its name, with `key=value` overrides applied.

    keys: whole keys, each in place of what the file says. files: whether the files that it names have to be there.

    Raises UserError, one line for each mistake.
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
    """The names of the specs that come with us."""
    return sorted(str(each.relative_to(SHIPPED).with_suffix("")) for each in SHIPPED.rglob("*.yaml"))


def read_spec(folder: Path) -> Spec:
    """The spec that the search in this folder was started with.

    Raises UserError, in one line, where it is not there or can be read no longer.
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
    """A spec that was kept, as YAML or, if `where` ends so, JSON; the files that it names need not be there any more.

    Raises UserError, in one line, for one that can be read no longer.
    """
    try:
        return validate({**BEFORE, **parse(text, where)}, where=where, files=False)
    except UserError as error:
        raise UserError("; ".join(str(error).splitlines())) from None


def parse(text: str | bytes, where: str) -> dict[str, Any]:
    """A spec as it is written, nothing in it checked or executed. Raises UserError unless it is a mapping."""
    is_json = where.endswith(".json")
    try:
        content = json.loads(text) if is_json else parse_yaml(text if isinstance(text, str) else text.decode())
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{where}: not {'JSON' if is_json else 'YAML'}: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise UserError(f"{where}: a spec is a mapping of keys to values; got {type(content).__name__}")
    return content


def _apply(content: dict[str, Any], override: str) -> None:
    """Set 'a.b=value' in nested mappings; the value is YAML, but for keys of texts, such as paths, as it is: a ~ may
    stand between cells."""
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise UserError(f"--set takes key=value; got {override!r}")
    field = Spec.model_fields.get(key)
    if (
        field is not None and field.annotation in (str, str | None) and value not in ("", "null")
    ):  # ~ is a separator, or home
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
    """The spec. Raises UserError with a line for each mistake: its types, its names and its space."""
    try:
        spec = Spec.model_validate(take_in(content))
    except ValidationError as invalid:
        lines = [_explain(error) for error in invalid.errors()]
        raise UserError("\n".join(f"{where}: {line}" for line in lines)) from None
    except UserError as error:  # of what is not ours
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
    """Raises UserError unless the architectures are of one kind, and corpus and metric belong to their task."""
    from models import ARCHITECTURES
    from search.train.tasks import TASKS, task_with

    names: dict[str, list[str]] = {}
    for name in spec.architectures:
        names.setdefault(ARCHITECTURES[name].task, []).append(name)
    if len(names) > 1:
        listed = ", ".join(f"{' '.join(own)} for {task}" for task, own in names.items())
        raise UserError(f"architectures: should be for one task; got {listed}")
    (kind,) = names
    for name in spec.baselines:
        if (its := architecture(name).task) != kind:
            raise UserError(f"baselines: {name} is for {its}, not {kind}; write baselines: none")
    found = data.arrays_of(spec.corpus, spec.reading)
    needed = task_with(kind, found).arrays
    task = task_with(kind, found).name
    if not {*needed} <= {*found}:
        known = [name for name in data.CORPORA if {*needed} <= {*data.arrays_of(name)}]
        raise UserError(
            f"corpus: {task} needs one with {' and '.join(needed)}, such as {' or '.join(known)}; got {spec.corpus!r}"
        )
    if spec.class_weights != "none" and not (TASKS[task].has_classes and TASKS[task].exclusive):
        raise UserError(f"class_weights: only for texts of one class each, not for {task}; leave it out")
    of_task = [metric for metric in measured_in(task) if metric.name in (*OURS, *spec.metrics)]
    measured = [f"val_{metric.name}" for metric in of_task if not metric.no_rank]
    for name in spec.metrics:
        if f"val_{name}" not in measured:
            raise UserError(f"metrics: {name} is for texts of one class each, not for {task}; leave it out")
    if why := split_metric(spec.metric)[1].no_rank:
        raise UserError(f"metric: trials are not ranked by {spec.metric}: {why}; choose from {', '.join(measured)}")
    if spec.metric not in measured:
        raise UserError(f"metric: should be one of {', '.join(measured)} for {task}; got {spec.metric!r}")
    check_objectives(spec, measured)


def _explain(error: Any) -> str:
    """One pydantic error -> one line: key, rule, value, nearest valid choice."""
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
    """The part of a spec that defines what is compared."""
    return spec.model_dump(mode="json", exclude={*EXTENDABLE, "code", "inherited"}) | {"code": spec.code.digests}


def require_unchanged(spec: Spec, before: Mapping[str, Any]) -> None:
    """Raises UserError that shows what differs from the `compared` part that a search was started with."""
    now = compared(spec)
    changed = [key for key in now if now[key] != before.get(key, now[key])]
    if changed:
        lines = [f"{key} was {before[key]!r}, is {now[key]!r}" for key in changed]
        raise UserError("\n".join(["the spec is not the one that this search was started with", *lines]))


def freeze(spec: Spec) -> Spec:
    """The spec with the paths in it absolute, so that it means the same wherever it is read."""
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
    """The corpus of a spec, encoded; raises UserError where a user can set something right.

    to_train: with its texts, where one of the architectures or baselines learns from these. fold: the same texts,
    divided in this way.
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
    """The corpus to train on once more; the purpose says which command cannot do without its texts if they are gone."""
    try:
        return load_corpus(spec, progress, to_train=True, fold=fold)
    except UserError as error:
        raise UserError(f"{purpose} needs the texts that the search was started with: {error}") from error


def require_folds(spec: Spec) -> None:
    """Raises UserError unless the texts can be divided into the folds over which the best is trained after a search."""
    if spec.folds and not spec.repeats:
        read_texts(spec, Fold(1, spec.folds))  # any of them tells of all


def inspect(spec: Spec, corpus: EncodedCorpus | None = None, progress: bool = False) -> Inspection:
    """What was understood of the spec's corpus, and what is odd about it. corpus: as `load_corpus` gives it.

    Without a word of its texts, where the spec says that these may be nowhere. Raises UserError when it cannot be read.
    """
    found = data.inspect(
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
    return found.without_texts() if spec.texts == "none" else found


def read_examples(spec: Spec, split: Literal["train", "val", "test"]) -> Sequence[Example]:
    """The texts of a split of the spec's corpus as they were written, each with the index of its class."""
    return read_texts(spec).splits[split]


def read_texts(spec: Spec, fold: Fold | None = None) -> Division:
    """All texts of the spec's corpus, by split, as they were written."""
    return data.read(spec.corpus, limit=spec.limit, split_seed=spec.split_seed, fold=fold, reading=spec.reading)


def fitted(spec: Spec, corpus: EncodedCorpus) -> Spec:
    """The spec as its corpus, loaded to train, allows and asks for.

    An epoch has at most a report a batch. The baselines come once more on as many words as each of the architectures
    reads, and on whole texts, where that makes a difference; what repeats a search has all that it needs.
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
    more = [f"{name}_{each}" for each in words for name in plain]
    names = [name for name in dict.fromkeys((*spec.baselines, *more)) if cuts or words_named(name) != WHOLE]
    return spec.model_copy(update={"baselines": names})


def _depends_on_words(name: str) -> bool:
    """Whether this is a baseline to which it matters how many words of a text it reads."""
    return (found := baseline(name)) is not None and found.depends_on_words


def dump(spec: Spec) -> str:
    """The spec as YAML that reads back equal."""
    content = spec.model_dump(mode="json", exclude={"code"})
    if spec.code.plugins:
        content["code"] = spec.code.model_dump(mode="json")
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True)

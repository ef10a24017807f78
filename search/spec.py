"""The spec of a search: one YAML file, validated before anything is started.

Every mistake is one line that names the rule, the value and the nearest valid choice.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from search import record
from search.console import choose, did_you_mean

SHIPPED = Path(__file__).parent / "specs"
SPEC_FILE = "spec.yaml"  # in a search's folder

KEEPS = ("all", "best", "top:3")

#: What may change when a search is resumed: how far it goes and with what, never what is compared.
EXTENDABLE = (
    "trials",
    "time_budget",
    "resources",
    "concurrency",
    "retries",
    "keep_checkpoints",
    "storage",
    "storage_path",
    "nodes",
)
#: The object stores that checkpoints may be kept in: Amazon's and what speaks like it, Google's, Azure's.
STORES = ("s3", "gs", "abfs")

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_seconds(value: object) -> object:
    """'90s', '20m', '1.5h' or a number of seconds -> seconds; anything else is left for the type check."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhd]?)\s*", str(value))
    return float(match[1]) * _UNITS.get(match[2], 1) if match else value


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Resources(Strict):
    """What one trial is given."""

    cpu: Annotated[float, Field(ge=0.01, description="cores; a trial uses as many threads as whole cores")] = 1
    gpu: Annotated[float, Field(ge=0, description="cards; 0.25 shares a card between four trials")] = 0


class NodeType(Strict):
    """Equal machines of a cluster, for the prediction of what a search costs."""

    cpu: float = Field(ge=0)
    gpu: float = Field(0, ge=0)
    count: int = Field(1, ge=1)
    price: float = Field(0, ge=0, description="of one of them, an hour, in any money")


class Spec(Strict):
    """Everything that defines a search. Two runs of one spec propose the same first trials."""

    name: str = Field("search", description="the MLflow experiment and the first part of the search's id")

    corpus: str = Field("imdb", description="imdb, rotten-tomatoes, imdb-full, captions or csv:PATH")
    vectors: str = Field("glove.6B.50d", description="glove.6B.50d/100d/200d/300d or file:PATH")
    embeddings: Literal["frozen", "finetuned", "learned"] = Field(
        "frozen", description="learned: no vectors, trained from scratch with embedding_size dimensions"
    )
    embedding_size: int = Field(50, ge=1, description="dimensions of learned embeddings")
    max_words: int = Field(100, ge=1, description="texts are cut after so many words")
    limit: int | None = Field(None, ge=20, description="use only so many texts, the same ones every time")

    architectures: list[str] = Field(["rnn", "gru", "mlp", "attention", "cnn"], min_length=1)
    space: dict[str, Any] = Field(
        {},
        description="hyperparameter -> list (a choice), mapping low/high/step/log (a range), scalar (fixed), "
        "or a mapping from architecture to one of these",
    )
    configurations: dict[str, dict[str, dict[str, Any]]] | None = Field(
        None, description="instead of a space: architecture -> name -> hyperparameters, for sampler: grid"
    )
    confirms: str | None = Field(None, description="the id of the search whose best configurations these are")
    match_parameters: int | None = Field(
        None, ge=1, description="hidden_size is solved so that every model has so many trainable parameters, within 2 %"
    )
    epochs: int = Field(6, ge=1)
    batch_size: int = Field(32, ge=1)
    max_grad_norm: float | None = Field(None, gt=0, description="gradients are clipped to this norm if given")
    curve_interval: int = Field(50, ge=1, description="iterations between two points of the training curves")

    trials: int | None = Field(None, ge=1, description="for each architecture; a grid is run to its end unless told")
    seeds: int = Field(1, ge=1, le=1000, description="trials of each point of a grid, equal but for their seeds")
    sampler: Literal["tpe", "random", "grid", "gp", "cmaes"] = "tpe"
    pruner: Literal["asha", "hyperband", "median", "none"] = "asha"
    metric: str = Field("val_accuracy", description="what trials are ranked by, on validation")
    seed: int = Field(0, ge=0, lt=2**31)
    time_budget: Annotated[float, BeforeValidator(parse_seconds)] | None = Field(
        None, gt=0, description="seconds, or a number with s, m, h or d; then the search stops and can be resumed"
    )
    resources: Resources = Resources()
    concurrency: int | None = Field(
        None, ge=1, description="trials at once; without it as many as fit the nodes that are there or may be started"
    )
    retries: int = Field(
        2, ge=0, description="how often a trial goes on after its worker died; the loss of its node does not count"
    )
    keep_checkpoints: str = Field(
        "all",
        description="of finished trials: all, or the best or the top:K of each architecture (of each configuration)",
    )
    storage: str | None = Field(
        None, min_length=1, description="an Optuna storage URL; without one a journal in the search's folder"
    )
    storage_path: str | None = Field(
        None,
        min_length=1,
        description="where trials keep checkpoints: a folder that all nodes share, s3://bucket/folder, gs://... or "
        "abfs://...; without it the search's folder",
    )
    nodes: list[NodeType] = Field([], description="the cluster that `plan` reckons with, its head included")

    @field_validator("name")
    @classmethod
    def _name_is_a_file_name(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
            raise ValueError(
                "must be 1 to 64 letters, digits, '.', '_' or '-', the first a letter or digit; "
                f"got {name!r}; nearest: {re.sub(r'[^A-Za-z0-9._-]+', '-', name).strip('-._')[:64] or 'search'!r}"
            )
        return name

    @field_validator("metric")
    @classmethod
    def _metric_is_on_validation(cls, metric: str) -> str:
        return choose("metric", metric, [f"val_{name}" for name in record.METRICS])

    @field_validator("keep_checkpoints")
    @classmethod
    def _keeps_are_known(cls, keep: str) -> str:
        if not re.fullmatch(r"all|best|top:[1-9]\d*", keep):
            raise ValueError(f"should be all, best or top:K with K from 1; got {keep!r}{did_you_mean(keep, KEEPS)}")
        return keep

    @field_validator("storage_path")
    @classmethod
    def _storage_path_is_known_and_holds_no_key(cls, path: str | None) -> str | None:
        scheme, mark, rest = (path or "").partition("://")
        if mark:
            choose("storage_path", scheme, STORES)
            if "@" in rest.partition("/")[0]:
                raise ValueError("should hold no keys (give them in the environment, or the machine a role)")
        return path

    @field_validator("architectures")
    @classmethod
    def _architectures_exist(cls, names: list[str]) -> list[str]:
        from models import ARCHITECTURES

        for name in names:
            choose("architecture", name, ARCHITECTURES)
        if len(set(names)) < len(names):
            raise ValueError(f"each architecture once; got {names}")
        return names

    @property
    def num_kept(self) -> float:
        """How many trials of each architecture keep their checkpoints when they have finished."""
        keep = self.keep_checkpoints
        return float("inf") if keep == "all" else 1 if keep == "best" else int(keep.removeprefix("top:"))

    @property
    def num_trials(self) -> int:
        """Trials for each architecture, where the sampler does not bound them itself."""
        return self.trials or 8


class _Loader(yaml.SafeLoader):
    """YAML 1.1 takes 1e-4 for a string (it wants 1.0e-4); users write 1e-4 and mean a number."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def parse_yaml(text: str) -> Any:
    return yaml.load(text, Loader=_Loader)


def read(source: str, overrides: Iterable[str] = (), *, files: bool = True) -> Spec:
    """The spec in a file, or one of the shipped ones by its name, with `key=value` overrides applied.

    files: whether the files that it names have to be there.

    Raises ValueError, one line for each mistake.
    """
    path = Path(source)
    if not path.is_file():
        shipped = sorted(str(each.relative_to(SHIPPED).with_suffix("")) for each in SHIPPED.rglob("*.yaml"))
        if source not in shipped:
            raise ValueError(f"no spec {source!r}: neither a file nor shipped{did_you_mean(source, shipped)}")
        path = SHIPPED / f"{source}.yaml"
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: a spec is a mapping of keys to values; got {type(content).__name__}")
    for override in overrides:
        _apply(content, override)
    return validate(content, where=str(path), files=files)


def _apply(content: dict[str, Any], override: str) -> None:
    """Set 'a.b=value' in nested mappings; the value is YAML."""
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise ValueError(f"--set takes key=value; got {override!r}")
    *parents, last = key.split(".")
    for parent in parents:
        if not isinstance(content.get(parent), dict):
            content[parent] = {}
        content = content[parent]
    try:
        content[last] = parse_yaml(value)
    except yaml.YAMLError as error:
        raise ValueError(f"--set {key}: not YAML: {' '.join(str(error).split())}") from None


def validate(content: Mapping[str, Any], where: str = "spec", *, files: bool = True) -> Spec:
    """The spec, or ValueError with a line for each mistake: its types, its names and its space."""
    from search import space

    try:
        spec = Spec.model_validate(content)
    except ValidationError as invalid:
        lines = [_explain(error) for error in invalid.errors()]
        raise ValueError("\n".join(f"{where}: {line}" for line in lines)) from None

    import data

    try:
        if files:
            data.check_names(spec.corpus, None if spec.embeddings == "learned" else spec.vectors)
        _check_task(spec)
        space.build(spec)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{where}: {error}") from None
    return spec


def _check_task(spec: Spec) -> None:
    """Raises ValueError unless the architectures have one task, and the corpus and the metric belong to it."""
    import data
    from models import ARCHITECTURES, IMAGE

    names: dict[str, list[str]] = {}
    for name in spec.architectures:
        names.setdefault(ARCHITECTURES[name].task, []).append(name)
    if len(names) > 1:
        listed = ", ".join(f"{' '.join(own)} for {task}" for task, own in names.items())
        raise ValueError(f"architectures: should be for one task; got {listed}")
    (task,) = names
    if task == IMAGE and spec.corpus not in data.OF_IMAGES:
        raise ValueError(
            f"corpus: {' and '.join(spec.architectures)} should have one that asks for images, "
            f"{' or '.join(data.OF_IMAGES)}; got {spec.corpus!r}"
        )
    measured = [f"val_{name}" for name in record.MEASURED[task]]
    if spec.metric not in measured:
        raise ValueError(f"metric: should be one of {', '.join(measured)} for {task}; got {spec.metric!r}")


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
            return f"{key}: {error['ctx']['error']}"
        case _:
            rule = error["msg"].removeprefix("Input should be ").removeprefix("a valid ")
            return f"{key}: should be {rule}; got {error['input']!r}"


def compared(spec: Spec) -> dict[str, Any]:
    """The part of a spec that defines what is compared."""
    return spec.model_dump(mode="json", exclude=set(EXTENDABLE))


def require_unchanged(spec: Spec, before: Mapping[str, Any]) -> None:
    """Raises ValueError that shows what differs from the `compared` part that a search was started with."""
    now = compared(spec)
    changed = [key for key in now if now[key] != before.get(key, now[key])]
    if changed:
        lines = [f"{key} was {before[key]!r}, is {now[key]!r}" for key in changed]
        raise ValueError("\n".join(["the spec is not the one that this search was started with", *lines]))


def freeze(spec: Spec) -> Spec:
    """The spec with the paths in it absolute, so that it means the same wherever it is read."""

    def absolute(name: str) -> str:
        kind, colon, path = name.partition(":")
        return f"{kind}:{Path(path).expanduser().absolute()}" if colon else name

    storage_path = spec.storage_path
    if storage_path is not None and "://" not in storage_path:
        storage_path = str(Path(storage_path).expanduser().absolute())
    return spec.model_copy(
        update={
            "corpus": absolute(spec.corpus),
            "vectors": absolute(spec.vectors),
            "storage_path": storage_path,
        }
    )


def dump(spec: Spec) -> str:
    """The spec as YAML that reads back equal."""
    return yaml.safe_dump(spec.model_dump(mode="json"), sort_keys=False, allow_unicode=True)

"""The spec of a search: a YAML file, validated and turned into typed objects before anything is started.

Every mistake gives one line with the rule, the value and the nearest valid choice.
"""

import re
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    create_model,
    field_validator,
    model_validator,
)

from data.base import folding
from data.base.errors import UserError, choose, did_you_mean
from data.base.reading import Reading
from data.encoded import ALL_WORDS
from models import (
    ARCHITECTURES,
    BASELINES,
    CLASSIFICATION,
    OURS,
    WHOLE,
    baseline,
    is_baseline,
    reads_embeddings,
    words_named,
)
from models.parts.hyperparameters import OrNone
from search.base import schema
from search.spec.code import Code
from search.spec.goals import GoalKeys
from search.spec.inherited import Inherited, enqueued
from search.spec.packing import Packing, size_of
from search.spec.reading import ReadingKeys
from search.spec.space import Choice, Space, Values, complete, parse
from search.spec.weights import Weights
from search.train.config import HIDDEN_SIZE, TRAIN_SHARE, TRAINING, TrainingConfig, defaults, domains
from search.train.length import Length
from search.train.metrics import measures

NUM_INHERITED = 2  # configurations from earlier searches that an architecture tries first, at most

KEEPS = ("all", "best", "top:3")  # examples of keep_checkpoints, for suggestions

#: Object stores for checkpoints: Amazon S3 and compatible ones, Google's, Azure's.
STORES = ("s3", "gs", "abfs")

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_seconds(value: object) -> object:
    """'90s', '20m', '1.5h' or a number of seconds -> seconds; other values are left for the type check to reject."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhd]?)\s*", str(value))
    return float(match[1]) * _UNITS.get(match[2], 1) if match else value


#: The default baselines for classification, without and with an encoder.
USUAL_BASELINES = ("majority", "tfidf", "nbsvm")
USUAL_WITH_ENCODER = (*USUAL_BASELINES, "embedding")


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Resources(Strict):
    """The resources of one trial."""

    cpu: Annotated[float, Field(ge=0.01, description="cores; a trial uses one thread per whole core")] = 1
    gpu: Annotated[float, Field(ge=0, description="GPUs; with 0.25 four trials share one")] = 0


class NodeType(Strict):
    """Machines of one type in a cluster, for predicting the cost of a search."""

    cpu: float = Field(ge=0)
    gpu: float = Field(0, ge=0)
    count: int = Field(1, ge=1)
    price: float = Field(0, ge=0, description="per machine and hour, in any currency")


if TYPE_CHECKING:

    class _Keys(GoalKeys, ReadingKeys): ...

else:  # `from` is a keyword of Python, so a class cannot declare it
    _FROM = (
        list[str],
        Field(
            [],
            description="earlier searches by id, name or folder, also on other texts: their best configurations are "
            "tried first and the sampler learns from the others; their cost counts as budget",
        ),
    )
    _Keys = create_model("_Keys", __base__=(GoalKeys, ReadingKeys), **{"from": _FROM})


class Spec(_Keys):
    """Everything that defines a search. Repeated runs of a spec propose the same first trials."""

    name: str = Field("search", description="the name of the MLflow experiment, and the first part of the search's id")

    corpus: str = Field(
        "imdb", description="imdb, rotten-tomatoes, imdb-full, captions, your file, or path/my_data.py:load"
    )
    vectors: str = Field(
        "glove.6B.50d",
        description="glove.6B.50d/100d/200d/300d, file:PATH, or your encoder, path/encoder.py:embed",
    )
    embeddings: Literal["frozen", "finetuned", "learned"] = Field(
        "frozen",
        description="frozen or finetuned word vectors; learned: trained from scratch, with embedding_size dimensions",
    )
    embedding_size: int = Field(50, ge=1, description="dimensions of learned embeddings")
    max_words: int | dict[str, int] = Field(
        100, description="texts are truncated to this number of words; or a mapping from architecture to number"
    )
    limit: int | None = Field(None, ge=20, description="use only this number of texts, the same ones every time")

    split_seed: int = Field(
        0,
        ge=0,
        lt=2**31,
        description="selects a division into training, validation and test; official splits stay the same",
    )
    folds: int | None = Field(
        None,
        ge=folding.LEAST,
        le=folding.MOST,
        description="cross-validation, for small files: at the end the best configuration of each architecture and all "
        "baselines are trained on this number of folds; their scores are means over the folds",
    )

    texts: Literal["none", "page", "all"] = Field(
        "page",
        description="where texts of the corpus may appear; page: on report pages and terminals, and in the search's "
        "folder; all: in MLflow as well; none: only in the output of analysis commands that show texts",
    )

    code: Code = Field(
        Code(), description="filled in: the sources of your architectures, corpora, metrics, ...", repr=False
    )
    architectures: list[str] = Field(
        ["rnn", "gru", "mlp", "attention", "cnn"],
        min_length=1,
        description="built-in ones by name, or yours: path/my_net.py:Name or package.module:Name",
    )
    baselines: list[str] = Field(
        None,
        validate_default=True,
        description="models to beat, tuned on small grids: majority, tfidf, nbsvm; embedding: a logistic regression "
        "on an encoder's embeddings of texts (see vectors); or none. By default the first three for "
        "classification, and embedding if there is an encoder. Baselines of words also run with each max_words of "
        "an architecture (nbsvm_200) and on whole texts (nbsvm_whole)",
    )
    space: dict[str, Any] = Field(
        {},
        description="hyperparameter -> list (a choice), mapping low/high/step/log (a range), scalar (fixed), "
        "or a mapping from architecture to any of these",
    )
    configurations: dict[str, dict[str, dict[str, Any]]] | None = Field(
        None,
        description="named points instead of a space, with sampler: grid: architecture -> name -> hyperparameters, and "
        "optionally train_share, the share of training texts to use; baselines keep their grids unless they are listed",
    )
    confirms: str | None = Field(
        None, description="filled in: the id of the search whose best configurations these are"
    )
    looks: int | None = Field(
        None,
        ge=1,
        description="filled in: the number of looks for which the verdicts of confirm --until-decided are valid",
    )
    sizes_of: str | None = Field(
        None, description="filled in: the id of the search whose best models are trained here on fewer texts"
    )
    path_of: str | None = Field(
        None,
        description="filled in: the id of the search between whose default and best configuration this one takes steps",
    )
    match_parameters: int | None = Field(
        None,
        ge=1,
        description="solve hidden_size so that every model has this number of trainable parameters, within 2 %",
    )
    epochs: int = Field(6, ge=1, description="passes of a trial over the training texts")
    reports_per_epoch: int = Field(
        1, ge=1, description="evaluations per epoch, at which a trial may be pruned; its score is the best one"
    )
    patience: int | None = Field(
        None,
        ge=1,
        description="early stopping: a trial ends, as complete, after this number of reports without a better score",
    )
    class_weights: Weights = Field(
        "none",
        description="weights of the classes in the training loss: none (equal for all texts), balanced (equal for all "
        "classes) or {class: weight}, 1 for other classes; reported losses are not weighted",
    )
    batch_size: int = Field(TrainingConfig.batch_size, description="for all trials, unless the space sets it")
    max_grad_norm: float | None = Field(
        TrainingConfig.max_grad_norm,
        description="clip gradients to this norm; null: no clipping; for all trials, unless the space sets it",
    )
    curve_interval: int = Field(50, ge=1, description="iterations between two points of the training curves")

    trials: int | None = Field(None, ge=1, description="per architecture; by default 8, or all points of a grid")
    seeds: int = Field(1, ge=1, le=1000, description="trials per point of a grid, which differ only in their seeds")
    sampler: Literal["tpe", "random", "grid", "gp", "cmaes", "nsga2"] = Field(
        "tpe", description="the algorithm that proposes configurations"
    )
    pruner: Literal["asha", "hyperband", "median", "front", "none"] = Field(
        "asha", description="the rule that ends trials early; with several objectives front (the default then) or none"
    )
    inherited: list[Inherited] = Field([], description="filled in: the trials of the searches in `from`", repr=False)
    duplicate_trials: Literal["repeat", "redraw", "allow"] = Field(
        "repeat",
        description="how to treat a configuration that the sampler proposes again; repeat: train it with another seed, "
        "without pruning, and rank it by the mean of its trials; redraw: propose another one, and end when all points "
        "of a small space were tried; allow: rank every trial separately",
    )
    stop: Literal["none", "decided"] = Field(
        "none",
        description="decided: an architecture gets no more trials once its chance to overtake the best is below 5 %, "
        "and the search ends once the expected gain of its best score is below min_gain",
    )
    min_gain: float = Field(0.002, ge=0, description="with stop: decided, in the metric's unit; 0.002 is 0.2 points")
    metrics: list[str] = Field(
        [], description="your additional metrics: path/my_metrics.py:name or package.module:name"
    )
    metric: str = Field("val_accuracy", description="the validation metric that ranks trials")
    seed: int = Field(0, ge=0, lt=2**31, description="seed of all random numbers of a search")
    time_budget: Annotated[float, BeforeValidator(parse_seconds)] | None = Field(
        None,
        gt=0,
        description="seconds, or a number with s, m, h or d, after which the search stops; it can be resumed",
    )
    resources: Resources = Field(
        Resources(), description="resources of one trial, or of one pack of trials: {cpu: 1}, {cpu: 2, gpu: 0.25}"
    )
    precision: Literal["float32", "tf32", "bf16"] = Field(
        "float32", description="of matrix products on a GPU; tf32 and bf16 are faster but less precise"
    )
    packing: Packing = Field(
        "auto",
        description="how many trials of one architecture a worker trains together, with the same results as alone; "
        "auto: 32 on a GPU for rnn, gru, mlp, attention and cnn with frozen vectors, otherwise 1; baselines are never "
        "packed",
    )
    concurrency: int | None = Field(
        None,
        ge=1,
        description="trials, or packs of trials, at a time; by default as many as fit on the nodes that exist or may "
        "be started",
    )
    retries: int = Field(
        2, ge=0, description="how often a trial is continued after its worker died; the loss of a node does not count"
    )
    keep_checkpoints: str = Field(
        "all",
        description="which finished trials keep their checkpoints: all, best or top:K, per architecture (per "
        "configuration, if the spec has configurations)",
    )
    storage: str | None = Field(
        None, min_length=1, description="an Optuna storage URL; by default a journal in the search's folder"
    )
    storage_path: str | None = Field(
        None,
        min_length=1,
        description="where trials store checkpoints: a folder shared by all nodes, s3://bucket/folder, gs://... or "
        "abfs://...; by default the search's folder",
    )
    nodes: list[NodeType] = Field([], description="the cluster that `plan` assumes, including its head node")

    @field_validator("from", mode="before", check_fields=False)
    @classmethod
    def _from_may_be_one(cls, written: Any) -> Any:
        return [written] if isinstance(written, str) else written

    @field_validator("name")
    @classmethod
    def _name_is_a_file_name(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
            raise UserError(
                "must be 1 to 64 letters, digits, '.', '_' or '-', the first a letter or digit; "
                f"got {name!r}; nearest: {re.sub(r'[^A-Za-z0-9._-]+', '-', name).strip('-._')[:64] or 'search'!r}"
            )
        if name == "latest":
            raise UserError("latest means the newest search; nearest: 'latest-1'")
        return name

    @field_validator("max_words", mode="before")
    @classmethod
    def _words_are_whole_numbers(cls, written: Any) -> Any:
        by_architecture = written if isinstance(written, dict) else {}
        for name in by_architecture:
            if name not in ARCHITECTURES:
                raise UserError(f"unknown architecture {name!r}{did_you_mean(name, ARCHITECTURES)}")
        for value in by_architecture.values() or (written,):
            if not isinstance(value, int | float) or isinstance(value, bool) or value < 1 or value % 1:
                raise UserError(
                    f"should be a whole number from 1, or a mapping from architecture to one; got {value!r}"
                )
        return written

    @field_validator("metrics")
    @classmethod
    def _metrics_are_given(cls, names: list[str], info: ValidationInfo) -> list[str]:
        for name in names:
            if name not in info.data.get("code", Code()).metrics:
                raise UserError(
                    f"should have the form path/my_metrics.py:name (built-in ones are always measured); got {name!r}"
                )
        if len(set(names)) < len(names):
            raise UserError(f"should name each metric once; got {names}")
        return names

    @field_validator("metric")
    @classmethod
    def _metric_is_on_validation(cls, metric: str) -> str:
        return choose("metric", metric, measures("val"))  # the task decides whether it can rank trials

    @field_validator("keep_checkpoints")
    @classmethod
    def _keeps_are_known(cls, keep: str) -> str:
        if not re.fullmatch(r"all|best|top:[1-9]\d*", keep):
            raise UserError(f"should be all, best or top:K with K from 1; got {keep!r}{did_you_mean(keep, KEEPS)}")
        return keep

    @field_validator("precision")
    @classmethod
    def _rounding_is_for_gpus(cls, precision: str, info: ValidationInfo) -> str:
        if precision != "float32" and not info.data.get("resources", Resources()).gpu:
            raise UserError(
                f"is for GPUs, and trials have none (resources: {{gpu: 0.25}}); got {precision}; nearest: float32"
            )
        return precision

    @field_validator("storage_path")
    @classmethod
    def _storage_path_is_known_and_holds_no_key(cls, path: str | None) -> str | None:
        scheme, mark, rest = (path or "").partition("://")
        if mark:
            choose("storage_path", scheme, STORES)
            if "@" in rest.partition("/")[0]:
                raise UserError("should hold no access keys; give them in the environment, or give the machine a role")
        return path

    @field_validator("architectures")
    @classmethod
    def _architectures_exist(cls, names: list[str], info: ValidationInfo) -> list[str]:
        known = [*OURS, *info.data.get("code", Code()).architectures]
        for name in names:
            if is_baseline(name):
                raise UserError(f"{name} is a baseline, not an architecture to search; write baselines: [{name}]")
            choose("architecture", name, known)
        if len(set(names)) < len(names):
            raise UserError(f"should name each architecture once; got {names}")
        return names

    @field_validator("baselines", mode="before")
    @classmethod
    def _fill_in_default_baselines(cls, written: Any, info: ValidationInfo) -> Any:
        if written is None:
            tasks = {ARCHITECTURES[name].task for name in info.data.get("architectures", [])}
            usual = USUAL_WITH_ENCODER if info.data.get("code", Code()).vectors else USUAL_BASELINES
            return list(usual) if tasks == {CLASSIFICATION} else []
        if written in ("none", ["none"], ("none",)):
            return []
        if not isinstance(written, list | tuple):
            raise UserError(f"should be none or a list, such as [{', '.join(USUAL_BASELINES)}]; got {written!r}")
        return written

    @field_validator("baselines")
    @classmethod
    def _baselines_exist(cls, names: list[str]) -> list[str]:
        for name in names:
            if name == "none":
                raise UserError(f"none cannot be combined with others; got [{', '.join(names)}]")
            if baseline(name) is None:
                choose("baseline", name, BASELINES)
            if not is_baseline(name):
                raise UserError(f"{name} is also the name of your architecture; rename that, or leave the baseline out")
        if len(set(names)) < len(names):
            raise UserError(f"should name each baseline once; got {names}")
        return names

    @field_validator("batch_size", "max_grad_norm")
    @classmethod
    def _hyperparameter_is_in_its_domain(cls, value: Any, info: ValidationInfo) -> Any:
        TRAINING[str(info.field_name)].check("it", value)
        return value

    @model_validator(mode="after")
    def _max_words_covers_every_architecture(self) -> Self:
        # Entries for other architectures count as well, so that a confirmation of a few reads the same corpus.
        if isinstance(self.max_words, dict):
            for name in self.architectures:
                if name not in self.max_words:
                    raise UserError(
                        f"max_words: has no number for {name}, which is searched; add {name}: {self.most_words}"
                    )
        for name in self.baselines:
            if self.most_words < self.words_of(name) < ALL_WORDS:
                plain = name.rpartition("_")[0]
                raise UserError(f"baselines: {name} reads more than max_words {self.most_words}; nearest: {plain}")
        for name in self.studied:
            if reads_embeddings(name) and not self.code.vectors:
                raise UserError(
                    f"{name} learns from the output of a text encoder; write vectors: path/encoder.py:embed"
                )
        return self

    @model_validator(mode="after")
    def _space_is_known_and_belongs_to_the_sampler(self) -> Self:
        repeats = self.seeds > 1
        if repeats and self.sampler != "grid":
            raise UserError(
                f"seeds: repeats the points of a grid, with sampler: grid; got seeds {self.seeds}, {self.sampler}; to "
                "repeat the best: confirm"
            )
        if self.stop != "none" and (repeats or self.repeats):
            raise UserError(f"stop: repetitions of configurations run to their end; leave it out; got {self.stop}")
        if self.trials is not None and (repeats or self.configurations is not None):
            raise UserError(
                f"trials: a grid with seeds or configurations runs to its end; leave it out; got {self.trials}"
            )
        if self.match_parameters is not None and HIDDEN_SIZE in self.space:
            raise UserError("match_parameters solves hidden_size: leave it out of the space")
        for architecture, space in self.spaces.items():
            if self.match_parameters is not None and HIDDEN_SIZE not in domains(architecture):
                raise UserError(f"match_parameters: {architecture} has no hidden_size to solve")
            for name in space if self.sampler == "grid" else ():
                try:
                    space[name].grid()
                except UserError as error:
                    raise UserError(f"space.{name}: {error}") from None
        return self

    @cached_property
    def given(self) -> dict[str, Values | dict[str, Values]]:
        """The parsed `space`: hyperparameter -> values, for all architectures or by architecture."""
        known = {name for architecture in self.architectures for name in domains(architecture)}
        given = {name: parse(f"space.{name}", written) for name, written in self.space.items()}
        for name, values in given.items():
            # Entries for architectures that are not searched are allowed, so that `architectures` can select a few.
            for architecture in values if isinstance(values, dict) else ():
                if name not in (available := domains(architecture)):
                    near = did_you_mean(name, sorted(available))
                    raise UserError(f"space.{name}: {architecture} has no {name!r}{near}")
            if name not in known and not isinstance(values, dict):
                if having := [other for other in ARCHITECTURES if not is_baseline(other) and name in domains(other)]:
                    raise UserError(
                        f"space: {name!r} belongs to {', '.join(having)}, which this spec does not search; leave it "
                        "out, or write "
                        f"{name}: {{{having[0]}: ...}}"
                    )
                raise UserError(f"space: unknown hyperparameter {name!r}{did_you_mean(name, sorted(known))}")
        return given

    @cached_property
    def points(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Architecture -> name -> all hyperparameters, for a spec with configurations; otherwise empty."""
        if self.configurations is None:
            return {}
        if self.sampler != "grid" or self.space or self.match_parameters:
            raise UserError("configurations: write sampler: grid beside them, and leave out space and match_parameters")
        if {*self.configurations} - {*self.baselines} != {*self.architectures}:
            raise UserError(
                f"configurations: should be of the architectures, {self.architectures}; got {list(self.configurations)}"
            )
        return {architecture: self._points_of(architecture) for architecture in self.configurations}

    def _points_of(self, architecture: str) -> dict[str, dict[str, Any]]:
        where, points = f"configurations.{architecture}", {}
        known = domains(architecture) | {schema.TRAIN_SHARE: TRAIN_SHARE}
        for name, written in (self.configurations or {})[architecture].items():
            if not name:
                raise UserError(f"{where}: every configuration needs a name; got ''")
            for key, value in written.items():
                if key not in known:
                    raise UserError(f"{where}.{name}: unknown hyperparameter {key!r}{did_you_mean(key, sorted(known))}")
                if isinstance(value, list | dict) or (value is None and not isinstance(known[key], OrNone)):
                    raise UserError(f"{where}.{name}.{key}: should be a single value; got {value}")
            fixed = {key: Choice((value,)) for key, value in written.items()}
            space = complete(f"{where}.{name}", architecture, fixed, self._defaults(architecture))
            points[name] = {key: values.ends()[0] for key, values in space.items()}
            if (share := written.get(schema.TRAIN_SHARE)) is not None:
                TRAIN_SHARE.check(f"{where}.{name}.{schema.TRAIN_SHARE}", share)
                points[name][schema.TRAIN_SHARE] = share
        if not points:
            raise UserError(f"{where}: should have at least one configuration; got none")
        return points

    @cached_property
    def spaces(self) -> dict[str, Space]:
        """The space of each architecture, with all hyperparameters; those that the spec does not name are fixed.

        With match_parameters it does not contain the hidden size, which is solved. With configurations it contains only
        their names.
        """
        repeated: dict[str, Values] = {}
        if self.cross_validated:
            repeated[schema.FOLD] = Choice(tuple(map(str, self.cross_validated)))
        if self.seeds > 1:
            repeated[schema.REPETITION] = Choice(tuple(range(self.seeds)))
        if self.configurations is not None:
            return {
                name: {schema.CONFIGURATION: Choice(tuple(self.points[name]))} | repeated for name in self.architectures
            }
        spaces: dict[str, Space] = {}
        for architecture in self.architectures:
            selected = {
                name: values.get(architecture) if isinstance(values, dict) else values
                for name, values in self.given.items()
            }
            given = {name: values for name, values in selected.items() if values is not None}
            space = complete("space", architecture, given, self._defaults(architecture))
            solved = [HIDDEN_SIZE] if self.match_parameters is not None else []
            spaces[architecture] = {name: values for name, values in space.items() if name not in solved} | repeated
        return spaces

    @property
    def studied(self) -> list[str]:
        """The names of all studies: baselines and architectures."""
        return [*self.baselines, *self.architectures]

    def of(self, name: str) -> "Spec":
        """The spec of one study: this one for an architecture; a baseline is trained once per point of its grid, or of
        its configurations."""
        if name not in self.baselines or not (entry := baseline(name)):
            return self
        given = (self.configurations or {}).get(name)
        changes = {
            "architectures": [name],
            "baselines": [],
            "space": {} if given else {key: list(values) for key, values in entry.grid.items()},
            "configurations": {name: given} if given else None,
            "match_parameters": None,
            "trials": None,
            "seeds": 1,
            "sampler": "grid",
            "pruner": "none",
            "objectives": [],
        }
        return Spec.model_construct(**{key: getattr(self, key) for key in Spec.model_fields} | changes)

    @property
    def repeats(self) -> str | None:
        """The id of the search whose models are trained again here; None for an ordinary search."""
        return self.confirms or self.sizes_of or self.path_of

    @property
    def cross_validated(self) -> tuple[folding.Fold, ...]:
        """The folds of the trials: those of a confirmation with folds, otherwise none."""
        return folding.Fold.all(self.folds) if self.folds and self.confirms else ()

    @property
    def smallest_share(self) -> float:
        """The smallest share of the training texts that any trial uses, in (0, 1]."""
        points = (point for named in self.points.values() for point in named.values())
        return min((point.get(schema.TRAIN_SHARE, 1.0) for point in points), default=1.0)

    @property
    def earlier(self) -> list[str]:
        """The earlier searches that this one learns from: the key `from`."""
        return list(getattr(self, "from"))

    def first_points(self, architecture: str) -> list[dict[str, Any]]:
        """The points to try before the sampler proposes any: the best of earlier searches, and the default, which is a
        baseline in every search."""
        inherited = [earlier for earlier in self.inherited if earlier.architecture == architecture]
        points = enqueued(inherited, max(1, min(NUM_INHERITED, self.num_trials // 4)))
        default = self.default_point(architecture)
        return [*points, *[default] * (default not in points)]

    def default_point(self, architecture: str) -> dict[str, Any]:
        """The point of an architecture's space that is nearest to its defaults."""
        wanted = self._defaults(architecture)
        return {name: values.nearest(wanted.get(name)) for name, values in self.spaces[architecture].items()}

    def _defaults(self, architecture: str) -> dict[str, Any]:
        """Default hyperparameters; keys of the spec, such as batch_size, replace the defaults of training."""
        return defaults(architecture) | {name: getattr(self, name) for name in TRAINING if name in Spec.model_fields}

    @property
    def reading(self) -> Reading:
        """The options for reading texts, with the source of a tokenizer from outside."""
        return replace(super().reading, tokenizer=self.code.tokenizer.get(self.tokenizer, self.tokenizer))

    @property
    def most_words(self) -> int:
        """The largest max_words of all architectures, with which the corpus is encoded."""
        return max(self.max_words.values()) if isinstance(self.max_words, dict) else self.max_words

    def words_of(self, architecture: str) -> int:
        """The number of words to which an architecture or baseline truncates texts."""
        if reads_embeddings(architecture):
            return ALL_WORDS
        if named := words_named(architecture):
            return ALL_WORDS if named == WHOLE else int(named)
        return self.max_words.get(architecture, self.most_words) if isinstance(self.max_words, dict) else self.max_words

    def short(self) -> dict[str, Any]:
        """All keys except those too long for a table, and `storage`, which may contain a password."""
        return self.model_dump(mode="json", exclude={"space", "configurations", "code", "inherited", "storage"})

    @property
    def length(self) -> Length:
        """The length of a trial (see `search.train.config.length_of`)."""
        return Length(self.epochs, self.reports_per_epoch, self.patience)

    @property
    def largest_batch(self) -> int:
        """The largest batch size of any trial."""
        sizes = [point.get("batch_size", 1) for named in self.points.values() for point in named.values()]
        spaces = [space["batch_size"] for space in self.spaces.values() if "batch_size" in space]
        return max([*sizes, *(size for values in spaces for size in values.ends())], default=1)

    def pack_size(self, architecture: str) -> int:
        """The maximum number of trials of an architecture or baseline that a worker trains together."""
        if architecture in self.baselines:
            return 1
        stacks = getattr(ARCHITECTURES[architecture], "stacks", False) and self.embeddings == "frozen"
        return size_of(self.packing, stacked=stacks and self.resources.gpu > 0)

    @property
    def num_kept(self) -> float:
        """The number of finished trials per architecture that keep their checkpoints."""
        keep = self.keep_checkpoints
        return float("inf") if keep == "all" else 1 if keep == "best" else int(keep.removeprefix("top:"))

    @property
    def num_trials(self) -> int:
        """Trials per architecture, for samplers other than grid."""
        return self.trials or 8

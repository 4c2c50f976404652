"""The plan of a benchmark: its jobs, their settings, and which jobs start from others."""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

from alphazoo.bounds import describe, fits
from alphazoo.errors import InputError
from alphazoo.runs.provenance import settings_digest
from alphazoo.runs.schema import RUN
from alphazoo.sweep.combine import (
    COMBINED,
    Pair,
    read_budget,
    read_pairs,
    read_single,
    read_values,
)
from alphazoo.sweep.jobs import check_job

Compose = Callable[[Sequence[str]], DictConfig]


@dataclass(frozen=True)
class ModelSettings:
    """The settings of a model on a feature set, for any seed.

    Attributes:
        overrides: Overrides of the default config.
        added: Overrides that come neither from the published settings nor from the user.
        config: Config that the overrides give.
        base: Name of the model whose trained encoder initialises this one, or None.
    """

    overrides: Sequence[str]
    added: Sequence[str]
    config: DictConfig
    base: str | None


@dataclass(frozen=True)
class BenchmarkJob:
    """A job: one model on one feature set with one seed.

    Attributes:
        model: Name of the model.
        features: Name of the feature set, as in ``experiment=<features>_<model>``.
        folder: Folder of the job. Its name holds the features, model, seed and a digest of the
            settings that affect metrics.
        overrides: Overrides of the default config.
        base: Folder of the job whose encoder initialises this one, or None.
        shown: Whether the job is in the table; the others are trained only as bases.
    """

    model: str
    features: str
    folder: Path
    overrides: Sequence[str]
    base: Path | None
    shown: bool


class Plan:
    """The jobs of a benchmark; invalid settings raise an error before any job runs.

    Args:
        overrides: Overrides by key, including the keys of `COMBINED`.
        settings: Settings of the sweeper, see ``configs/hydra/sweeper/benchmark.yaml``.
        published: Names of the published settings, ``configs/experiment``.
        compose: Returns the config for the overrides of a job.

    Attributes:
        given: Overrides of keys that are not combined.
        budget: Fraction of the published epochs.
        recipes: Recipes of the requested pairs and of their bases.
        absent: Requested pairs without published settings.
        entries: The jobs; each follows its base. Empty until `place` assigns their folders.

    Raises:
        InputError: A key cannot be set or combined, a value is invalid, a model or feature set is
            unknown, or a base cannot be trained.
    """

    def __init__(
        self,
        overrides: Mapping[str, Override],
        settings: DictConfig,
        published: Collection[str],
        compose: Compose,
    ) -> None:
        self.settings, self._compose = settings, compose
        self.budget = read_budget(settings.budget)
        self.given = {
            key: f"{key}={read_single(key, given)}"
            for key, given in overrides.items()
            if key not in COMBINED
        }
        models, sets, self.seeds = (read_values(overrides[key]) for key in COMBINED)
        for seed in self.seeds:
            if not seed.isdecimal() or not fits(int(seed), RUN["seed"]):
                raise InputError(f"seed={seed}: expected {describe(RUN['seed'])}")
        self._pairs, self.absent = read_pairs(sets, models, published)
        self.recipes = {pair: self._recipe(*pair) for pair in self._pairs}
        for (features, _), recipe in [*self.recipes.items()]:
            if recipe.base and (features, recipe.base) not in self.recipes:
                self.recipes[features, recipe.base] = self._recipe(features, recipe.base, base=True)
        self._digests: dict[Pair, str] = {}
        self.entries: Sequence[BenchmarkJob] = ()

    def place(self, folder: Path) -> None:
        """Create the jobs, with folders inside the folder of the benchmark."""
        self.entries = self._entries(folder, self._pairs)

    def _recipe(self, features: str, model: str, *, base: bool = False) -> ModelSettings:
        """Return the recipe of a model.

        Args:
            features: The feature set.
            model: The model.
            base: Whether it is trained only as a base of others; overrides of model arguments that
                it does not have are then left out.
        """
        experiment = f"experiment={features}_{model}"
        given = self.given
        if base:
            other = [text for key, text in given.items() if _model_argument(key) is None]
            known = self._compose([experiment, *other]).model
            given = {k: text for k, text in given.items() if _model_argument(k) in (None, *known)}
        overrides = [experiment, *given.values()]
        config = self._compose(overrides)
        concepts = self._concepts(model, config)
        if concepts:  # without them, the model may be refused
            config = self._compose([*overrides, *concepts])
        check_job(config)
        added = [*self._scaled(config), *concepts]
        overrides += added
        final = self._compose(overrides) if added else config
        return ModelSettings(overrides, added, final, self._base(model, config))

    def _scaled(self, config: DictConfig) -> list[str]:
        """Return overrides that scale the published epochs and patience by the budget."""
        if self.budget == 1:
            return []
        least = min(self.settings.patience, config.patience)
        scaled = {
            "trainer.max_epochs": max(1, round(self.budget * config.trainer.max_epochs)),
            "patience": max(least, round(self.budget * config.patience)),
        }
        return [f"{key}={value}" for key, value in scaled.items() if key not in self.given]

    def _concepts(self, model: str, config: DictConfig) -> list[str]:
        """Return the override that adds concepts if the model needs them and the data have none."""
        chosen = self.settings.concepts.get(model)
        if not chosen or config.data.concepts or "data/concepts" in self.given:
            return []
        return [f"data/concepts={chosen}"]

    def _base(self, model: str, config: DictConfig) -> str | None:
        if model not in self.settings.based or "init_from" in self.given:
            return None
        if config.walk_forward:
            raise InputError(
                f"{model} starts from a trained model, which a walk forward does not support: "
                "leave it out, or set hydra.sweeper.based=[]"
            )
        return str(config.model.cell)

    def _entries(self, folder: Path, pairs: Collection[Pair]) -> list[BenchmarkJob]:
        found: dict[tuple[str, str, str], BenchmarkJob] = {}

        def add(features: str, model: str, seed: str) -> BenchmarkJob:
            key = (features, model, seed)
            if key not in found:
                recipe = self.recipes[features, model]
                base = add(features, recipe.base, seed).folder if recipe.base else None
                # a relative path, so that the benchmark can be moved
                start = (
                    [f"init_from=${{folder}}/../{base.name}/checkpoints/best.ckpt"] if base else []
                )
                overrides = [*recipe.overrides, f"seed={seed}", *start]
                path = folder / f"{features}_{model}-{seed}-{self._digest(features, model)}"
                shown = (features, model) in pairs
                found[key] = BenchmarkJob(model, features, path, overrides, base, shown)
            return found[key]

        for features, model in pairs:
            for seed in self.seeds:
                add(features, model, seed)
        return [*found.values()]

    def _digest(self, features: str, model: str) -> str:
        """Return a short digest of the settings of a model and of its base."""
        key, recipe = (features, model), self.recipes[features, model]
        if key not in self._digests:
            base = self._digest(features, recipe.base) if recipe.base else ""
            text = settings_digest(recipe.config) + base
            self._digests[key] = hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
        return self._digests[key]


def _model_argument(key: str) -> str | None:
    """Return the argument of the model that a key sets; None for keys outside the model."""
    section, _, name = key.lstrip("+~").partition(".")
    return name.partition(".")[0] if section == "model" else None

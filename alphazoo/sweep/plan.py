"""The plan of a benchmark: which jobs there are, on which settings, and which start from others."""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

from alphazoo.bounds import describe, fits
from alphazoo.errors import InputError
from alphazoo.facts import settings_digest
from alphazoo.schema import RUN
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
class Recipe:
    """A model on a feature set, for any seed.

    Attributes:
        overrides: What it is told.
        added: Those of them that are neither published nor the user's.
        config: That they make.
        base: The model whose trained encoder it starts from; None: it starts from none.
    """

    overrides: Sequence[str]
    added: Sequence[str]
    config: DictConfig
    base: str | None


@dataclass(frozen=True)
class Entry:
    """A job: one model on one feature set with one seed.

    Attributes:
        model: Its name.
        features: Its features, as in ``experiment=<features>_<model>``.
        folder: Where it runs. The name says what it is, and is another for other settings; those
            that change no figure, such as where the data are, leave it.
        overrides: What it is told.
        base: Folder of the job whose encoder it starts from.
        shown: Whether it was asked for; the others are bases alone.
    """

    model: str
    features: str
    folder: Path
    overrides: Sequence[str]
    base: Path | None
    shown: bool


class Plan:
    """What a benchmark consists of; what is wrong with it is found before anything runs.

    Args:
        overrides: By key, those of `COMBINED` among them.
        settings: Of ``configs/hydra/sweeper/benchmark.yaml``.
        published: Names of ``configs/experiment``.
        compose: Makes the config of a job of its overrides.

    Attributes:
        told: What the user set beside the combinations.
        budget: Share of the published epochs.
        recipes: Of what was asked for, and of bases.
        absent: Pairs that were asked for and have no published settings.
        entries: The jobs, each after its base, once they have a place, see `place`.

    Raises:
        InputError: A key cannot be set or combined, a value is none, a model or feature set is
            unknown, or a base cannot be had.
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
        self.told = {
            key: f"{key}={read_single(key, given)}"
            for key, given in overrides.items()
            if key not in COMBINED
        }
        models, sets, self.seeds = (read_values(overrides[key]) for key in COMBINED)
        for seed in self.seeds:
            if not seed.isdecimal() or not fits(int(seed), RUN["seed"]):
                raise InputError(f"seed={seed}: expected {describe(RUN['seed'])}")
        self._asked, self.absent = read_pairs(sets, models, published)
        self.recipes = {pair: self._recipe(*pair) for pair in self._asked}
        for (features, _), recipe in [*self.recipes.items()]:
            if recipe.base and (features, recipe.base) not in self.recipes:
                self.recipes[features, recipe.base] = self._recipe(features, recipe.base, base=True)
        self._digests: dict[Pair, str] = {}
        self.entries: Sequence[Entry] = ()

    def place(self, folder: Path) -> None:
        """Give the jobs folders inside that of the benchmark."""
        self.entries = self._entries(folder, self._asked)

    def _recipe(self, features: str, model: str, *, base: bool = False) -> Recipe:
        """How a model is trained.

        Args:
            features: The feature set.
            model: The model.
            base: It is trained for others alone: what is told to those and it does not know is
                left out.
        """
        experiment = f"experiment={features}_{model}"
        told = self.told
        if base:
            other = [text for key, text in told.items() if _part(key) is None]
            known = self._compose([experiment, *other]).model
            told = {key: text for key, text in told.items() if _part(key) in (None, *known)}
        overrides = [experiment, *told.values()]
        config = self._compose(overrides)
        check_job(config)
        added = [*self._scaled(config), *self._concepts(model, config)]
        overrides += added
        whole = self._compose(overrides) if added else config
        return Recipe(overrides, added, whole, self._base(model, config))

    def _scaled(self, config: DictConfig) -> list[str]:
        """So much of the published epochs and patience as the budget says."""
        if self.budget == 1:
            return []
        least = min(self.settings.patience, config.patience)
        scaled = {
            "trainer.max_epochs": max(1, round(self.budget * config.trainer.max_epochs)),
            "patience": max(least, round(self.budget * config.patience)),
        }
        return [f"{key}={value}" for key, value in scaled.items() if key not in self.told]

    def _concepts(self, model: str, config: DictConfig) -> list[str]:
        """The concepts of a model that needs some, where there are none."""
        chosen = self.settings.concepts.get(model)
        if not chosen or config.data.concepts or "data/concepts" in self.told:
            return []
        return [f"data/concepts={chosen}"]

    def _base(self, model: str, config: DictConfig) -> str | None:
        if model not in self.settings.based or "init_from" in self.told:
            return None
        if config.walk_forward:
            raise InputError(
                f"{model} starts from a trained model, which a walk forward does not have: leave "
                "it out, or let hydra.sweeper.based=[]"
            )
        return str(config.model.cell)

    def _entries(self, folder: Path, asked: Collection[Pair]) -> list[Entry]:
        found: dict[tuple[str, str, str], Entry] = {}

        def add(features: str, model: str, seed: str) -> Entry:
            key = (features, model, seed)
            if key not in found:
                recipe = self.recipes[features, model]
                base = add(features, recipe.base, seed).folder if recipe.base else None
                # beside its own folder: the benchmark can be moved
                start = (
                    [f"init_from=${{folder}}/../{base.name}/checkpoints/best.ckpt"] if base else []
                )
                overrides = [*recipe.overrides, f"seed={seed}", *start]
                path = folder / f"{features}_{model}-{seed}-{self._digest(features, model)}"
                shown = (features, model) in asked
                found[key] = Entry(model, features, path, overrides, base, shown)
            return found[key]

        for features, model in asked:
            for seed in self.seeds:
                add(features, model, seed)
        return [*found.values()]

    def _digest(self, features: str, model: str) -> str:
        """A few letters for the settings of a model and of its base."""
        key, recipe = (features, model), self.recipes[features, model]
        if key not in self._digests:
            base = self._digest(features, recipe.base) if recipe.base else ""
            text = settings_digest(recipe.config) + base
            self._digests[key] = hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
        return self._digests[key]


def _part(key: str) -> str | None:
    """The argument of the model that a key sets; None where it sets another thing."""
    section, _, name = key.lstrip("+~").partition(".")
    return name.partition(".")[0] if section == "model" else None

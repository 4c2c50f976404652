"""Averaged weights: what is validated, kept and scored is their mean."""

from pathlib import Path

import lightning as L
import pandas as pd
import pytest
import torch
from conftest import MODELS, SMALL, Alphazoo, make_data, model_overrides, small_config

from alphazoo.config import instantiate
from alphazoo.errors import InputError
from alphazoo.metrics import summary
from alphazoo.models.checkpoint import read_checkpoint
from alphazoo.training.fit import FitResult, fit, score_table

KINDS = ["ema averaging.decay=0.9", "swa averaging.start=0.0", "last_k averaging.k=3"]
TINY = ["model=linear", "trainer.max_epochs=4", "patience=50", "model.lr=0.01"]

Weights = dict[str, torch.Tensor]


class KeepAll(L.Callback):
    """The weights after every step, those that are validated, and those of each epoch's end."""

    def __init__(self) -> None:
        self.steps: list[Weights] = []
        self.epochs: list[Weights] = []
        self.validated: list[Weights] = []

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *_: object
    ) -> None:
        self.steps.append(weights(pl_module))
        if trainer.is_last_batch:
            self.epochs.append(self.steps[-1])

    def on_validation_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: object, index: int
    ) -> None:
        if index == 0:
            self.validated.append(weights(pl_module))


def weights(module: L.LightningModule) -> Weights:
    return {name: weight.detach().clone() for name, weight in module.named_parameters()}


def same(a: Weights, b: Weights) -> bool:
    return all(torch.allclose(a[name], b[name], rtol=0, atol=1e-6) for name in a)


def mean(epochs: list[Weights]) -> Weights:
    return {name: torch.stack([w[name] for w in epochs]).mean(dim=0) for name in epochs[0]}


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> KeepAll:
    """Watches the next training."""
    kept = KeepAll()
    init = L.Trainer.__init__

    def watched_init(self: L.Trainer, *arguments: object, **options: object) -> None:
        options["callbacks"] = [*options["callbacks"], kept]  # type: ignore[misc]
        init(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(L.Trainer, "__init__", watched_init)
    return kept


def trained(folder: Path, *overrides: str) -> FitResult:
    return fit(small_config(*TINY, *overrides, f"folder={folder}"))


def test_the_mean_of_the_last_epochs_is_validated(watched: KeepAll, tmp_path: Path) -> None:
    trained(tmp_path, "averaging=last_k", "averaging.k=2")
    e = watched.epochs
    expected = [e[0], mean(e[0:2]), mean(e[1:3]), mean(e[2:4])]
    assert [*map(same, watched.validated, expected)] == [True] * 4
    assert not same(e[3], expected[3])


def test_the_mean_starts_at_a_share_of_the_epochs(watched: KeepAll, tmp_path: Path) -> None:
    trained(tmp_path, "averaging=swa", "averaging.start=0.25")
    e = watched.epochs
    expected = [e[0], e[1], mean(e[1:3]), mean(e[1:4])]
    assert [*map(same, watched.validated, expected)] == [True] * 4


def test_a_moving_average_follows_every_step(watched: KeepAll, tmp_path: Path) -> None:
    trained(tmp_path, "averaging=ema", "averaging.decay=0.9", "trainer.max_epochs=1")
    average = watched.steps[0]
    for step in watched.steps[1:]:
        average = {name: 0.9 * average[name] + 0.1 * step[name] for name in step}
    assert same(watched.validated[0], average)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.thorough
def test_training_goes_on_from_its_own_weights(watched: KeepAll, tmp_path: Path, kind: str) -> None:
    trained(tmp_path / "a", *f"averaging={kind}".split())
    averaged, watched.epochs = watched.epochs, []
    trained(tmp_path / "b")
    assert [*map(same, averaged, watched.epochs)] == [True] * 4


@pytest.mark.parametrize(
    ("model", "kind"), [*(("linear", kind) for kind in KINDS), ("igmtf", KINDS[-1])]
)
@pytest.mark.thorough
def test_checkpoint_figures_and_scores_are_of_the_average(
    tmp_path: Path, model: str, kind: str
) -> None:
    config = small_config(
        *model_overrides(model, hidden_size=4, k_day=2, n_neighbor=2),
        *("trainer.max_epochs=3", "patience=50", "model.lr=0.05", f"folder={tmp_path}"),
        *f"averaging={kind}".split(),
    )
    run = fit(config)
    saved = read_checkpoint(str(run.best))
    logged = pd.read_csv(tmp_path / "logs" / "metrics.csv")
    scores = score_table(run.trainer, run.model, run.data, "valid", ckpt_path=run.best)
    assert same(weights(run.model), saved["state_dict"])
    last = read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")
    assert not same(weights(run.model), last["current_model_state"])
    assert summary(scores)["ic"] == pytest.approx(logged["val/ic"].max(), abs=1e-6)
    alone = type(run.model).load_from_checkpoint(str(run.best), weights_only=True)
    again = score_table(
        instantiate(config.trainer, logger=False, callbacks=[], enable_checkpointing=False),
        alone,
        make_data(config),
        "valid",
        ckpt_path=run.best,
    )
    assert again["score"].equals(scores["score"])


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.thorough
def test_every_model_with_weights_can_be_averaged(tmp_path: Path, model: str) -> None:
    config = small_config(
        *model_overrides(model, hidden_size=4, feedforward_size=16, k_day=2, n_neighbor=2),
        *(
            "trainer.max_epochs=1",
            "++trainer.limit_train_batches=2",
            "+trainer.limit_val_batches=1",
        ),
        *("averaging=last_k", f"folder={tmp_path}"),
    )
    if [*instantiate(config.model).parameters()]:
        assert fit(config).best
    else:
        with pytest.raises(InputError, match="has no weights to average: use averaging=none"):
            fit(config)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            "averaging=ema averaging.decay=1",
            "averaging.decay must be at least 0 and below 1, got 1",
        ),
        (
            "averaging=swa averaging.start=1.5",
            "averaging.start must be at least 0 and below 1, got 1.5",
        ),
        ("averaging=last_k averaging.k=0", "averaging.k must be at least 1, got 0"),
        ("averaging=lastk", "unknown averaging 'lastk'; did you mean 'last_k'?"),
    ],
)
def test_settings_are_checked(alphazoo: Alphazoo, setting: str, message: str) -> None:
    code = str(alphazoo("train", *SMALL, *setting.split()).code)
    assert message in code

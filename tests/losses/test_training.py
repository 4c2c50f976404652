"""Training by a loss: from the yaml to the log; several horizons; weights of days and stocks."""

from pathlib import Path

import pytest
import torch
from conftest import Run, fit, make_data, small_config
from torch import Tensor, nn

from alphazoo.commands.job import train
from alphazoo.config import compose, config_dir, instantiate
from alphazoo.data.days import DayBatch
from alphazoo.data.weights import day_weights
from alphazoo.errors import InputError
from alphazoo.losses.pointwise import Huber
from alphazoo.market.market import Market
from alphazoo.metrics import summary
from alphazoo.models.base import StockModel
from alphazoo.training.fit import _make_model, score_table
from alphazoo.training.train import fit_and_score

LOSSES = sorted(file.stem for file in (config_dir() / "loss").glob("*.yaml"))
TWO = ["label.horizons=[[1,2],[1,6]]"]
HEADS = [*TWO, "model.blend=[0.75,0.25]"]


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A linear model with one output per horizon, trained by the IC with both kinds of weights."""
    config = small_config(
        *("model=linear", "loss=ic", *HEADS, "label.half_life=10", "label.weight=volume"),
        f"folder={tmp_path_factory.mktemp('heads')}",
    )
    data = make_data(config)
    model = _make_model(config)
    trainer = instantiate(config.trainer)
    trainer.fit(model, data)
    return Run("linear", config, model.eval(), data, trainer, data.days("valid")[0])


def test_the_criterion_is_logged_beside_the_squared_error(heads: Run) -> None:
    days = [*heads.data.days("valid")]
    with torch.no_grad():
        scores = [heads.model(day) for day in days]
        criteria = [float(heads.model.loss(day)) for day in days]
    errors = [(x - day.labels)[day.labels.isfinite()] for x, day in zip(scores, days, strict=True)]
    logged = heads.trainer.callback_metrics
    assert float(logged["val/criterion"]) == pytest.approx(sum(criteria) / len(days), rel=1e-5)
    mse = sum(float(e.square().mean()) for e in errors) / len(days)
    assert float(logged["val/loss"]) == pytest.approx(mse, rel=1e-5)
    assert set(heads.model.logged_metrics) == {key for key in logged if "/" in key}


def test_the_plain_squared_error_is_logged_once(tmp_path: Path) -> None:
    run = fit(small_config("model=linear", "trainer.max_epochs=1", f"folder={tmp_path}"))
    assert "val/criterion" not in run.trainer.callback_metrics
    assert not run.day.targets.numel()
    assert not run.day.stock_weights.numel()


def test_the_score_blends_the_outputs(heads: Run) -> None:
    first, second = heads.model.outputs(heads.day).unbind(1)
    torch.testing.assert_close(heads.model(heads.day), 0.75 * first + 0.25 * second)


def test_a_checkpoint_alone_restores_a_model_of_several_outputs(heads: Run) -> None:
    model = type(heads.model).load_from_checkpoint(heads.last_checkpoint, weights_only=True)
    assert torch.equal(model.eval()(heads.day), heads.model(heads.day))


def test_the_metrics_of_a_horizon_are_those_of_its_output(heads: Run) -> None:
    score_table(heads.trainer, heads.model, heads.data, "test")
    found = heads.model.horizons.compute("test")
    close = heads.data.market.field("close")
    for i, (buy, sell) in enumerate([(1, 2), (1, 6)]):
        table = heads.model.scores("test")
        days = {int(day.date): day for day in heads.data.days("test")}
        outputs = {row: heads.model.outputs(day)[:, i].detach() for row, day in days.items()}
        table["score"] = torch.cat([outputs[row] for row in days]).numpy()
        returns = [
            (close[row + sell] / close[row + buy] - 1)[day.stocks]
            if row + sell < len(close)
            else torch.full((len(day.stocks),), torch.nan)
            for row, day in days.items()
        ]
        table["return"] = torch.cat(returns).numpy()
        expected = summary(table)
        assert found[f"ic_{buy}_{sell}"] == pytest.approx(expected["ic"], rel=1e-6)
        assert found[f"rank_ic_{buy}_{sell}"] == pytest.approx(expected["rank_ic"], rel=1e-6)


def test_the_target_of_a_horizon_is_the_label_of_its_days(heads: Run) -> None:
    for i, (buy, sell) in enumerate([(1, 2), (1, 6)]):
        data = make_data(small_config(f"label.buy={buy}", f"label.sell={sell}"))
        day = data.days("valid")[0]
        same = next(d for d in heads.data.days("valid") if d.date == day.date)
        assert torch.equal(same.targets[:, i], day.labels)
        assert torch.equal(same.target_returns[:, i], day.returns)


def test_no_target_reaches_beyond_the_end_of_its_segment(heads: Run) -> None:
    for name, end in (("train", "2015-04-15"), ("valid", "2015-05-15")):
        last = heads.data.segments[name][-1]
        assert f"{heads.data.market.dates[last + 6]:%Y-%m-%d}" <= end
        assert heads.data.ends[name][1] == f"{heads.data.market.dates[last + 6]:%Y-%m-%d}"


def test_the_metrics_of_a_run_have_those_of_each_horizon(tmp_path: Path) -> None:
    config = small_config("model=linear", *TWO, "trainer.max_epochs=1", f"folder={tmp_path}")
    metrics = fit_and_score(config, (), ()).metrics
    assert metrics["test/ic"] == pytest.approx(metrics["test/ic_1_2"])  # one output: the score
    assert metrics["test/ic_1_6"] != metrics["test/ic_1_2"]


def test_days_weigh_by_their_age() -> None:
    weights = day_weights(6, [1, 2, 4], half_life=2)
    decayed = [2**-1.5, 2**-1, 1]
    expected = [1, *(3 * w / sum(decayed) for w in decayed[:2]), 1, 3 / sum(decayed), 1]
    torch.testing.assert_close(weights, torch.tensor(expected))
    assert day_weights(3, [0, 1], half_life=None).tolist() == [1, 1, 1]


def test_the_weight_of_a_day_scales_its_step_and_not_its_loss(heads: Run) -> None:
    day = heads.data.days("train")[0]
    assert day.day_weight < 1
    plain = day._replace(day_weight=torch.tensor(1.0))
    heads.model.log = lambda *_, **__: None  # type: ignore[method-assign, assignment]
    step = heads.model.training_step(day, 0)
    torch.testing.assert_close(step, heads.model.loss(plain) * day.day_weight)


def test_stocks_weigh_by_a_field(heads: Run) -> None:
    day = heads.day
    assert torch.equal(day.stock_weights, heads.data.market.field("volume")[day.date, day.stocks])


def test_a_model_can_override_its_loss(tmp_path: Path) -> None:
    class Shrunk(StockModel):
        """Also keeps its scores small."""

        def __init__(self) -> None:
            super().__init__(lr=0.01, weight_decay=0.0)
            self.head = nn.Linear(6, 1)

        def forward(self, day: DayBatch) -> Tensor:
            return self.head(day.features[:, -1]).squeeze(-1)

        def loss(self, day: DayBatch) -> Tensor:
            scores = self(day)
            return self.criterion.on_day(scores, day) + scores.square().mean()

    config = small_config("trainer.max_epochs=1", f"folder={tmp_path}")
    data, model, trainer = make_data(config), Shrunk(), instantiate(config.trainer)
    model.criterion = Huber(delta=1.0)
    trainer.fit(model, data)
    days = [*data.days("valid")]
    expected = sum(float(model.loss(day).detach()) for day in days) / len(days)
    assert float(trainer.callback_metrics["val/criterion"]) == pytest.approx(expected, rel=1e-5)
    assert "val/criterion" in model.logged_metrics


REFUSED = {
    "loss=gaussian": "the loss GaussianNLL needs a model of 2 outputs per stock, but GRU has 1",
    "loss=gaussian model=gats": "GATs has 1: set model=gru model.blend=",
    "model.blend=[0.5,0.5]": r"GRU has 2 outputs per stock \(model.blend\), but there are no label",
    "model.blend=[1,1,1] label.horizons=[[1,2],[1,6]]": "GRU has 3 outputs .* there are 2 label",
    "model.blend=[]": r"model.blend=\[\]: expected \[1\], or one weight per output",
    "model.blend=[0,0]": r"model.blend=\[0, 0\]: expected \[1\], or one weight per output",
    "model=lightgbm loss=ic": "LightGBM has a loss of its own: expected loss=mse",
    "model=lightgbm label.horizons=[[1,2]]": "LightGBM has .* does not use label.horizons",
    "model=lightgbm label.half_life=9": "LightGBM has .* does not use label.half_life",
    "loss=huber loss.delta=0": r"loss.delta=0: expected a number \(above 0\)",
    "loss=quantile loss.level=1": r"loss.level=1: expected a number \(above 0, below 1\)",
    "loss=huber +loss.margin=1": "loss.margin=1: no such setting",
    "label.horizons=[[1,2],[3,3]]": r"expected pairs \[buy, sell\] with .* got \[3, 3\]",
    "label.horizons=[[1,2,3]]": r"expected pairs \[buy, sell\] with .* got \[1, 2, 3\]",
    "label.horizons=[2]": "label.horizons",
    "label.horizons=[[1,2],[1,2]]": r"label.horizons=\[\[1, 2\], \[1, 2\]\]: .* twice",
    "label.horizons=[[1,500]]": "only 53 trading days, of which the last 500 are omitted",
    "label.half_life=0": r"label.half_life=0: expected a number \(above 0\)",
    "label.weight=size": "label.weight=size: market 'synthetic .*' has no field 'size'",
    "loss=mse monitor=val/criterion": "unknown monitor 'val/criterion'",
    "loss=ic monitor=val/criterion mode=max": "mode=max: expected min for monitor=val/criterion",
}


@pytest.mark.parametrize("settings", REFUSED)
def test_what_does_not_fit_is_refused_before_a_file_is_written(
    settings: str, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    with pytest.raises(InputError, match=REFUSED[settings]):
        train(small_config(*settings.split(), f"folder={folder}"))
    assert not folder.exists()


def test_an_unknown_loss_is_named() -> None:
    with pytest.raises(InputError, match="unknown loss 'listnett'; did you mean 'listnet'"):
        compose("loss=listnett")


def test_a_negative_weight_is_refused() -> None:
    market: Market = instantiate(small_config().data.market)()
    market.field("volume")[3, 2] = -1.0
    with pytest.raises(InputError, match=r"label.weight=volume: \S+ has -1 on 2015-01-06"):
        make_data(small_config("label.weight=volume"), market).setup()


def outputs_of(name: str) -> list[str]:
    return ["model.blend=[1,0]"] if name == "gaussian" else []


@pytest.mark.slow
@pytest.mark.parametrize("name", LOSSES)
def test_no_loss_forecasts_random_returns(name: str, tmp_path: Path) -> None:
    """IC of a GRU fitted on noise stays within three standard errors of 0."""
    config = small_config(
        *("model=gru", f"loss={name}", "model.lr=0.003", *outputs_of(name)),
        *("data.n_stocks=100", "data.n_days=250", "data.reversal=0", "data.lead_lag=0"),
        "data.train=['2015-02-01', '2015-02-05']",
        *("features.window=10", "trainer.max_epochs=40", "+trainer.limit_val_batches=1"),
        *("patience=40", f"folder={tmp_path}"),
    )
    torch.manual_seed(0)
    data, model, trainer = make_data(config), _make_model(config), instantiate(config.trainer)
    trainer.fit(model, data)
    with torch.no_grad():
        learnt = [summary_ic(model.eval()(day), day) for day in data.days("train")]
    assert min(learnt) > 0.2  # it did learn the noise
    score_table(trainer, model, data, "test")
    table = model.scores("test")
    assert abs(summary(table)["ic"]) < 3 / table["return"].notna().sum() ** 0.5


def summary_ic(scores: Tensor, day: DayBatch) -> float:
    known = day.returns.isfinite()
    return float(torch.corrcoef(torch.stack([scores[known], day.returns[known]]))[0, 1])


@pytest.fixture(scope="module")
def by_mse(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    return planted("mse", tmp_path_factory.mktemp("mse"))


def planted(name: str, folder: Path) -> dict[str, float]:
    """Mean test IC and rank IC over three seeds on a market with a strong reversal."""
    found = []
    for seed in range(3):
        market = Market.from_synthetic(
            n_days=260, n_stocks=40, n_sectors=4, reversal=0.5, lead_lag=0.0, seed=seed
        )
        config = small_config(
            *("model=gru", "model.hidden_size=16", "model.lr=0.01", "trainer.max_epochs=6"),
            *(f"loss={name}", *outputs_of(name), f"seed={seed}", "features.window=10"),
            "++trainer.limit_train_batches=1.0",
            "data.train=[2015-01-01, 2015-08-31]",
            "data.valid=[2015-09-01, 2015-10-15]",
            "data.test=[2015-10-16, null]",
            f"folder={folder / str(seed)}",
        )
        data = make_data(config, market)
        torch.manual_seed(seed)
        model, trainer = _make_model(config), instantiate(config.trainer)
        trainer.fit(model, data)
        score_table(trainer, model, data, "test")
        found.append(summary(model.scores("test")))
    return {metric: sum(m[metric] for m in found) / 3 for metric in ("ic", "rank_ic")}


@pytest.mark.slow
@pytest.mark.parametrize("name", LOSSES)
def test_each_loss_finds_nine_tenths_of_what_mse_finds(
    name: str, by_mse: dict[str, float], tmp_path: Path
) -> None:
    found = planted(name, tmp_path)
    print(f"{name}: {found}, mse: {by_mse}")
    assert found["ic"] >= 0.9 * by_mse["ic"]
    assert by_mse["ic"] > 0.15

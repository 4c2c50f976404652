"""What TRA and ADD show: the predictor of each stock, and the class of the market, by day."""

from pathlib import Path

import pytest
import torch
from conftest import fit, model_overrides, small_config

from alphazoo.explain.show import explain_subject
from alphazoo.explain.subject import Subject

FEW = ["trainer.max_epochs=1", "++trainer.limit_train_batches=3"]


def subject_of(name: str, folder: Path, days: int) -> Subject:
    sizes = model_overrides(name, hidden_size=4, router_size=3, n_losses=5)
    run = fit(small_config(*sizes, *FEW, f"folder={folder}"))
    return Subject(run.config, run.model, run.data, run.data.segments["test"][-days:])


@torch.no_grad()
def test_each_stock_is_counted_for_the_predictor_that_scores_it(tmp_path: Path) -> None:
    subject = subject_of("tra", tmp_path, 4)
    torch.nn.init.normal_(subject.model.choice.weight)  # several predictors are chosen
    found = explain_subject(subject, what=["predictors"])
    routed = found.tables["routed"].set_index(["date", "predictor"])["share"]
    for row in subject.rows:
        day = subject.day(row)
        scores, outputs = subject.model(day), subject.model.predictors(
            subject.model._encode(day.features)
        )  # fmt: skip
        counts = [int((outputs[:, k] == scores).sum()) for k in range(3)]
        shares = [float(routed[subject.date(row), k]) for k in range(3)]
        assert shares == pytest.approx([count / len(scores) for count in counts])
    largest = routed.groupby("date").max().mean()
    assert found.metrics["largest_share"] == pytest.approx(largest)
    routes = found.tables["routes"]
    assert routes.groupby("symbol", observed=True)["weight"].sum().to_numpy() == pytest.approx(1)


@torch.no_grad()
def test_the_class_of_the_market_is_that_of_the_mean_return(tmp_path: Path) -> None:
    """The last two days have no label yet, so they are no hit and no miss."""
    subject = subject_of("add", tmp_path, 6)
    last = len(subject.data.market.dates)
    subject = Subject(subject.config, subject.model, subject.data, range(last - 6, last))
    found = explain_subject(subject, what=["market"])
    table = found.tables["market_by_day"].set_index(["date", "class"])
    low, high = subject.model._terciles
    hits = []
    for row in subject.rows:
        day, date = subject.day(row), subject.date(row)
        shown = subject.model.inside(day)["market"].tensor.mean(dim=0)
        own = table.loc[date]
        assert own["probability"].to_numpy() == pytest.approx(shown.numpy())
        mean = float(day.returns.nanmean())
        if mean != mean:
            assert own["actual"].isna().all()
            continue
        actual = 0 if mean <= low else 1 if mean <= high else 2
        assert (own["actual"] == actual).all()
        hits.append(int(shown.argmax()) == actual)
    assert len(hits) == 4
    assert found.metrics["hits"] == pytest.approx(sum(hits) / 4)

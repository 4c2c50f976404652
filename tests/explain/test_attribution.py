"""Attributions: exact where the sum is known, and by hand where it is not."""

import copy
import sys
from unittest.mock import patch

import pytest
import torch
from conftest import MakeDay, Run
from torch import nn

from alphazoo.config import compose, instantiate
from alphazoo.data.days import DayBatch
from alphazoo.errors import InputError
from alphazoo.explain.attribution import (
    GRADIENTS,
    PERMUTATION,
    TREES,
    attribute,
    looks_at_others,
    take,
)
from alphazoo.models.base import StockModel
from alphazoo.models.lightgbm import LightGBM


def make(name: str, *options: str) -> StockModel:
    torch.manual_seed(0)
    return instantiate(compose(f"model={name}", "features.window=20", *options).model).eval()


def change(model: StockModel, day: DayBatch) -> torch.Tensor:
    """The score minus that of the day's mean features."""
    mean = day.features.mean(dim=0).expand_as(day.features)
    with torch.no_grad():
        return model(day) - model(day._replace(features=mean))


class Choosing(StockModel):
    """A score with a jump, whose gradient is 0 nearly everywhere."""

    def __init__(self) -> None:
        super().__init__(lr=0.1, weight_decay=0.0)
        self.head = nn.Linear(6, 1)

    def forward(self, day: DayBatch) -> torch.Tensor:
        return self.head((day.features[:, -1] > 0).float() + 0 * day.features[:, -1])[:, 0]


def test_the_attribution_of_a_linear_model_is_weight_times_input(make_day: MakeDay) -> None:
    model, day = make("linear"), make_day(7)
    weights = model.inside(day)["weights"].tensor
    stocks = torch.tensor([5, 0])
    zero = torch.zeros_like(day.features[0])
    found = attribute(model, day, stocks, baseline=zero)
    assert found.method == GRADIENTS
    torch.testing.assert_close(found.inputs, weights * day.features[stocks], rtol=0, atol=1e-6)
    found = attribute(model, day, stocks)
    centred = day.features - day.features.mean(dim=0)
    torch.testing.assert_close(found.inputs, weights * centred[stocks], rtol=0, atol=1e-6)
    assert found.full is None
    assert torch.equal(found.others[0].nonzero().flatten(), torch.tensor([5]))


@pytest.mark.parametrize("name", ["gru", "gats", "alstm", "sfm"])
def test_attributions_add_up_to_the_change_of_the_score(name: str, make_day: MakeDay) -> None:
    model, day = make(name, "model.hidden_size=16"), make_day(9)
    stocks = torch.tensor([1, 8, 3])
    found = attribute(model, day, stocks)
    whole = change(model, day)[stocks]
    assert whole.abs().mean() > 1e-3
    torch.testing.assert_close(found.others.sum(dim=1), whole, rtol=0, atol=1e-4)
    torch.testing.assert_close(found.inputs.sum(dim=(1, 2)), whole, rtol=0, atol=1e-4)
    assert found.delta < 0.01
    assert found.looks_at_others == (name == "gats")


def test_gats_attributes_to_the_stock_that_an_input_belongs_to(make_day: MakeDay) -> None:
    """By finite differences along the path of one other stock's inputs."""
    model, day = make("gats", "model.hidden_size=16"), make_day(4)
    found = attribute(model, day, torch.tensor([2]))
    assert found.full is not None
    start = day.features.mean(dim=0).expand_as(day.features)
    points = 400
    total = torch.zeros(())
    with torch.no_grad():
        for point in range(points):
            middle = start + (point + 0.5) / points * (day.features - start)
            step = torch.zeros_like(start)
            step[0] = (day.features - start)[0] / points
            ends = [model(day._replace(features=middle + sign * step / 2))[2] for sign in (1, -1)]
            total += ends[0] - ends[1]
    assert float(found.others[0, 0]) == pytest.approx(float(total), abs=1e-4)


@pytest.mark.thorough
def test_who_looks_at_others_is_found(run: Run) -> None:
    """The attributes of the table of the zoo; IGMTF compares the mean of the day."""
    graphs = ("gats", "hist", "rsr")
    transformers = ("master", "itransformer", "dtml")
    expected = run.name in (*graphs, *transformers, "stockmixer", "factorvae")
    if run.name != "igmtf":
        assert looks_at_others(run.model, run.day) == expected


def test_a_subset_of_a_day_scores_the_same(make_day: MakeDay) -> None:
    model, day = make("gru", "model.hidden_size=8"), make_day(6)
    few = torch.tensor([4, 1])
    torch.testing.assert_close(model(take(day, few)), model(day)[few])


def test_gradients_that_miss_the_score_are_refused(make_day: MakeDay) -> None:
    day = make_day(8)
    with pytest.raises(InputError, match=r"of Choosing miss the change of the score by \d+%, more"):
        attribute(Choosing(), day, torch.tensor([0, 1]))


def test_permutation_by_hand(make_day: MakeDay) -> None:
    """With one feature and day that matter, only they have an attribution."""
    model, day = make("linear"), make_day(30)
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.weight[0, -1] = 2.0  # the last feature of the last day
    stocks = torch.arange(30)
    found = attribute(model, day, stocks, method=PERMUTATION)
    assert found.lags == 2  # 120 inputs, twice each, at most about 200 evaluations
    assert (found.inputs[:, :-2] == 0).all()
    assert (found.inputs[:, :, :-1] == 0).all()
    moved = found.inputs[:, -2:, -1].sum(dim=1)
    assert torch.corrcoef(torch.stack([moved, day.features[:, -1, -1]]))[0, 1] > 0.7
    again = attribute(model, day, stocks, method=PERMUTATION)
    assert torch.equal(found.inputs, again.inputs)


def test_permutation_finds_the_other_stocks(make_day: MakeDay) -> None:
    model, day = make("hist", "model.hidden_size=16"), make_day(9)
    found = attribute(model, day, torch.tensor([3]))
    assert found.method == PERMUTATION
    assert found.delta != found.delta
    assert found.others.isfinite().all()
    assert (found.others[0] != 0).sum() > 5
    alone = attribute(model, day, torch.tensor([3]), replace_others=False)
    assert torch.equal(alone.inputs, found.inputs)
    assert alone.others.isnan().all()


def test_trees_add_up(make_day: MakeDay, run: Run) -> None:
    if not isinstance(run.model, LightGBM):
        pytest.skip("only the trees have SHAP values of their library")
    found = attribute(run.model, run.day, torch.tensor([2, 0]))
    assert found.method == TREES
    _, expected = run.model.contributions(run.day.features)
    sums = found.inputs.sum(dim=(1, 2)) + expected[:2]
    torch.testing.assert_close(sums, run.model(run.day)[[2, 0]], rtol=0, atol=1e-6)


def test_captum_that_is_not_installed_is_named(make_day: MakeDay) -> None:
    missing = {"captum": None, "captum.attr": None}
    with patch.dict(sys.modules, missing), pytest.raises(InputError, match=r"alphazoo\[explain\]"):
        attribute(make("gru", "model.hidden_size=4"), make_day(3), torch.tensor([0]))


def test_attributions_leave_the_model_unchanged(make_day: MakeDay) -> None:
    model, day = make("gru", "model.hidden_size=8"), make_day(5)
    before = copy.deepcopy(model.state_dict())
    attribute(model, day, torch.tensor([0]))
    assert all(torch.equal(before[name], x) for name, x in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())

"""Checks of an explanation: each tells a model whose explanation is true from one whose is not."""

import copy

import pytest
import torch
from conftest import Run as FittedRun
from conftest import fit, small_config
from torch import Tensor

from alphazoo.config import compose, instantiate
from alphazoo.data.days import DayBatch
from alphazoo.explain import checks
from alphazoo.explain.attribution import Attributions, attribute
from alphazoo.explain.checks import (
    check_deletion,
    check_randomised,
    check_seeds,
    check_uniform,
)
from alphazoo.explain.explanation import Part
from alphazoo.explain.planted import find_planted
from alphazoo.explain.show import explain_subject
from alphazoo.explain.subject import Subject
from alphazoo.models.base import StockModel
from alphazoo.models.probe import Probe


@pytest.fixture(scope="module")
def gats(tmp_path_factory: pytest.TempPathFactory) -> FittedRun:
    folder = tmp_path_factory.mktemp("gats")
    options = ["model.hidden_size=8", "model.heads=2", "model.aggregate=transformed"]
    return fit(small_config("model=gats", *options, f"folder={folder}"))


def subject_of(run: FittedRun, model: StockModel | None = None) -> Subject:
    return Subject(run.config, model or run.model, run.data, run.data.segments["test"][-4:])


class Following(StockModel):
    """The mean of a feature of the stocks that a stock attends to, by another feature."""

    def __init__(self, power: float) -> None:
        super().__init__(lr=0.1, weight_decay=0.0)
        self.power = power
        self.attention = Probe("attention", "stock", "other", shares=True)

    def forward(self, day: DayBatch) -> Tensor:
        x = day.features[:, -2]
        logits = self.power * x[:, 1:2] @ x[:, 1:2].T
        return self.attention(logits.softmax(dim=1)) @ x[:, -1]


def test_equal_shares_change_what_depends_on_attention(gats: FittedRun) -> None:
    alike, sharp = (check_uniform(subject_of(gats, Following(power))) for power in (0.0, 5.0))
    assert alike.metrics["difference"] == 0
    assert abs(sharp.metrics["difference"]) > 1e-3
    ic = check_uniform(subject_of(gats)).metrics
    assert ic["difference"] == pytest.approx(ic["equal_ic"] - ic["ic"])


def test_random_weights_have_other_attributions(gats: FittedRun) -> None:
    subject = subject_of(gats)
    day = subject.day(subject.rows[-1])
    found = attribute(subject.model, day, torch.tensor([0, 3]))
    rho = check_randomised(subject, day, found).metrics["rank_correlation"]
    assert abs(rho) < 0.2


def test_the_largest_attributions_are_the_inputs_that_matter(gats: FittedRun) -> None:
    subject = subject_of(gats)
    day = subject.day(subject.rows[-1])
    found = attribute(subject.model, day, torch.tensor([0, 3]))
    ratio = check_deletion(subject, day, found).metrics["ratio"]
    assert ratio > 2
    assert found.full is not None
    wrong: Attributions = found._replace(full=1 / found.full.abs().clamp_min(1e-12))
    assert check_deletion(subject, day, wrong).metrics["ratio"] < 1


def test_the_same_weights_attend_alike(gats: FittedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seeds that are the same run agree; random weights do not."""
    subject = subject_of(gats)
    others = iter([subject, subject_of(gats, copy.deepcopy(gats.model))])
    monkeypatch.setattr(checks, "group_replicates", lambda runs: {"all": runs})
    monkeypatch.setattr(checks, "open_subject", lambda run, date: next(others))
    result = check_seeds(subject, [None, None])  # type: ignore[list-item]
    assert result.metrics["rank_correlation"] == pytest.approx(1)


def test_a_model_without_attention_is_not_compared_with_seeds(gats: FittedRun) -> None:
    model = instantiate(compose("model=linear").model)
    assert "no attention" in check_seeds(subject_of(gats, model), []).text


def test_results_are_in_the_captions(gats: FittedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "find_planted", lambda model: {"attention_lift": 2.0})
    found = explain_subject(subject_of(gats), checks=True)
    assert found.parts[0].title == "Checks"
    assert "the IC of these days is" in found.captions["received"]
    assert "changes the scores" in found.captions["inputs"]
    assert found.metrics["planted/attention_lift"] == 2.0
    assert {*found.tables["checks"]["check"]} == {"uniform", "randomised", "deletion", "planted"}


def test_captions_repeat_only_the_checks_of_what_they_show(
    gats: FittedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "find_planted", lambda model: {"attention_lift": 2.0})
    kinds = ("attention", "attribution", "")
    parts = [Part(kind, captions={kind: "A figure."}, checked_as=kind) for kind in kinds]
    checks.check(subject_of(gats), parts, None, [])  # without attributions to check
    captions = [part.captions[part.title] for part in parts]
    assert captions[0].startswith("A figure. With equal shares in place of all attention")
    assert captions[1:] == ["A figure."] * 2


def test_a_model_without_attention_says_so(run: FittedRun) -> None:
    if run.model.shows:
        pytest.skip("this model shows something")
    result = check_uniform(Subject(run.config, run.model, run.data, [97]))
    assert result.metrics == {}
    assert "has no attention to replace" in result.text


SEES = {
    "gats": "model=gats model.graph=concepts model.heads=2 model.aggregate=transformed",
    "hist": "model=hist model.own_concepts=true",
}
PLAIN = "model.cell=gru model.hidden_size=32"


@pytest.mark.slow
@pytest.mark.parametrize("name", SEES)
def test_a_planted_lead_is_seen_within_the_sector(name: str) -> None:
    """Mean of three seeds: lift within the sector above 1.5, of weights and of attributions.

    GATs attends to the leaders; HIST reads the mean of the members, in which all have one weight.
    """
    model = compose(*SEES[name].split(), *PLAIN.split()).model
    found = [find_planted(model, seed=seed) for seed in range(3)]
    for part in ("attention", "attribution"):
        assert sum(values[f"{part}_lift"] for values in found) / 3 > 1.5
        leaders = sum(values[f"{part}_leaders"] for values in found) / 3
        assert leaders > 1.1 or name == "hist"


@pytest.mark.parametrize("name", ["dtml", pytest.param("master", marks=pytest.mark.slow)])
def test_the_planted_market_has_a_state(name: str) -> None:
    """Models that need an index can be checked on it, too."""
    options = [f"model={name}", "data.indices=[A,B]", "model.hidden_size=8"]
    few = ["trainer.max_epochs=1", "+trainer.limit_train_batches=1"]
    found = find_planted(compose(*options).model, *few)
    assert found["attention_lift"] == pytest.approx(1, abs=0.5)


@pytest.mark.slow
@pytest.mark.parametrize("options", ["model=gats", "model=hist"])
def test_nothing_is_seen_where_nothing_is_planted(options: str) -> None:
    """On independent returns, attention within sectors is within noise of chance."""
    model = compose(*options.split(), *PLAIN.split()).model
    found = find_planted(model, "data.lead_lag=0", "data.reversal=0", "trainer.max_epochs=2")
    assert found["attention_lift"] == pytest.approx(1, abs=0.1)
    assert found["attribution_lift"] == pytest.approx(1, abs=0.3)

"""Terms of a score, and the gate: numbers worked by hand."""

import pandas as pd
import pytest
import torch
from conftest import Run as FittedRun

from alphazoo.explain.gate import show_gate
from alphazoo.explain.over_terms import shares_of_variance
from alphazoo.explain.show import explain_subject
from alphazoo.explain.subject import Subject


def subject_of(run: FittedRun) -> Subject:
    return Subject(run.config, run.model, run.data, run.data.segments["test"][-3:])


def test_the_shares_of_terms_by_hand() -> None:
    """Scores 0, 4, 2: deviations -2, 2, 0; the constant of a term does not count."""
    wide = pd.DataFrame({"a": [0.0, 3.0, 3.0], "b": [10.0, 11.0, 9.0]})
    shares = shares_of_variance(wide)
    assert shares["a"] == pytest.approx((-2 * -2 + 2 * 1) / 8)
    assert shares["b"] == pytest.approx(2 / 8)


def test_the_terms_of_every_model_add_up_to_its_scores(run: FittedRun) -> None:
    if "terms" not in run.model.shows:
        pytest.skip("the score of this model is no sum")
    subject = subject_of(run)
    found = explain_subject(subject, what=["terms"])
    shares = [value for name, value in found.metrics.items() if name.startswith("share/")]
    assert sum(shares) == pytest.approx(1, abs=1e-4)
    day = subject.day(subject.rows[-1])
    sums = found.tables["terms"].groupby("symbol", observed=True)["value"].sum()
    with torch.no_grad():
        rest = subject.model(day).numpy() - sums.loc[subject.symbols(day)].to_numpy()
    assert rest == pytest.approx(rest.mean(), abs=1e-5)


def test_the_gate_is_shown_for_all_days(run: FittedRun) -> None:
    if "gate" not in run.model.shows:
        pytest.skip("this model has no gate")
    subject = subject_of(run)
    table = show_gate(subject).tables["gate_weights"]
    assert table.groupby("date")["weight"].sum().to_numpy() == pytest.approx(1, abs=1e-5)
    assert [*table["date"].unique()] == [subject.date(row) for row in subject.rows]
    day = subject.day(subject.rows[1])
    own = table.loc[table["date"] == subject.date(int(day.date)), "weight"].tolist()
    assert own == subject.model.inside(day)["gate_weights"].tensor.tolist()

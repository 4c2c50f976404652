"""alphazoo explain: every model has a page; bad input is refused in one line."""

import json
import re
import sys
from pathlib import Path
from unittest.mock import patch

import pandas as pd
import pytest
import torch
from conftest import MODELS, Alphazoo, model_overrides, small_config
from conftest import Run as FittedRun
from matplotlib.container import BarContainer

from alphazoo.commands.job import train
from alphazoo.errors import InputError
from alphazoo.explain.bars import MOST
from alphazoo.explain.checks import check_seeds
from alphazoo.explain.explanation import Explanation
from alphazoo.explain.show import explain, explain_subject
from alphazoo.explain.subject import Subject, open_subject
from alphazoo.models.probe import KINDS
from alphazoo.runs.run import Run

FEW = ["trainer.max_epochs=1", "++trainer.limit_train_batches=5"]
COLUMNS = {  # of the tables that the design names
    "attention": ["date", "head", "symbol", "other", "weight"],
    "time_attention": ["date", "symbol", "step", "weight"],
    "sectors": ["date", "sector", "other", "share", "lift"],
    "attribution": ["date", "symbol", "other", "feature", "lag", "lags", "value"],
}


def fitted(folder: Path, name: str, *overrides: str) -> Path:
    sizes = model_overrides(name, hidden_size=8, feedforward_size=16, lambda_l1=0, dropout=0)
    train(small_config(*sizes, *FEW, *overrides, f"folder={folder}"))
    return folder


@pytest.fixture(scope="session")
def gats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fitted(tmp_path_factory.mktemp("gats"), "gats", "model.heads=2")


@pytest.fixture(scope="session")
def explained(gats: Path) -> Explanation:
    return explain(gats)


@pytest.fixture(scope="session")
def gru(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fitted(tmp_path_factory.mktemp("gru"), "gru", "data.concepts=null")


def test_every_model_shows_all_that_it_says(run: FittedRun) -> None:
    config, model, data = run.config, run.model, run.data
    subject = Subject(config, model, data, data.segments["test"][-3:])
    found = explain_subject(subject)
    assert set(found.figures) == set(found.captions)
    probes = {name.rpartition(".")[2] for name in subject.model.inside(subject.day(100))}
    assert {*probes, "attribution"} <= set(found.tables)
    for table in found.tables.values():
        assert len(table) > 0
    for figure in found.figures.values():
        bars = [x for axes in figure.axes for x in axes.containers if isinstance(x, BarContainer)]
        assert all(len(x) <= MOST for x in bars if x.orientation == "horizontal")
    for table, columns in COLUMNS.items():
        if table in found.tables:
            assert [c for c in found.tables[table] if c not in ("layer", "head")] == [
                c for c in columns if c != "head"
            ]


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) for name in MODELS])
def test_the_page_of_every_model_is_whole(name: str, tmp_path: Path) -> None:
    found = explain(fitted(tmp_path / "run", name), first="2015-06")
    _check_page(found, tmp_path / "out")


def _check_page(found: Explanation, folder: Path) -> None:
    found.write(folder)
    page = (folder / "explain.html").read_text(encoding="utf-8")
    for figure in found.figures:
        assert f'id="{figure}"' in page
        assert (folder / "figures" / f"{figure}.png").is_file()
    assert page.count("<figcaption>") == len(found.figures)
    assert not re.search(r'(src|href)="(?!#|data:)', page)  # nothing from the network
    for table in found.tables:
        assert len(pd.read_parquet(folder / "tables" / f"{table}.parquet")) > 0


def test_scores_are_those_of_the_run(gats: Path) -> None:
    """The checkpoint is loaded as for prediction: bit for bit the scores of the run."""
    subject = open_subject(Run.open(gats), date="2015-06-10")
    day = subject.day(subject.rows[-1])
    with torch.no_grad():
        scores = dict(zip(subject.symbols(day), subject.model(day).tolist(), strict=True))
    table = Run.open(gats).scores
    own = table[(table["split"] == "test") & (table["date"] == "2015-06-10")]
    assert scores == dict(zip(own["symbol"], own["score"], strict=True))


def test_tables_hold_what_the_model_shows(gats: Path, explained: Explanation) -> None:
    subject = open_subject(Run.open(gats))
    day = subject.day(subject.rows[-1])
    shown = subject.model.inside(day)["attention"].tensor
    table = explained.tables["attention"]
    symbols = subject.symbols(day)
    row = table[(table["symbol"] == symbols[2]) & (table["other"] == symbols[4])]
    assert row.sort_values("head")["weight"].tolist() == shown[:, 2, 4].tolist()
    sums = table.groupby(["head", "symbol"], observed=True)["weight"].sum()
    assert sums.to_numpy() == pytest.approx(1, abs=1e-5)


def test_sectors_cover_all_days_and_attributions_the_chosen_stocks(
    gats: Path, explained: Explanation
) -> None:
    sectors = explained.tables["sectors"]
    assert sectors.groupby(["date", "sector"])["share"].sum().to_numpy() == pytest.approx(1, 1e-5)
    assert len(sectors["date"].unique()) == len(open_subject(Run.open(gats)).rows)
    assert len(explained.tables["attribution"]["symbol"].unique()) == 4
    attributed = explained.tables["attribution"].groupby("symbol")["value"].sum()
    subject = open_subject(Run.open(gats))
    day = subject.day(subject.rows[-1])
    mean = day.features.mean(dim=0).expand_as(day.features)
    with torch.no_grad():
        change = subject.model(day) - subject.model(day._replace(features=mean))
    for symbol, value in attributed.items():
        place = subject.symbols(day).index(str(symbol))
        assert value == pytest.approx(float(change[place]), abs=1e-4)


def test_the_command_writes_a_page_beside_the_files_of_the_run(
    gats: Path, alphazoo: Alphazoo
) -> None:
    before = {file: file.read_bytes() for file in sorted(gats.glob("*.*")) if file.is_file()}
    done = alphazoo("explain", f"run={gats}", "date=2015-06-10", "what=attention,sectors")
    assert done.code == 0
    assert "within_lift" in done.out
    folder = gats / "explanations" / "2015-06-10_2015-06-10"
    assert str(folder) in done.out
    metrics = json.loads((folder / "explain.json").read_text(encoding="utf-8"))
    assert metrics["attended"] > 1
    assert (folder / "explain.html").is_file()
    assert not (folder / "tables" / "attribution.parquet").exists()
    after = {file: file.read_bytes() for file in sorted(gats.glob("*.*")) if file.is_file()}
    assert before == after


def test_help_shows_examples(alphazoo: Alphazoo) -> None:
    done = alphazoo("explain", "--help")
    assert done.code == 0
    assert "alphazoo explain run=runs/mine what=sectors" in done.out
    assert all(kind in done.out for kind in KINDS)


REFUSED = {
    "run": ([], "expected: alphazoo explain run=FOLDER"),
    "day outside": (["date=2031-01-05"], "no trading day from 2031-01-05 to 2031-01-05"),
    "no trading day": (["date=2015-06-13"], "no trading day from 2015-06-13"),
    "no day": (["date=yesterday"], "date"),
    "both": (["date=2015-06-10", "from=2015"], "expected either date or from and to"),
    "unknown what": (["what=atention"], "unknown what 'atention'; did you mean 'attention'?"),
    "cannot show": (
        ["what=time"],
        "GATs cannot show time; it can show: attention, sectors, attribution",
    ),
    "no member": (
        ["symbols=S00099", "date=2015-06-10"],
        "symbols=S00099: no member of market 'synthetic (seed 0)' with a price on 2015-06-10; did "
        "you mean 'S00009'?",
    ),
    "seeds without checks": (["seeds=runs/other"], "seeds are used by the checks"),
    "truth": (["checks=maybe"], "checks=maybe: expected true or false"),
    "override": (["data.n_stock=3"], "unknown config key 'data.n_stock'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_is_one_line_and_writes_nothing(
    name: str, gats: Path, alphazoo: Alphazoo, tmp_path: Path
) -> None:
    arguments, message = REFUSED[name]
    run = [] if name == "run" else [f"run={gats}", f"out={tmp_path / 'out'}"]
    refused = alphazoo("explain", *run, *arguments)
    assert refused.code == f"error: {str(refused.code).removeprefix('error: ')}"
    assert message in str(refused.code)
    assert "\n" not in str(refused.code)
    assert not (tmp_path / "out").exists()


def test_a_run_without_checkpoint_is_refused(gru: Path, alphazoo: Alphazoo, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "config.yaml").write_bytes((gru / "config.yaml").read_bytes())
    refused = alphazoo("explain", f"run={tmp_path / 'empty'}")
    assert "empty has no checkpoints/best.ckpt: did the run end?" in str(refused.code)
    refused = alphazoo("explain", f"run={tmp_path / 'nowhere'}")
    assert "is not the folder of a run" in str(refused.code)


def test_an_ensemble_names_its_runs(gru: Path, tmp_path: Path) -> None:
    config = (gru / "config.yaml").read_text(encoding="utf-8")
    (tmp_path / "config.yaml").write_text(
        f"{config}ensemble: {{by: rank, runs: [{gru}]}}\n", "utf-8"
    )
    with pytest.raises(InputError, match=rf"is an ensemble: explain one of its runs, {gru}"):
        explain(tmp_path)


def test_sectors_need_concepts(tmp_path: Path) -> None:
    folder = fitted(tmp_path, "gats", "data/concepts=none")
    with pytest.raises(InputError, match=r"what=sectors needs the sectors .* data.concepts=FILE"):
        explain(folder, what=["sectors"])
    found = explain(folder, date="2015-06-10", what=["attention"])
    assert "sectors" not in found.tables
    table = tmp_path / "sectors.csv"
    symbols = found.tables["attended_stocks"]["symbol"]
    pd.DataFrame({"symbol": symbols, "concept": "AB" * 3}).to_csv(table, index=False)
    run = Run.open(folder, [f"data.concepts={table}"])
    assert "sectors" in explain(run, date="2015-06-10", what=["sectors"]).tables


def test_a_model_of_single_stocks_lists_what_it_can_show(gru: Path) -> None:
    with pytest.raises(InputError, match="GRU cannot show attention; it can show: attribution"):
        explain(gru, what=["attention"])


def test_captum_that_is_not_installed_is_refused_or_noted(gru: Path) -> None:
    missing = {"captum": None, "captum.attr": None}
    with patch.dict(sys.modules, missing):
        with pytest.raises(InputError, match=r"need Captum: pip install 'alphazoo\[explain\]'"):
            explain(gru, date="2015-06-10", what=["attribution"])
        found = explain(gru, date="2015-06-10")
    assert "There are no attributions" in found.parts[-1].notes[0]


def test_runs_of_other_seeds_are_compared(gats: Path, tmp_path: Path) -> None:
    other = fitted(tmp_path / "seed1", "gats", "model.heads=2", "seed=1")
    subject = open_subject(Run.open(gats), date="2015-06-10")
    found = check_seeds(subject, [Run.open(other)])
    mine, theirs = (
        s.model.inside(s.day(s.rows[-1]))["attention"].tensor.mean(dim=0)
        for s in (subject, open_subject(Run.open(other), date="2015-06-10"))
    )
    expected = [
        pd.Series(a.numpy()).corr(pd.Series(b.numpy()), method="spearman")
        for a, b in zip(mine, theirs, strict=True)
    ]
    assert found.metrics["rank_correlation"] == pytest.approx(sum(expected) / len(expected))
    assert "Weights of 2 seeds have a mean rank correlation of" in found.text


def test_runs_of_other_settings_are_no_seeds(gru: Path, tmp_path: Path) -> None:
    other = fitted(tmp_path / "other", "gru", "data.concepts=null", "label.winsorize=0.1")
    with pytest.raises(InputError, match="seeds: the runs differ by more than their seed"):
        explain(gru, date="2015-06-10", checks=True, seeds=[other])

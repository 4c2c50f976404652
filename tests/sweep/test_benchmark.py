"""The benchmark: which jobs there are, which start from others, and the table of them."""

import json
import re
import shutil
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from conftest import EXPERIMENTS, SMALL, Alphazoo
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from alphazoo.config import compose, config_dir
from alphazoo.errors import InputError, JobsFailedError
from alphazoo.sweep.benchmark import Known, conclude
from alphazoo.sweep.plan import BenchmarkJob, Plan

BASED = {"gats": "heads=2", "hist": "neighbours=2", "igmtf": "k_day=5"}  # with a setting of each


def make_plan(*overrides: str, folder: Path = Path("out"), **changed: object) -> Plan:
    settings = OmegaConf.load(config_dir() / "hydra" / "sweeper" / "benchmark.yaml")
    settings.update(changed)
    given = [*(f"{key}={value}" for key, value in settings.params.items()), *overrides]
    parsed = OverridesParser.create().parse_overrides(given)
    by_key = {override.get_key_element(): override for override in parsed}
    plan = Plan(by_key, settings, EXPERIMENTS, lambda told: compose(*told))
    plan.place(folder)
    return plan


def told(plan: Plan, model: str) -> dict[str, str]:
    """What a job of a model is told."""
    entry = next(entry for entry in plan.entries if entry.model == model)
    return dict(override.split("=", 1) for override in entry.overrides)


# the plan


def test_the_default_is_every_architecture_of_the_published_table_with_five_seeds() -> None:
    plan = make_plan()
    count = Counter(entry.model for entry in plan.entries)
    graph, rest = ["gats", "hist", "igmtf"], ["alstm", "gru", "localformer", "lstm", "sfm", "tcn"]
    assert count == dict.fromkeys([*graph, *rest, "transformer"], 5)
    assert all(entry.shown for entry in plan.entries)
    assert len({entry.folder for entry in plan.entries}) == 50


@pytest.mark.parametrize("model", BASED)
def test_graph_models_start_from_the_lstm_of_their_seed(model: str) -> None:
    option = f"model.{BASED[model]}"
    plan = make_plan(f"model={model}", "seed=3,1", "model.hidden_size=8", option)
    assert [entry.model for entry in plan.entries] == ["lstm", model] * 2
    for base, entry in zip(plan.entries[::2], plan.entries[1::2], strict=True):
        assert (base.shown, entry.shown, base.base, entry.base) == (False, True, None, base.folder)
        config = compose(*entry.overrides, f"folder={entry.folder}")
        file = base.folder / "checkpoints" / "best.ckpt"
        assert Path(config.init_from).resolve() == file.resolve()
        assert config.seed == compose(*base.overrides).seed
        assert "model.hidden_size=8" in base.overrides
        assert option in entry.overrides
        assert option not in base.overrides  # the LSTM knows no such argument


def test_a_base_that_was_asked_for_is_trained_once() -> None:
    plan = make_plan("model=gats,lstm", "seed=0")
    assert [(entry.model, entry.shown) for entry in plan.entries] == [
        ("lstm", True),
        ("gats", True),
    ]


def test_a_run_is_known_by_the_settings_that_change_its_figures() -> None:
    def names(*overrides: str) -> list[str]:
        return [
            entry.folder.name for entry in make_plan("model=gats", "seed=0", *overrides).entries
        ]

    known = names()
    assert names("trainer.enable_progress_bar=false", "logger=tensorboard", "report=false") == known
    base, other = names("model.lr=0.5")
    assert base not in known
    assert other not in known
    (alone,) = make_plan("model=gats", "seed=0", based=[]).entries
    assert alone.folder.name not in known


def test_the_base_is_of_the_cell_of_the_model() -> None:
    assert make_plan("model=gats", "seed=0", "model.cell=gru").entries[0].model == "gru"


def test_a_base_of_the_user_comes_first() -> None:
    assert [entry.model for entry in make_plan("model=gats", "init_from=x", "seed=0").entries] == [
        "gats"
    ]


@pytest.mark.parametrize(
    ("budget", "model", "epochs", "patience"),
    [
        (0.05, "gru", "10", "3"),  # published: 200 and 20
        (0.05, "transformer", "5", "3"),  # 100 and 5
        (0.05, "sfm", "1", "3"),  # 20 and 20
        (0.01, "sfm", "1", "3"),
        (0.5, "gru", "100", "10"),
        (2, "lightgbm", "200", "10"),
    ],
)
def test_the_budget_scales_epochs_and_patience(
    budget: float, model: str, epochs: str, patience: str
) -> None:
    found = told(make_plan(f"model={model}", budget=budget), model)
    assert (found["trainer.max_epochs"], found["patience"]) == (epochs, patience)


def test_the_budget_leaves_what_the_user_sets() -> None:
    assert "trainer.max_epochs" not in told(make_plan("model=gru"), "gru")
    found = told(make_plan("model=gru", "trainer.max_epochs=7", "patience=2", budget=0.5), "gru")
    assert (found["trainer.max_epochs"], found["patience"]) == ("7", "2")


@pytest.mark.parametrize(
    ("data", "concepts"),
    [
        (["data=qlib", "data.path=x"], "correlation"),
        (["data=qlib", "data.path=x", "data.concepts=x.csv"], None),
        (["data=qlib", "data.path=x", "data/concepts=none"], "none"),
        ([], None),  # the synthetic market has some
    ],
)
def test_hist_has_concepts_where_the_data_have_none(data: list[str], concepts: str | None) -> None:
    plan = make_plan("model=gru,hist", *data)
    assert told(plan, "hist").get("data/concepts") == concepts
    assert told(plan, "gru").get("data/concepts") in (None, "none")


def test_a_model_that_cannot_be_made_without_concepts_gets_some() -> None:
    plan = make_plan("model=rsr", "features=alpha158", "data=qlib", "data.path=x")
    assert told(plan, "rsr")["data/concepts"] == "correlation"
    assert compose(*plan.entries[0].overrides).model.n_concepts == 30


def test_what_is_not_published_is_left_out() -> None:
    plan = make_plan("features=alpha158", "seed=0")
    assert "gats" in {entry.model for entry in plan.entries}
    assert plan.absent == [("alpha158", model) for model in ("hist", "igmtf", "sfm")]


def test_tuned_settings_are_a_feature_set_of_their_own() -> None:
    plan = make_plan("model=gats", "features=tuned,alpha158", "seed=0")
    names = [entry.overrides[0] for entry in plan.entries]
    pairs = ["tuned_lstm", "tuned_gats", "alpha158_lstm", "alpha158_gats"]
    assert names == [f"experiment={pair}" for pair in pairs]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model=gruu"], "unknown model 'gruu'; did you mean 'gru'?"),
        (["model=gru,lstmm"], "no published settings for model 'lstmm'; did you mean 'lstm'?"),
        (["features=alpha158,alpha36"], "for features 'alpha36'; did you mean 'alpha360'?"),
        (
            ["model=hist", "features=alpha158"],
            "settings for alpha158_hist; available: alpha158_alstm",
        ),
        (["model=linear"], "no published settings for model 'linear'"),
        (["budget=0"], "budget must be a positive fraction of the published epochs, such as 0.05"),
        (["--budget", "much"], "such as 0.05, got much"),
        (["--budget=-1"], "such as 0.05, got -1"),
        (["seed=0,-1"], "seed=-1: expected a whole number (at least 0, at most"),
        (["seed=interval(0,5)"], "expected a list such as seed=0,1,2, got seed=interval(0,5)"),
        (["model.lr=1e-3,1e-4"], "a benchmark combines only model, features, seed, got model.lr"),
        (["experiment=alpha360_gru"], "experiment cannot be set in a benchmark"),
        (["sweep=seeds"], "expected: alphazoo benchmark"),
        (["run=out"], "expected: alphazoo benchmark"),
        (["model.headz=4"], "unknown config key 'model.headz'"),
        (["model=gru,lstm", "model.headz=4"], "unknown config key 'model.headz'"),
        (["features=alpha36"], "for features 'alpha36'; did you mean 'alpha360'?"),
        (["model=gru", "features=tuned", "data=qlib"], "no value for data.path"),
        (["data=qlib"], "no value for data.path"),
        (["model=gru", "data.test=[2019,2020]"], "data.test=[2019, 2020] has no trading day"),
        (["model=gats", "walk_forward=yearly"], "which a walk forward does not support"),
    ],
)
def test_what_is_wrong_ends_a_benchmark_before_it_begins(
    arguments: list[str], message: str, alphazoo: Alphazoo, tmp_path: Path
) -> None:
    result = alphazoo("benchmark", *arguments, "out=out")
    assert isinstance(result.code, str)
    assert message in result.code
    assert "\n" not in result.code
    assert not [*tmp_path.rglob("*.json"), *tmp_path.rglob("*.ckpt")]


# running it

TINY = [
    *("benchmark", *SMALL, "trainer.max_epochs=1", "++trainer.limit_train_batches=3"),
    *("model.hidden_size=4", "out=out"),
]


def runs(folder: Path) -> dict[str, int]:
    """When each run was last begun, by model and seed."""
    files = folder.glob("*/status.json")
    return {
        file.parent.name.removeprefix("alpha360_")[:-9]: file.stat().st_mtime_ns for file in files
    }


def find(folder: Path, name: str) -> Path:
    return next(folder.glob(f"alpha360_{name}-*"))


@pytest.mark.thorough
def test_a_benchmark_again_does_what_is_missing(alphazoo: Alphazoo, tmp_path: Path) -> None:
    command = [*TINY, "model=gru,gats", "seed=0,1"]
    result = alphazoo(*command)
    assert result.code == 0
    folder = tmp_path / "out"
    first = runs(folder)
    assert {*first} == {f"{model}-{seed}" for model in ("gru", "gats", "lstm") for seed in (0, 1)}
    rows = [line for line in (folder / "benchmark.md").read_text().splitlines() if "|" in line]
    assert rows[0].startswith(
        "| model | features | IC | ICIR | rank IC | rank ICIR | ann. return |"
    )
    assert {row.split("|")[1].strip() for row in rows[2:]} == {"gru", "gats"}
    assert "gats: start from the encoder of a trained lstm" in result.out

    table = pd.read_parquet(folder / "benchmark.parquet").set_index(["model", "seed"]).sort_index()
    metrics = json.loads((find(folder, "gats-1") / "metrics.json").read_text())
    assert table.loc[("gats", 1), "test/ic"] == pytest.approx(metrics["test/ic"])
    assert table["seconds"].gt(0).all()
    assert len(set(table["fingerprint"])) == 1
    assert len(set(table["settings"])) == 4

    assert alphazoo(*command, "budget=1").code == 0
    assert runs(folder) == first
    shutil.rmtree(find(folder, "lstm-1"))
    (find(folder, "gru-0") / "metrics.json").unlink()
    assert alphazoo(*command).code == 0
    again = runs(folder)
    assert {name for name in first if first[name] != again[name]} == {"lstm-1", "gru-0"}
    assert again.keys() == first.keys()


@pytest.mark.thorough
def test_a_job_without_its_base_is_not_run(alphazoo: Alphazoo, tmp_path: Path) -> None:
    command = [*TINY, "model=gru,gats", "seed=0"]
    alphazoo(*command)
    base = find(tmp_path / "out", "lstm-0")
    (base / "metrics.json").unlink()
    for name in ("last", "previous"):
        (base / "checkpoints" / f"{name}.ckpt").write_text("damaged")
    shutil.rmtree(find(tmp_path / "out", "gats-0"))
    result = alphazoo(*command)
    assert "2 of 3 jobs failed: out/alpha360_lstm-0" in str(result.code)
    assert re.search(r"gats-0-\w+ \(out/alpha360_lstm-0-\w+ has no result\)", str(result.code))
    assert "1 of 2 runs have no results" in result.out
    assert "| gru | alpha360 |" in (tmp_path / "out" / "benchmark.md").read_text()


# its table


def write_run(entry: BenchmarkJob, **figures: float) -> None:
    """A run that somebody has made."""
    entry.folder.mkdir(parents=True)
    config = compose(*entry.overrides, f"folder={entry.folder}")
    (entry.folder / "config.yaml").write_text(OmegaConf.to_yaml(config))
    made = {"overrides": [*entry.overrides], "status": "done", "error": None, "seconds": 1.0}
    data = {"market": "M", "fingerprint": "f00d", "concepts": None, "days": 9, "stocks": 3}
    facts = {
        "data": data | {"first": "2015-02-01", "last": "2017-01-01"},
        "settings": "5e7",
        "machine": {"device": "cpu", "cores": 2, "system": "S"},
        "resources": {"seconds": figures["seconds"], "memory": figures["memory"]},
    }
    for name, content in (
        ("status", made),
        ("metrics", {"test/ic": figures["ic"]}),
        ("provenance", facts),
    ):
        (entry.folder / f"{name}.json").write_text(json.dumps(content))
    days = pd.date_range("2015-06-01", periods=2).repeat(3)
    scores = {"date": days, "symbol": ["A", "B", "C"] * 2, "split": "test"}
    values = {"score": [1.0, 2, 3, 3, 2, 1], "return": [0.1, 0.2, 0.4, 0.1, 0.0, 0.1]}
    pd.DataFrame(scores | values).to_parquet(entry.folder / "scores.parquet")


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """Three seeds of two models, the last of which has no result."""
    plan = make_plan("model=gru,tcn", "seed=0,1,2", folder=tmp_path)
    ics, seconds = [0.01, 0.02, 0.06, 0.04, 0.08], [10.0, 20, 60, 7, 7]
    for entry, ic, spent in zip(plan.entries, ics, seconds, strict=False):
        write_run(entry, ic=ic, seconds=spent, memory=0.5)
    return plan


def test_the_table_is_mean_and_deviation_over_seeds_best_first(
    plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """GRU: 0.01, 0.02, 0.06 deviate from 0.03 by -0.02, -0.01, 0.03: the root of 0.0014 / 2."""
    with pytest.raises(JobsFailedError, match="1 of 6 jobs failed: .*tcn-2"):
        conclude(tmp_path, plan, Known({key: {("f00d", None)} for key in plan.recipes}))
    *notes, _, _, first, second = (tmp_path / "benchmark.md").read_text().splitlines()
    assert (
        first == "| tcn | alpha360 | 0.0600 ± 0.0283 |" + " - |" * 6 + " 7 ± 0 | 0.50 ± 0.00 | 2 |"
    )
    assert (
        second
        == "| gru | alpha360 | 0.0300 ± 0.0265 |" + " - |" * 6 + " 30 ± 26 | 0.50 ± 0.00 | 3 |"
    )
    said = "\n".join(notes)
    assert (
        "M, 3 stocks, 9 days 2015-02-01 to 2017-01-01, fingerprint f00d; train 2015-02-01" in said
    )
    assert "at most 200 epochs (tcn, gru), of which the best by val/ic is used" in said
    assert "1 of 6 runs have no results" in said
    assert "Machine: cpu, 2 cores, S." in said
    table = pd.read_parquet(tmp_path / "benchmark.parquet")
    assert table["status"].tolist() == ["done"] * 5 + ["running"]
    assert "0.0300 ± 0.0265" in (tmp_path / "benchmark.html").read_text()


@pytest.mark.parametrize("other", [("beef", None), ("f00d", "c0de")])
def test_runs_on_other_data_are_not_averaged(
    plan: Plan, tmp_path: Path, other: tuple[str, str | None]
) -> None:
    known = {key: {("f00d", None)} for key in plan.recipes} | {("alpha360", "gru"): {other}}
    with pytest.raises(InputError, match=r"of .*gru-0.* \(fingerprint f00d.* differ from those at"):
        conclude(tmp_path, plan, Known(known))
    assert not (tmp_path / "benchmark.md").exists()


@pytest.mark.thorough
def test_data_that_have_changed_end_a_benchmark_before_it_goes_on(
    alphazoo: Alphazoo, tmp_path: Path
) -> None:
    alphazoo(*TINY, "model=gru", "seed=0")
    file = find(tmp_path / "out", "gru-0") / "provenance.json"
    facts = json.loads(file.read_text())
    facts["data"]["parts"]["close"] = "f00d"
    file.write_text(json.dumps(facts))
    result = alphazoo(*TINY, "model=gru", "seed=0,1")
    assert "the data have changed since out/alpha360_gru-0" in str(result.code)
    assert "close differs, calendar and symbols are the same" in str(result.code)
    assert not [*(tmp_path / "out").glob("alpha360_gru-1-*")]


@pytest.mark.slow
def test_jobs_run_in_processes(alphazoo: Alphazoo, tmp_path: Path) -> None:
    told = [*TINY, "model=gru,gats", "seed=0,1"]
    first = alphazoo(*told)
    assert first.code == 0, first
    second = alphazoo(*told, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "out=other")
    assert second.code == 0, second
    one, two = (pd.read_parquet(tmp_path / name / "benchmark.parquet") for name in ("out", "other"))
    figures = ["model", "seed", "test/ic", "fingerprint", "settings", "status"]
    pd.testing.assert_frame_equal(one[figures], two[figures])

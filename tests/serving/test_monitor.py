"""Monitors: planted faults are caught, each by its own, and days without a fault are left alone."""

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pandas as pd
import pytest
from conftest import SMALL, Alphazoo, real_data
from faults import FAULTS, Work, frozen_column, restated_past
from scipy.stats import chi2

from alphazoo.commands.job import train
from alphazoo.config import compose, instantiate
from alphazoo.files import load_tensors
from alphazoo.runs.run import Run
from alphazoo.serving.monitor.limits import Limits
from alphazoo.serving.monitor.monitor import Monitoring, episodes, monitor
from alphazoo.serving.monitor.profile import Bins, Cells, pooled, psi
from alphazoo.serving.monitor.reference import FILE
from alphazoo.serving.monitor.series import agreement, replaced, z_counts, z_edges
from alphazoo.serving.predict import identify

COLUMNS = "features.columns=[ROC5,ROC20,STD20,VMA5,VMA20,KLEN,RSV20,CORR20]"
TRAINING = [
    *("features=alpha158", COLUMNS, "features.window=1", "model=linear", "trainer=cpu"),
    *("trainer.enable_progress_bar=false", "trainer.max_epochs=1"),
]
SYNTHETIC = [
    *("data.n_days=420", "data.n_stocks=60", "data.n_sectors=2", "report=false"),
    "data/concepts=none",
    "data.train=['2015-02-01', '2015-12-31']",
    "data.valid=['2016-01-01', '2016-04-30']",
    "data.test=['2016-05-01', null]",
]
FIRST, LAST = "2016-05-02", "2016-08-10"


def put_to_work(config: list[str], first: str, last: str) -> tuple[Run, Work]:
    """Train a run, and score days with it."""
    config = compose(*TRAINING, *config)
    train(config)
    run = Run.open(config.folder)
    scores = identify(run, first=first, last=last, version="mine/1")
    market = instantiate(run.config.data.market)()
    market = market.until(market.rows(None, last)[-1])
    row = len(market.dates) - 30
    return run, Work(market, scores, row)


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Work]:
    folder = tmp_path_factory.mktemp("synthetic")
    return put_to_work([*SYNTHETIC, f"folder={folder}"], FIRST, LAST)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Work]:
    folder = tmp_path_factory.mktemp("real")
    data = [
        *("data=qlib", f"data.path={real_data('csi300')}", "trainer.max_epochs=2"),
        *("data.train=[2010, 2014]", "data.valid=[2015, 2015]", "data.test=[2016, 2016]"),
    ]
    return put_to_work([*data, f"folder={folder}"], "2017-01-01", "2020-12-31")


def watch(run: Run, work: Work, folder: Path, **options: str) -> Monitoring:
    file = folder / "scores.parquet"
    work.scores.to_parquet(file)
    limits: Limits = instantiate(compose("+monitoring=daily").monitoring)
    options = {"today": f"{work.scores['date'].max():%Y-%m-%d}", **options}
    return monitor(run, file, folder / "out", limits, market=work.market, **options)


def days_until_alarm(found: Monitoring, name: str, day: pd.Timestamp) -> int:
    """Scored days from a day on until the monitor is in alarm, both included; 999 for never."""
    rows = found.table[(found.table["monitor"] == name) & (found.table["date"] >= day)]
    alarm = rows["alarm"].to_numpy()
    return int(alarm.argmax()) + 1 if alarm.any() else 999


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_planted_fault_is_caught_by_its_monitor(
    fault: Callable[[Work], Work], synthetic: tuple[Run, Work], tmp_path: Path
) -> None:
    check_fault(fault, *synthetic, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_planted_into_real_days_is_caught(
    fault: Callable[[Work], Work], real: tuple[Run, Work], tmp_path: Path
) -> None:
    run, work = real
    late = work.scores[work.scores["date"] >= "2020-06-01"]
    check_fault(fault, run, Work(work.market, late, work.row), tmp_path)


def check_fault(fault: Callable[[Work], Work], run: Run, work: Work, folder: Path) -> None:
    name, days = FAULTS[fault]
    (folder / "clean").mkdir()
    day = work.market.dates[-1] if name == "age" else work.day
    clean = watch(run, work, folder / "clean")
    assert days_until_alarm(clean, name, day) == 999
    morning_after = f"{work.market.dates[-1] + pd.offsets.BDay():%Y-%m-%d}"
    faulty = fault(work)
    today = {"today": morning_after} if name == "age" else {}
    found = watch(run, faulty, folder, **today)
    assert days_until_alarm(found, name, faulty.market.dates[-1] if today else day) <= days


def check_frozen(run: Run, work: Work, folder: Path, patch: pytest.MonkeyPatch) -> None:
    frozen_column(patch, "ROC20", work.row)
    found = watch(run, work, folder)
    assert days_until_alarm(found, "frozen_features", work.day) == 1
    assert found.states["frozen_features"]["detail"] == "ROC20"


def test_a_frozen_feature_is_caught(
    synthetic: tuple[Run, Work], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_frozen(*synthetic, tmp_path, monkeypatch)


@pytest.mark.slow
def test_a_feature_frozen_on_real_days_is_caught(
    real: tuple[Run, Work], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_frozen(*real, tmp_path, monkeypatch)


def check_restated(run: Run, work: Work, folder: Path) -> None:
    assert watch(run, work, folder).states["past"]["value"] == 0
    found = watch(run, restated_past(work), folder).states["past"]
    assert found["status"] == "alarm"
    assert found["value"] >= 1
    assert "STD20" in found["detail"]


def test_a_restated_past_is_caught_and_listed(synthetic: tuple[Run, Work], tmp_path: Path) -> None:
    check_restated(*synthetic, tmp_path)
    run, work = synthetic
    accepted = watch(run, restated_past(work), tmp_path, accept=True)  # type: ignore[arg-type]
    assert accepted.states["past"]["status"] == "ok"
    assert watch(run, restated_past(work), tmp_path).states["past"]["status"] == "ok"


@pytest.mark.slow
def test_a_restated_past_of_real_days_is_caught(real: tuple[Run, Work], tmp_path: Path) -> None:
    check_restated(*real, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("years", [(2017, 2018), (2019, 2020)])
def test_two_years_of_real_days_have_one_false_alarm_at_most(
    years: tuple[int, int], real: tuple[Run, Work], tmp_path: Path
) -> None:
    found = watch(*real, tmp_path)
    rows = found.table[found.table["date"].dt.year.isin(years)]
    alarms = rows.groupby("monitor")["alarm"].agg(lambda x: episodes(x.to_numpy()))
    assert (alarms <= 1).all(), alarms[alarms > 1].to_dict()


def test_a_synthetic_market_without_a_fault_has_no_alarm(
    synthetic: tuple[Run, Work], tmp_path: Path
) -> None:
    found = watch(*synthetic, tmp_path)
    assert found.summary["status"] == "ok", found.summary["alarms"]
    waiting = {name for name, state in found.states.items() if state["status"] == "waiting"}
    assert waiting == {"portfolio"}  # the run has no report
    assert found.states["portfolio"]["detail"] == "the run has no backtest"


def test_a_backtest_of_a_few_days_is_no_band(synthetic: tuple[Run, Work], tmp_path: Path) -> None:
    run, work = synthetic
    file = run.folder / "backtest.parquet"
    days = pd.DataFrame({"date": work.market.dates[:59], "return": 0.0})
    days.assign(cost=0.0, benchmark=0.0).to_parquet(file)
    try:
        state = watch(run, work, tmp_path).states["portfolio"]
    finally:
        file.unlink()
    assert (state["status"], "has 59 days, fewer than" in state["detail"]) == ("waiting", True)


def test_the_limits_are_the_published_ones() -> None:
    limits: Limits = instantiate(compose("+monitoring=daily").monitoring)
    found = [limits.cusum_limit(icir) for icir in (0.17, 0.30, 0.45)]
    assert found == pytest.approx([17.2, 12.6, 9.7], abs=0.11)
    assert limits.null_psi(1) == pytest.approx(27.88, abs=0.01)  # chi-squared with 9 degrees


def test_the_cusum_limit_gives_one_false_alarm_in_five_years() -> None:
    limits: Limits = instantiate(compose("+monitoring=daily").monitoring)
    random, icir = np.random.default_rng(0), 0.45
    limit, spans = limits.cusum_limit(icir), []
    for moves in random.standard_normal((200, 20_000)):
        total = 0.0
        for day, move in enumerate(moves):
            total = max(0.0, total - move - icir / 2)
            if total > limit:
                spans.append(day)
                break
    assert np.mean(spans) == pytest.approx(5 * 252, rel=0.2)


def test_psi_is_the_sum_over_bins() -> None:
    reference, counts = np.full(10, 100_000), np.array([200_000, *[100_000] * 8, 0])
    p, q = np.array([0.2, 0.1]), 0.1
    by_hand = (p[0] - q) * np.log(p[0] / q)
    rest = psi(counts, reference) - by_hand
    assert rest == pytest.approx(0.1 * np.log(0.1 / (0.5 / 1_000_005)), rel=1e-3)
    assert np.isnan(psi(np.zeros(10, dtype=int), reference))


def test_the_psi_of_rows_that_have_not_drifted_is_chi_squared() -> None:
    random, rows = np.random.default_rng(0), 2_000
    counts = random.multinomial(rows, [0.1] * 10, size=2_000)
    found = rows * psi(counts, np.full(10, 10_000_000))
    assert found.mean() == pytest.approx(9, rel=0.05)
    assert np.quantile(found, 0.99) == pytest.approx(chi2.ppf(0.99, 9), rel=0.1)


def test_days_are_pooled() -> None:
    assert pooled(np.arange(5)[:, None], 2).ravel().tolist() == [0, 1, 3, 5, 7]


def test_scores_of_two_days_are_compared() -> None:
    scores = np.array([[1.0, 2, 3, 4, np.nan], [4, 3, 2, 1, 5], [4, 3, 2, 1, 5]])
    assert agreement(scores).tolist() == pytest.approx([np.nan, -1, 1], nan_ok=True)
    assert replaced(scores, 50).tolist() == pytest.approx([np.nan, 1, 0], nan_ok=True)
    edges = z_edges(scores)
    assert z_counts(scores, edges).sum(axis=1).tolist() == [4, 5, 5]


def test_cells_count_values_and_see_each_change() -> None:
    import torch

    x = torch.tensor([[1.0, 2.0, torch.nan], [1.0, 5.0, 9.0]])
    mask = torch.ones_like(x, dtype=torch.bool)
    cells = Cells.of(mask, torch.tensor([0.7, 1.1, 1.3]).double())
    edges = np.arange(1.5, 10)
    assert cells.count(x[mask], edges).tolist() == [
        [1, 1, *[0] * 8],
        [1, 0, 0, 0, 1, 0, 0, 0, 1, 0],
    ]
    missing, repeats = cells.shares(x)
    assert missing.tolist() == pytest.approx([1 / 3, 0])
    assert repeats[1] == 0.5
    bins = Bins(edges[None], np.zeros(1), np.ones(1))
    before = cells.checksum(x[mask], bins, 0)
    x[0, 2] = 0.0
    after = cells.checksum(x[mask], bins, 0)
    assert (before != after).tolist() == [True, False]


@pytest.fixture
def at_work(synthetic: tuple[Run, Work], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The run as ``run`` and its scores in the current folder; one figure is drawn, not all."""
    run, work = synthetic
    monkeypatch.setattr("alphazoo.serving.monitor.page.DRAWN", ("ic",))
    Path("run").symlink_to(run.folder)
    work.scores.to_parquet("scores.parquet")
    return run.folder


COMMAND = ("monitor", "run=run", "scores=scores.parquet", "out=out", f"today={LAST}")


def test_the_command_writes_all_files_and_its_status(alphazoo: Alphazoo, at_work: Path) -> None:
    result = alphazoo(*COMMAND)
    assert result.code == 0
    assert "feature_drift" in result.out
    summary = json.loads(Path("out/monitor.json").read_text())
    assert summary["status"] == "ok"
    assert {file.name for file in Path("out").iterdir()} >= {"monitor.html", "monitor.parquet"}
    assert "<svg" in Path("out/monitor.html").read_text()
    late = alphazoo(*COMMAND[:-1], "today=2016-08-20")
    assert late.code == 2
    assert json.loads(Path("out/monitor.json").read_text())["alarms"] == ["age"]
    assert alphazoo(*COMMAND[:-1], "today=2016-08-20", "monitoring.age=20").code == 0


def test_prometheus_reads_the_gauges(alphazoo: Alphazoo, at_work: Path) -> None:
    parser = pytest.importorskip("prometheus_client.parser")
    alphazoo(*COMMAND[:-1], "today=2016-08-20")
    families = parser.text_string_to_metric_families(Path("out/alphazoo.prom").read_text())
    samples = {
        (sample.name, sample.labels.get("monitor")): sample.value
        for family in families
        for sample in family.samples
    }
    assert samples["alphazoo_monitor_alarm", "age"] == 1
    assert samples["alphazoo_monitor_alarm", "coverage"] == 0


class Hook(BaseHTTPRequestHandler):
    posted: list[bytes]

    def do_POST(self) -> None:
        self.posted.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_an_alarm_is_posted_to_the_webhook(
    alphazoo: Alphazoo, at_work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Hook.posted = []
    server = HTTPServer(("127.0.0.1", 0), Hook)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("ALPHAZOO_WEBHOOK", f"http://127.0.0.1:{server.server_port}/secret")
    alphazoo(*COMMAND)
    assert Hook.posted == []
    assert alphazoo(*COMMAND[:-1], "today=2016-08-20").code == 2
    server.shutdown()
    server.server_close()
    assert [json.loads(body)["alarms"] for body in Hook.posted] == [["age"]]


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/secret", "file:///secret", "secret"])
def test_a_webhook_that_cannot_be_reached_is_a_warning_without_its_address(
    address: str,
    alphazoo: Alphazoo,
    at_work: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("ALPHAZOO_WEBHOOK", address)
    assert alphazoo(*COMMAND[:-1], "today=2016-08-20").code == 2
    assert "was not notified" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["scores=no.parquet"], "no file no.parquet: alphazoo predict append=no.parquet writes"),
        (["version=mine/2"], "no scores of version 'mine/2'; available: mine/1"),
        (["today=2016-08-09"], "today=2016-08-09, but the newest scores"),
        (["since=soon"], "since: 'soon' is not a date"),
        (["monitoring.psi=-1"], "monitoring.psi=-1: expected a number (above 0)"),
        (["monitoring.pis=1"], "unknown config key 'monitoring.pis'; did you mean"),
        (["monitoring=nightly"], "unknown monitoring 'nightly'"),
        (["monitoring.calendar=none.txt"], "expected a file with a date per line"),
        (["reference=true"], "expected: alphazoo monitor run=FOLDER scores=FILE"),
    ],
)
def test_bad_input_is_one_line(
    changes: list[str], message: str, alphazoo: Alphazoo, at_work: Path
) -> None:
    assert message in str(alphazoo(*COMMAND, *changes).code)


def test_the_checkpoint_is_read_once(
    alphazoo: Alphazoo, at_work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[object] = []
    monkeypatch.setattr(
        "alphazoo.models.checkpoint.load_tensors",
        lambda file: [read.append(file), load_tensors(file)][1],
    )
    assert alphazoo(*COMMAND).code == 0
    assert len(read) == 1


def test_an_old_file_without_settings_is_monitored(alphazoo: Alphazoo, at_work: Path) -> None:
    scores = pd.read_parquet("scores.parquet")
    late = scores["date"] >= "2016-08-01"
    scores.drop(columns="settings").to_parquet("scores.parquet")
    assert alphazoo(*COMMAND).code == 0
    scores.assign(settings=scores["settings"].where(late, "")).to_parquet("scores.parquet")
    assert alphazoo(*COMMAND).code == 0


def test_days_that_are_added_do_not_change_the_identity_of_others(
    synthetic: tuple[Run, Work], tmp_path: Path
) -> None:
    run, work = synthetic  # its scores were made on all days
    early = work.scores[work.scores["date"] <= work.day]
    for market, scores in ((work.market, work.scores), (work.market.until(work.row), early)):
        found = watch(run, Work(market, scores, work.row), tmp_path)
        assert found.table.query("monitor == 'identity'")["value"].max() == 0
    assert work.scores["settings"].unique().tolist() == [run.provenance["settings"]]


def test_scores_of_another_run_are_refused(alphazoo: Alphazoo, at_work: Path) -> None:
    scores = pd.read_parquet("scores.parquet")
    scores.assign(checkpoint="other").to_parquet("scores.parquet")
    assert "has no scores by the checkpoint of run" in str(alphazoo(*COMMAND).code)


def test_a_run_without_reference_says_how_to_make_it(
    alphazoo: Alphazoo, at_work: Path, synthetic: tuple[Run, Work]
) -> None:
    before = (at_work / FILE).read_bytes()
    (at_work / FILE).unlink()
    result = alphazoo(*COMMAND)
    assert "alphazoo monitor run=run reference=true" in str(result.code)
    assert alphazoo("monitor", "run=run", "reference=true").code == 0
    assert alphazoo(*COMMAND).code == 0
    (at_work / FILE).write_bytes(before[: len(before) // 2])
    assert "monitor.npz is damaged" in str(alphazoo(*COMMAND).code)
    (at_work / FILE).write_bytes(before)


def test_a_few_scored_days_leave_some_monitors_waiting(
    synthetic: tuple[Run, Work], tmp_path: Path
) -> None:
    run, work = synthetic
    newest = work.scores[work.scores["date"] == work.scores["date"].max()]
    states = watch(run, Work(work.market, newest, work.row), tmp_path).states
    assert states["rank_stability"]["detail"] == "not known yet after 1 scored days"
    assert {states[name]["status"] for name in ("rank_stability", "turnover", "ic")} == {"waiting"}
    assert states["feature_drift"]["status"] == "ok"


def test_a_small_run_has_a_small_reference(tmp_path: Path) -> None:
    train(compose(*SMALL, "model=linear", f"folder={tmp_path}"))
    assert (tmp_path / FILE).stat().st_size < 100_000

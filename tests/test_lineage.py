"""Lineage: days that a checkpoint has seen are refused as test days, whatever way it came."""

import json
import logging
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import make_data, small_config

from alphazoo.data.module import MarketDataModule
from alphazoo.errors import InputError
from alphazoo.files import read_checkpoint
from alphazoo.lineage import Lineage, check_lineage, descend, last_day_seen, seen_before
from alphazoo.models.linear import Linear
from alphazoo.runs import Run
from alphazoo.train import train

LINEAR = ["model=linear", "trainer.max_epochs=1"]


def checkpoint(train_end: str, valid_end: str, lineage: Lineage | None = None) -> dict[str, Any]:
    days = {"train": ["2015-02-02", train_end], "valid": ["2015-04-16", valid_end]}
    about = {"model": "GRU", "lineage": lineage or []}
    return {"alphazoo": about, "MarketDataModule": {"days": days}}


@pytest.fixture(scope="module")
def data() -> MarketDataModule:
    """Validation days from Thursday 2015-04-16, test days from Monday 2015-05-18."""
    found = make_data(small_config("data.test=['2015-05-17', null]"))
    found.setup()
    return found


def check(found: dict[str, Any], data: MarketDataModule, *, allow_leak: bool = False) -> None:
    lineage = descend(found, "ckpt", "a.ckpt")
    check_lineage(lineage, data, source="ckpt=a.ckpt", allow_leak=allow_leak)


def test_the_last_day_seen_is_before_the_first_test_day(data: MarketDataModule) -> None:
    check(checkpoint("2015-04-15", "2015-05-15"), data)
    message = "ckpt=a.ckpt saw days up to 2015-05-18, and the test days start on 2015-05-18"
    for ends in (("2015-04-15", "2015-05-18"), ("2015-05-18", "2015-04-01")):
        with pytest.raises(InputError, match=message):
            check(checkpoint(*ends), data)
        check(checkpoint(*ends), data, allow_leak=True)


def test_ancestors_count_over_generations(data: MarketDataModule) -> None:
    first = checkpoint("2015-04-15", "2015-06-01")
    second = checkpoint("2015-04-15", "2015-05-15", descend(first, "ckpt", "first.ckpt"))
    third = checkpoint("2015-04-15", "2015-05-15", descend(second, "init_from", "second.ckpt"))
    assert [one["checkpoint"] for one in descend(third, "ckpt", "third.ckpt")] == [
        *("first.ckpt", "second.ckpt", "third.ckpt")
    ]
    assert last_day_seen(third) == "2015-06-01"
    with pytest.raises(InputError, match="saw days up to 2015-06-01 by way of first.ckpt, and"):
        check(third, data)


def test_unknown_days_stay_unknown(data: MarketDataModule) -> None:
    nobody = {"alphazoo": {"model": "GRU", "lineage": []}}
    child = checkpoint("2015-04-15", "2015-05-15", descend(nobody, "init_from", "x.ckpt"))
    assert last_day_seen(child) is None
    for found in (nobody, child):
        with pytest.raises(InputError, match=r"does not say what days it saw.*allow_leak=true"):
            check(found, data)
        check(found, data, allow_leak=True)
    before = seen_before(descend(nobody, "ckpt", "x.ckpt"), data)
    assert [*before] == ["val/days_seen_before", "test/days_seen_before"]
    assert all(map(math.isnan, before.values()))


def test_a_base_of_an_earlier_version_is_an_ancestor(data: MarketDataModule) -> None:
    found = checkpoint("2015-04-15", "2015-05-15")
    base = {"checkpoint": "old.ckpt", "model": "GRU", "last_day": "2015-06-01"}
    found["alphazoo"] = {"model": "GRU", "base": base}
    with pytest.raises(InputError, match=r"2015-06-01 by way of old.ckpt"):
        check(found, data)


@pytest.mark.parametrize(
    ("train_end", "seen", "count"),
    [("2015-04-15", "2015-05-15", 0), ("2015-04-16", "2015-05-15", 1), ("2015-04-20", "", 3)],
)
def test_validation_days_that_were_trained_on_are_counted(
    data: MarketDataModule,
    caplog: pytest.LogCaptureFixture,
    train_end: str,
    seen: str,
    count: int,
) -> None:
    """From Thursday 2015-04-16 on; those that a checkpoint was chosen by do not count."""
    found = checkpoint(train_end, seen or train_end)
    check(found, data)
    expected = {"val/days_seen_before": float(count)} if count else {}
    assert seen_before(descend(found, "ckpt", "a.ckpt"), data) == expected
    assert ("validation metrics are too good" in caplog.text) == bool(count)


def test_test_days_that_were_seen_are_counted_where_that_is_allowed(data: MarketDataModule) -> None:
    found = descend(checkpoint("2015-04-15", "2015-05-19"), "ckpt", "a.ckpt")
    assert seen_before(found, data) == {"test/days_seen_before": 2.0}


def segments(train: str, valid: str, test: str) -> list[str]:
    """Each ends, and the next one begins, on such days."""
    ends = {"train": f"2015-02-01, {train}", "valid": valid, "test": f"{test}, null"}
    return [f"data.{name}=[{pair}]" for name, pair in ends.items()]


EARLY = segments("2015-03-31", "2015-04-01, 2015-04-15", "2015-04-20")
LATE = segments("2015-04-30", "2015-05-01, 2015-05-29", "2015-06-01")


@pytest.fixture(scope="module")
def late(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint, away from its run, that saw days up to 2015-05-29."""
    folder = tmp_path_factory.mktemp("late")
    train(small_config(*LINEAR, *LATE, f"folder={folder / 'run'}"))
    (folder / "files").mkdir()
    return Path(shutil.copy(folder / "run" / "checkpoints" / "last.ckpt", folder / "files"))


def test_a_copied_checkpoint_that_saw_the_test_days_is_refused(late: Path, tmp_path: Path) -> None:
    told = small_config(*LINEAR, *EARLY, f"ckpt={late}", f"folder={tmp_path / 'next'}")
    message = rf"ckpt={late} saw days up to 2015-05-29, and the test days start on 2015-04-20"
    with pytest.raises(InputError, match=message):
        train(told)
    assert not (tmp_path / "next" / "config.yaml").exists()
    told.allow_leak = True
    found = train(told)
    assert found["val/days_seen_before"] == found["val/days"]
    assert found["test/days_seen_before"] == 30
    saved = json.loads((tmp_path / "next" / "metrics.json").read_text())
    assert saved["test/days_seen_before"] == 30


def test_days_stay_seen_when_a_training_goes_on_elsewhere(
    late: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The second run saw no day after 2015-04-15 but by way of the first."""
    second = segments("2015-03-31", "2015-04-01, 2015-04-15", "2015-06-01")
    epochs = ["model=linear", "trainer.max_epochs=2"]
    train(small_config(*epochs, *second, f"ckpt={late}", f"folder={tmp_path / 'second'}"))
    assert "validation metrics are too good" in caplog.text
    file = tmp_path / "second" / "checkpoints" / "last.ckpt"
    assert read_checkpoint(file)["MarketDataModule"]["days"]["valid"][1] == "2015-04-15"
    third = Path(shutil.copy(file, tmp_path / "third.ckpt"))
    for how in ("ckpt", "init_from"):
        told = small_config(*LINEAR, *EARLY, f"{how}={third}", f"folder={tmp_path / how}")
        with pytest.raises(InputError, match=f"{how}={third} saw days up to 2015-05-29 by way of"):
            train(told)


def test_a_resumed_run_keeps_its_lineage(late: Path, tmp_path: Path) -> None:
    told = [*LATE, f"folder={tmp_path}", "model=linear", "patience=9"]
    train(small_config(*told, "trainer.max_epochs=2", f"ckpt={late}"))
    train(small_config(*told, "trainer.max_epochs=3", "ckpt=last"))
    saved = read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")
    assert saved["epoch"] == 2
    assert [one["checkpoint"] for one in saved["alphazoo"]["lineage"]] == [str(late)]
    alone = Linear.load_from_checkpoint(tmp_path / "checkpoints" / "last.ckpt")
    assert alone.lineage == saved["alphazoo"]["lineage"]


def test_the_report_tells_of_validation_days_that_were_seen(late: Path, tmp_path: Path) -> None:
    told = segments("2015-03-31", "2015-04-01, 2015-04-15", "2015-06-01")
    epochs = ["model=linear", "trainer.max_epochs=2", "report=true", "backtest=none"]
    train(small_config(*epochs, *told, f"ckpt={late}", f"folder={tmp_path}"))
    count = Run.open(tmp_path).metrics["val/days_seen_before"]
    assert count == Run.open(tmp_path).metrics["val/days"]
    expected = f"had seen {count:.0f} of the validation days: validation metrics are better"
    assert expected in (tmp_path / "report.html").read_text()


def test_windows_that_start_from_the_one_before_keep_its_lineage(tmp_path: Path) -> None:
    walk = segments("2015-03-13", "2015-03-14, 2015-03-31", "2015-04-01")
    told = ["walk_forward=monthly", "walk_forward.warm_start=true", f"folder={tmp_path}"]
    caught = logging.getLogger("alphazoo.lineage")
    caught.setLevel(logging.WARNING)
    figures = train(small_config(*LINEAR, *walk, *told))
    folders = sorted((tmp_path / "windows").iterdir())
    assert [folder.name for folder in folders] == ["2015-04-01", "2015-05-01", "2015-06-01"]
    files = [str(folder / "checkpoints" / "best.ckpt") for folder in folders]
    for number, file in enumerate(files):
        lineage = read_checkpoint(file)["alphazoo"]["lineage"]
        assert [one["checkpoint"] for one in lineage] == files[:number]
        assert {one["how"] for one in lineage} <= {"walk_forward.warm_start"}
    assert "val/days_seen_before" not in figures

"""The file of live scores: written once per day and version, and never by half."""

from pathlib import Path

import pandas as pd
import pytest

from alphazoo.errors import InputError
from alphazoo.serving import score_file
from alphazoo.serving.score_file import COLUMNS, Appended, append_scores, read_score_file


def scores(day: str, *values: float, version: str = "v1", checkpoint: str = "c1") -> pd.DataFrame:
    return pd.DataFrame(
        {
            "date": pd.Timestamp(day),
            "symbol": [f"ST{i}" for i in range(len(values))],
            "score": values,
            "version": version,
            "checkpoint": checkpoint,
            "settings": "s1",
            "data": "d1",
        }
    )


def test_the_scores_of_a_day_are_added_once(tmp_path: Path) -> None:
    file = tmp_path / "new" / "scores.parquet"
    assert append_scores(file, scores("2020-01-03", 1, 2)) == Appended(1, 0, 0)
    assert append_scores(file, scores("2020-01-02", 3, 4)) == Appended(1, 0, 0)
    before = file.read_bytes()
    again = scores("2020-01-03", 1 + 1e-6, 2)[::-1].assign(data="d2")  # rounded, on grown data
    assert append_scores(file, again) == Appended(0, 1, 0)
    assert file.read_bytes() == before
    assert append_scores(file, scores("2020-01-03", 5, 6, version="v2")) == Appended(1, 0, 0)
    table = read_score_file(file)
    assert tuple(table.columns) == COLUMNS
    assert table["score"].tolist() == [3, 4, 1, 2, 5, 6]
    assert table["version"].tolist() == ["v1"] * 4 + ["v2"] * 2


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (scores("2020-01-02", 1, 2.5), "scores differ by up to 0.5"),
        (scores("2020-01-02", 1, 2, 3), r"other stocks \(ST2\)"),
        (scores("2020-01-02", 1, 3, checkpoint="c2"), "another checkpoint, scores differ by up"),
    ],
)
def test_a_past_score_is_replaced_only_on_request(
    other: pd.DataFrame, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "scores.parquet"
    append_scores(file, pd.concat([scores("2020-01-02", 1, 2), scores("2020-01-03", 1, 2)]))
    before = file.read_bytes()
    both = pd.concat([other, scores("2020-01-06", 7, 8)])
    with pytest.raises(
        InputError, match=f"other scores of version 'v1' for 2020-01-02: .*{message}"
    ):
        append_scores(file, both)
    assert file.read_bytes() == before
    assert append_scores(file, both, rewrite=True) == Appended(1, 0, 1)
    found = read_score_file(file)
    assert found[found["date"] == "2020-01-02"]["score"].tolist() == other["score"].tolist()
    assert found["date"].nunique() == 3


def test_what_is_no_score_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "scores.parquet"
    scores("2020-01-02", 1, 2).drop(columns="version").to_parquet(file)
    with pytest.raises(InputError, match=r"scores\.parquet lacks the columns version: expected"):
        append_scores(file, scores("2020-01-03", 1))
    day = scores("2020-01-02", 1, 2)
    pd.concat([day, day]).to_parquet(file)
    with pytest.raises(InputError, match="ST0 has two scores of version 'v1' for 2020-01-02"):
        read_score_file(file)
    with pytest.raises(InputError, match=r"scores\.csv: expected a \.parquet file"):
        append_scores(tmp_path / "scores.csv", day)


def test_a_crash_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "scores.parquet"
    append_scores(file, scores("2020-01-02", 1, 2))
    before = file.read_bytes()

    def crash(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", crash)
    with pytest.raises(OSError, match="disk full"):
        append_scores(file, scores("2020-01-03", 1, 2))
    assert file.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} <= {file.name, f".{file.name}.lock"}


def test_an_append_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "scores.parquet"
    monkeypatch.setattr(score_file, "WAIT", 0)
    with score_file._locked(file), pytest.raises(InputError, match="another process appends"):
        append_scores(file, scores("2020-01-02", 1))

"""The log of a resumed run: rows that come again go, a missing one is added."""

from pathlib import Path

import pandas as pd

from alphazoo.training.logs import repair_log

LAST = {"epoch": 1, "step": 19, "val/ic": 0.1, "train/loss": 0.9}


def written(file: Path) -> pd.DataFrame:
    """Three epochs of ten steps; train/loss of each epoch is in a row of its own."""
    steps, epochs = [9, 9, 19, 19, 20, 29], [0, 0, 1, 1, 2, 2]
    losses, nan = [0.8, 0.9], float("nan")
    table = pd.DataFrame({"epoch": epochs, "step": steps})
    table["val/ic"] = [0.1, nan, 0.1, nan, nan, 0.1]
    table["train/loss"] = [nan, losses[0], nan, losses[1], nan, nan]
    table.to_csv(file, index=False)
    return table


def test_rows_of_the_steps_that_come_again_go(tmp_path: Path) -> None:
    """The checkpoint is of step 20, after rows of steps 9 and 19."""
    table = written(tmp_path / "metrics.csv")
    for last in ({}, LAST):
        repair_log(tmp_path / "metrics.csv", 20, last)
        pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "metrics.csv"), table.iloc[:4])


def test_a_row_that_a_killed_process_did_not_write_is_added(tmp_path: Path) -> None:
    file = tmp_path / "metrics.csv"
    table = written(file)
    table.drop(3).to_csv(file, index=False)
    repair_log(file, 20, LAST)
    pd.testing.assert_frame_equal(pd.read_csv(file), table.iloc[:4])


def test_a_table_that_was_never_written_is_made(tmp_path: Path) -> None:
    file = tmp_path / "metrics.csv"
    repair_log(file, 20, {})
    assert not file.exists()
    repair_log(file, 20, LAST)
    assert pd.read_csv(file).to_dict("records") == [LAST]

"""The log of a resumed run: rows that will be written again are taken out."""

from pathlib import Path

import pandas as pd

from alphazoo.logs import keep_rows


def test_rows_of_the_steps_that_come_again_go(tmp_path: Path) -> None:
    """Three epochs of ten steps; the checkpoint is of step 20, after rows of steps 9 and 19."""
    file = tmp_path / "metrics.csv"
    steps = [9, 9, 19, 19, 20, 29]
    table = pd.DataFrame({"epoch": [0, 0, 1, 1, 2, 2], "step": steps, "val/ic": 0.1})
    table.to_csv(file, index=False)
    keep_rows(file, 20)
    assert pd.read_csv(file)["step"].tolist() == [9, 9, 19, 19]
    keep_rows(tmp_path / "none.csv", 20)
    assert not (tmp_path / "none.csv").exists()

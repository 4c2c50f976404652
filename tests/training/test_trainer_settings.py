"""Features of Lightning's trainer: they work, or are refused before training."""

import logging
from pathlib import Path

import lightning as L
import pytest
from conftest import SMALL, Alphazoo, small_config
from lightning.pytorch.tuner import Tuner

from alphazoo.config import instantiate
from alphazoo.runs.run import Run
from alphazoo.serving.predict import predict

TRAIN = ["train", *SMALL, "model=linear"]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("trainer.max_epochs=0", "trainer.max_epochs=0: expected -1, a whole number (at least 1)"),
        ("+trainer.max_steps=0", "trainer.max_steps=0: nothing would be trained"),
        ("+trainer.limit_val_batches=0", "no validation day is left"),
        ("+trainer.limit_test_batches=0.0", "no test day is left"),
        ("+trainer.fast_dev_run=true", "trainer=debug is a run of a few days"),
        ("+trainer.fast_dev_run=3", "trainer.fast_dev_run=3"),
        ("trainer.devices=999", "trainer.devices=999: this machine has"),
    ],
)
def test_a_run_without_result_is_refused_before_training(
    setting: str, message: str, alphazoo: Alphazoo, tmp_path: Path
) -> None:
    result = alphazoo(*TRAIN, setting, f"hydra.run.dir={tmp_path / 'out'}")
    assert isinstance(result.code, str)
    assert message in result.code
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "setting",
    [
        "+trainer.check_val_every_n_epoch=10",
        "+trainer.max_steps=3",
        "+trainer.val_check_interval=1000 +trainer.check_val_every_n_epoch=null",
    ],
)
@pytest.mark.thorough
def test_without_validation_the_last_weights_are_scored_and_predict(
    setting: str, alphazoo: Alphazoo, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    result = alphazoo(*TRAIN, *setting.split(), f"hydra.run.dir={folder}")
    assert result.code == 0, result
    assert "no validation ran" in (folder / "train.log").read_text(encoding="utf-8")
    scores = Run.open(folder).scores
    found = predict(Run.open(folder), first="2015-05-18", last="2015-05-18")
    wanted = scores[scores.date == "2015-05-18"].score
    assert found.score.to_numpy() == pytest.approx(wanted.to_numpy())


def test_a_run_says_which_weights_it_scored(alphazoo: Alphazoo, tmp_path: Path) -> None:
    assert alphazoo(*TRAIN, f"hydra.run.dir={tmp_path / 'out'}").code == 0
    said = (tmp_path / "out" / "train.log").read_text(encoding="utf-8")
    assert "scored with the weights of the best epoch: val/ic is " in said


def test_the_tuner_finds_a_learning_rate(tmp_path: Path) -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    config = small_config("model=linear")
    data, model = instantiate(config.datamodule), instantiate(config.model)
    trainer = L.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        default_root_dir=tmp_path,
        max_epochs=1,
    )
    found = Tuner(trainer).lr_find(model, datamodule=data, num_training=20)
    assert found is not None
    assert found.suggestion() == model.lr

"""What a run costs: counted over its parts, without what earlier runs of the process held."""

from pathlib import Path

import torch
from conftest import small_config

from alphazoo.commands.job import train
from alphazoo.models.checkpoint import write_checkpoint
from alphazoo.runs.resources import ResourceMonitor
from alphazoo.runs.run import Run

MEGABYTES = 300


def held() -> torch.Tensor:
    return torch.ones(MEGABYTES * 10**6, dtype=torch.uint8)


def test_the_peak_has_what_was_held_since_and_not_what_was_freed_before() -> None:
    before = ResourceMonitor().total()["memory"]
    tensor = held()
    assert ResourceMonitor().total()["memory"] > before + 0.9 * MEGABYTES / 1e3
    del tensor
    cost = ResourceMonitor()
    assert cost.total()["memory"] < before + 0.1 * MEGABYTES / 1e3
    tensor = held()
    del tensor
    assert cost.total()["memory"] > before + 0.9 * MEGABYTES / 1e3


def test_a_training_that_goes_on_counts_on(tmp_path: Path) -> None:
    """From the checkpoint that it goes on from, not from that of the best epoch, the first."""
    told = ["model.hidden_size=4", "model.lr=0", "ckpt=last", f"folder={tmp_path}"]
    train(small_config(*told, "trainer.max_epochs=1"))
    first = Run.open(tmp_path).provenance["resources"]
    assert 0 < first["seconds"] < 100
    assert 0.1 < first["memory"] < 10
    for name, seconds in (("last", 1000.0), ("best", 50000.0)):
        file = tmp_path / "checkpoints" / f"{name}.ckpt"
        checkpoint = torch.load(file, weights_only=True)
        checkpoint["callbacks"]["ResourceMonitor"].update(seconds=seconds, memory=seconds)
        write_checkpoint(checkpoint, file)
    train(small_config(*told, "trainer.max_epochs=2"))
    cost = Run.open(tmp_path).provenance["resources"]
    assert 1000 < cost["seconds"] < 1100
    assert cost["memory"] == 1000


def test_a_walk_forward_has_a_cost(tmp_path: Path) -> None:
    told = ["walk_forward=monthly", "trainer.max_epochs=1", "model.hidden_size=4"]
    train(small_config(*told, f"folder={tmp_path}"))
    assert Run.open(tmp_path).provenance["resources"]["seconds"] > 0

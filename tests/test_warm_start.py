"""A trained encoder as the beginning of another model, and what is refused."""

from pathlib import Path

import pytest
import torch
from conftest import Run, fit, small_config

from alphazoo.config import instantiate
from alphazoo.errors import InputError
from alphazoo.models.gats import GATs
from alphazoo.models.gru import GRU
from alphazoo.qlib import import_weights
from alphazoo.train import train
from alphazoo.warm_start import warm_start

NEXT = ["model=gats", "model.cell=gru", "model.hidden_size=4"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A GRU trained up to 2015-04-15 and chosen by days up to 2015-05-15."""
    folder = tmp_path_factory.mktemp("base")
    return fit(small_config("model.hidden_size=4", "trainer.max_epochs=1", f"folder={folder}"))


def test_a_run_starts_from_the_encoder_and_says_so(base: Run, tmp_path: Path) -> None:
    config = small_config(
        *NEXT,
        f"init_from={base.last_checkpoint}",
        "model.lr=0",
        "trainer.max_epochs=1",
        f"folder={tmp_path}",
    )
    train(config)
    model = GATs.load_from_checkpoint(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    for name, tensor in base.model.encoder.state_dict().items():
        assert torch.equal(model.encoder.state_dict()[name], tensor)
    assert model.lineage == [
        {
            "how": "init_from",
            "checkpoint": str(base.last_checkpoint),
            "model": "GRU",
            "trained": "2015-04-15",  # that of the last return it was trained on
            "seen": "2015-05-15",  # or chosen by
        }
    ]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.hidden_size=8"], r"bias_hh_l0 is \[12\], here it is \[24\]"),
        (["model.num_layers=3"], "missing encoder.rnn.bias_hh_l2"),
        (["model.cell=lstm"], r"is \[12\], here it is \[16\]; cell"),
        (["model=tcn"], "TCN has no encoder"),
        (["data.valid=['2015-04-16','2015-04-30']", "data.test=['2015-05-01',null]"], "test days"),
        (["features.columns=[close,open]"], "its features are"),
    ],
)
def test_a_base_that_does_not_fit_is_refused(
    base: Run, overrides: list[str], message: str, tmp_path: Path
) -> None:
    options = NEXT if overrides != ["model=tcn"] else []
    config = small_config(
        *options, *overrides, f"init_from={base.last_checkpoint}", f"folder={tmp_path}"
    )
    with pytest.raises(InputError, match=message):
        train(config)
    assert not (tmp_path / "checkpoints").exists()


def test_a_base_of_unknown_days_needs_to_be_allowed(base: Run, tmp_path: Path) -> None:
    torch.save(qlib_names(base.model), tmp_path / "gru.pkl")
    model = instantiate(small_config("model.hidden_size=4").model)
    import_weights(tmp_path / "gru.pkl", model, tmp_path / "gru.ckpt")
    start = instantiate(small_config(*NEXT).model)
    with pytest.raises(InputError, match="does not say what days it saw"):
        warm_start(start, tmp_path / "gru.ckpt", base.data)
    warm_start(start, tmp_path / "gru.ckpt", base.data, allow_leak=True)
    assert start.lineage[-1]["seen"] is None


def qlib_names(model: GRU) -> dict[str, torch.Tensor]:
    """The state dict of a GRU as Qlib names it."""
    names = {"encoder.rnn.": "rnn.", "head.": "fc_out."}
    return {
        name.replace(ours, theirs): tensor
        for name, tensor in model.state_dict().items()
        for ours, theirs in names.items()
        if name.startswith(ours)
    }


def test_a_checkpoint_of_another_model_is_named(base: Run, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"last.ckpt holds a GRU model, expected GATs"):
        GATs.load_from_checkpoint(base.last_checkpoint)
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(InputError, match="is not a checkpoint of alphazoo"):
        GRU.load_from_checkpoint(tmp_path / "other.ckpt")
    (tmp_path / "text.ckpt").write_text("no checkpoint")
    with pytest.raises(InputError, match="damaged, or holds other things"):
        GRU.load_from_checkpoint(tmp_path / "text.ckpt")

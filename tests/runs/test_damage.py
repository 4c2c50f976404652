"""Damaged files of a run: one message that names the file, and no other scores."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import Alphazoo, compose, model_overrides, small_config

from alphazoo.commands.job import train
from alphazoo.errors import InputError
from alphazoo.models.checkpoint import read_checkpoint, write_checkpoint
from alphazoo.runs.run import Run, read_metrics, read_provenance
from alphazoo.sweep.jobs import assign, read_job, read_jobs, run_job
from alphazoo.tracking import last_step
from alphazoo.training.logs import repair_log

BOMB = "datamodule: {}\na: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with two epochs."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    train(small_config("model=linear", f"folder={folder}"))
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def open_scores(folder: Path) -> object:
    return Run.open(folder).scores


def refusal(read: Callable[[], object]) -> str:
    """The message of an `InputError`; empty if there is none."""
    try:
        read()
    except InputError as error:
        return str(error)
    return ""


READERS: dict[str, Callable[[Path], object]] = {
    "config.yaml": Run.open,
    "metrics.json": read_metrics,
    "provenance.json": read_provenance,
    "logs/metrics.csv": last_step,
    "scores.parquet": open_scores,
    "checkpoints/best.ckpt": lambda folder: read_checkpoint(folder / "checkpoints/best.ckpt"),
}


@pytest.mark.parametrize("name", READERS)
def test_a_truncated_file_is_one_message(run: Path, name: str) -> None:
    file = run / name
    READERS[name](run)
    whole = file.read_bytes()
    for share in (0.0, 0.3, 0.6, 0.9):
        file.write_bytes(whole[: int(share * len(whole))])
        said = refusal(lambda: READERS[name](run))
        if said:
            assert str(file) in said
            assert "\n" not in said
        else:  # fewer whole lines of text are not damaged to a reader
            assert name in ("config.yaml", "logs/metrics.csv")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.yaml", BOMB, r"config\.yaml is damaged: line \d holds an alias"),
        ("config.yaml", "a: " + "[" * 20_000, r"config\.yaml is damaged: "),
        ("config.yaml", f"datamodule: {'x' * 2_000_000}", r"config\.yaml has 2,000,0\d\d bytes"),
        ("config.yaml", "[1, 2]", r"config\.yaml is not the config of a run"),
        ("config.yaml", "datamodule: 3", r"config\.yaml is damaged: data must be a node, got None"),
        ("metrics.json", "[]", r"metrics\.json is damaged: Input should be a valid dict"),
        ("metrics.json", '{"test/ic": "0.1"}', r"metrics\.json is damaged: test/ic: Input should"),
        ("metrics.json", "[" * 100_000, r"metrics\.json is damaged: "),
        ("provenance.json", '{"data": []}', r"provenance\.json is damaged: data: Input should be"),
        ("provenance.json", '{"data": {"market": 3}}', r"damaged: data\.market: Input should be"),
        ("provenance.json", '{"resources": {"seconds": "1"}}', r"resources\.seconds: Input should"),
        ("logs/metrics.csv", "a,b\n1,2\n", r"csv is damaged: it lacks the columns epoch, step"),
        ("logs/metrics.csv", "epoch,step\n1,x\n", r"csv is damaged: column step must hold numbers"),
    ],
)
def test_a_file_of_another_shape_is_one_message(
    run: Path, name: str, content: str, message: str
) -> None:
    (run / name).write_text(content)
    with pytest.raises(InputError, match=message):
        READERS[name](run)


def test_columns_of_other_types_are_one_message(run: Path) -> None:
    scores = Run.open(run).scores
    for name in scores:
        for other in (scores.drop(columns=name), scores.assign(**{name: True})):
            other.to_parquet(run / "scores.parquet")
            with pytest.raises(InputError, match=rf"scores\.parquet is damaged: .*{name}"):
                open_scores(run)


def test_a_changed_byte_of_the_scores_is_noticed(run: Path) -> None:
    file, whole = run / "scores.parquet", open_scores(run)
    content, draw = file.read_bytes(), random.Random(0)
    for _ in range(50):
        mutated = bytearray(content)
        mutated[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        file.write_bytes(mutated)
        said = refusal(lambda: pd.testing.assert_frame_equal(open_scores(run), whole))
        assert not said or "scores.parquet is damaged" in said


def test_a_changed_byte_of_a_checkpoint_is_noticed(run: Path) -> None:
    file = run / "checkpoints" / "best.ckpt"
    whole = file.read_bytes()
    weights, draw = read_checkpoint(file)["state_dict"], random.Random(0)
    refused = 0
    for _ in range(250):
        mutated = bytearray(whole)
        mutated[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        file.write_bytes(mutated)
        try:
            found = read_checkpoint(file)["state_dict"]
        except InputError:
            refused += 1
        else:
            assert all(found[name].equal(weights[name]) for name in weights)
    assert refused > 100


def test_weights_that_somebody_changed_and_saved_again_are_refused(
    alphazoo: Alphazoo, run: Path
) -> None:
    file = run / "checkpoints" / "best.ckpt"
    content = torch.load(file, weights_only=True)
    next(iter(content["state_dict"].values())).view(-1)[0] += 1
    torch.save(content, file)
    predicted = str(alphazoo("predict", f"run={run}", "date=2015-06-30").code)
    assert predicted.endswith("is damaged: its content does not have the digest that it states")
    write_checkpoint(content, file)
    assert read_checkpoint(file)["state_dict"]


def test_neither_damaged_checkpoint_is_resumed_from(alphazoo: Alphazoo, run: Path) -> None:
    """Not from the previous one either, which is used if the last one is damaged."""
    for name in ("last", "previous"):
        content = torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)
        content["global_step"] += 1
        torch.save(content, run / "checkpoints" / f"{name}.ckpt")
    resumed = str(alphazoo("train", f"run={run}", "trainer.max_epochs=3").code)
    assert "previous.ckpt is damaged: its content does not have the digest" in resumed


def test_damaged_trees_never_reach_the_library(tmp_path: Path) -> None:
    pytest.importorskip("lightgbm")
    from alphazoo.config import instantiate
    from alphazoo.models.lightgbm import LightGBM

    model: LightGBM = instantiate(compose(*model_overrides("lightgbm")).model)
    state = model.get_extra_state()
    model.set_extra_state(state)
    for damaged in (
        {**state, "trees": "tree\nversion=v4\nnum_class=1"},
        {**state, "digest": ""},
        {"trees": ""},
        "tree",
    ):
        with pytest.raises(InputError, match="the trees of the LightGBM checkpoint are damaged"):
            model.set_extra_state(damaged)  # type: ignore[arg-type]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"overrides": 3}', '{"status": "done"}'])
def test_a_damaged_status_does_not_stop_a_sweep(
    tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    for number in (0, 1):
        (tmp_path / str(number)).mkdir()
        run_job(tmp_path / str(number), [f"seed={number}"], lambda: None)
    (tmp_path / "0" / "status.json").write_text(content)
    assert read_job(tmp_path / "0").status == "running"
    assert [path.name for path in read_jobs(tmp_path)] == ["1"]
    places = assign(tmp_path, [["seed=0"], ["seed=1"]])
    assert [path.name for path in places] == ["2", "1"]
    assert "status.json is damaged" in caplog.text


def test_a_damaged_log_is_not_resumed(run: Path) -> None:
    file = run / "logs" / "metrics.csv"
    file.write_bytes(b"\xff\xfe\x00" + file.read_bytes())
    with pytest.raises(InputError, match=r"metrics\.csv is damaged"):
        repair_log(file, 1, {})


def test_commands_name_the_damaged_file(alphazoo: Alphazoo, run: Path) -> None:
    for name in ("metrics.json", "scores.parquet", "provenance.json", "config.yaml"):
        (run / name).write_bytes(b"\x00\xff{")
        for command in (["compare", "run"], ["ensemble", "run", "run", "out=out"]):
            code = str(alphazoo(*command).code)
            assert code.startswith("error: "), code
            assert "\n" not in code
            assert "is damaged" in code or "given twice" in code

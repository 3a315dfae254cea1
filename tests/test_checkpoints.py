"""A killed run continues from its checkpoint and ends in the same bits; any other checkpoint is refused."""

import errno
import functools
import os
import signal
import subprocess
import sys
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from relahash_nb.centroids import make_centroids
from relahash_nb.config import RunConfig
from relahash_nb.datasets import Dataset, Pool
from relahash_nb.features import compute_features
from relahash_nb.files import checkpoint_path, remove_checkpoint
from relahash_nb.losses import RelaHashLoss, build_loss
from relahash_nb.models import HashModel
from relahash_nb.registry import LOSSES
from relahash_nb.training import CheckpointError, Trainer, encode, fit, trainer

STEPS = 5  # an epoch
ALWAYS = 1e-9  # minutes


class Interrupted(BaseException):
    """As Ctrl-C is, no Exception."""


class DrawingLoss(RelaHashLoss):
    """It draws random numbers, counts, and learns: all that a loss may carry from batch to batch."""

    def __init__(self, centroids):
        super().__init__(centroids)
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, codes, targets):
        self.calls += 1
        return super().forward(codes + 0.1 * torch.randn_like(codes), targets) * self.scale + 1 / self.calls


def make_config(folder, **options):
    defaults = dict(epochs=4, batch_size=8, image_size=8, bits=8, checkpoint_minutes=ALWAYS)
    return RunConfig(**defaults | options, results_dir=str(folder))


@functools.cache
def centroids_of():
    return make_centroids(3, 8)


def make_data(seed=0, train=42):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (70, 3, 8, 8), dtype=torch.uint8, generator=generator)
    targets = torch.eye(3, dtype=torch.uint8)[torch.arange(70) % 3]
    positions = {"train": np.arange(train), "database": np.arange(60), "query": np.arange(60, 70)}
    return Dataset.from_pool("noise", ["a", "b", "c"], Pool(images, targets, np.arange(70), 8), positions)


def make_parts(config, width=6):
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        backbone = nn.Sequential(
            *(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.Dropout(0.3)),
            *(nn.Conv2d(width, 5, 3), nn.AdaptiveAvgPool2d(2)),
        )
        backbone.requires_grad_(config.finetune)
        return HashModel(backbone, 20, config.bits), DrawingLoss(centroids_of())


def train(config, seed=0):
    """The model, the loss and the history, from scratch or from the checkpoint that is there."""
    model, loss = make_parts(config)
    held_out = config.validation_per_class
    data = make_data(seed, 42 + 3 * held_out).with_validation(held_out, 0)  # STEPS an epoch either way
    return model, loss, train_parts(model, loss, data, config)


def train_parts(model, loss, data, config):
    """The history; fixed features are computed at once, without a file of them."""
    features = None
    if not config.finetune:
        features = torch.cat(list(compute_features(model, data.pool, "fp32"))).clone()
    return fit(model, loss, data, config, features, centroids_of())


def results(model, loss, history):
    """Everything that has to be equal, bit for bit."""
    codes, _ = encode(model, make_data().database)
    without_time = [{name: value for name, value in record.items() if name != "seconds"} for record in history]
    return {"codes": codes, **model.state_dict(), **loss.state_dict()}, without_time


def assert_same(first, second):
    assert first[1] == second[1]
    assert first[0].keys() == second[0].keys()
    for name, tensor in first[0].items():
        assert torch.equal(tensor, second[0][name]), name


def interrupt(monkeypatch, *steps):
    """Raises in the middle of training, at these steps, counted over all trainings from now on."""
    taken, step = [], Trainer.step

    def counted(self, inputs, targets):
        taken.append(1)
        if len(taken) in steps:
            raise Interrupted
        return step(self, inputs, targets)

    monkeypatch.setattr(Trainer, "step", counted)


def files(folder):
    return sorted(path.name for path in Path(folder).rglob("*") if path.is_file())


@pytest.fixture
def left(tmp_path, monkeypatch):
    """A folder with the checkpoint of a run that was interrupted in its third epoch."""
    with monkeypatch.context() as patch, suppress(Interrupted):
        interrupt(patch, 2 * STEPS + 2)
        train(make_config(tmp_path))
    assert files(tmp_path) == ["checkpoint.pt"]
    return tmp_path


@pytest.mark.parametrize("step", [2, 2 * STEPS + 1, 4 * STEPS])
@pytest.mark.parametrize(
    "options",
    [{}, {"validation_per_class": 4, "ema": 0.8}, {"finetune": False, "validation_per_class": 4}],
    ids=["plain", "validation-average", "fixed-validation"],
)
def test_an_interrupted_run_ends_in_the_same_bits(options, step, tmp_path, monkeypatch, capsys):
    undisturbed = results(*train(make_config(tmp_path / "undisturbed", **options)))
    config = make_config(tmp_path / "interrupted", **options)
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        interrupt(patch, step)
        train(config)
    capsys.readouterr()
    torch.rand(7)  # another process would not have this one's random state
    assert_same(results(*train(config)), undisturbed)
    epoch = (step - 1) // STEPS
    said = f"continues after epoch {epoch} of {config.epochs} from {checkpoint_path(config)}"
    assert (said in capsys.readouterr().out) == (epoch > 0)
    assert files(tmp_path / "interrupted") == ["checkpoint.pt"]


STATEFUL = {"hashnet": {"growth": 1.0, "interval": 2}, "dpsh": {"memory": 20}}  # at their defaults they keep nothing


@pytest.mark.parametrize("name", LOSSES)
def test_whatever_a_loss_keeps_survives(name, tmp_path):
    """Heads, schedules, rings of codes, draws: two epochs and two more after a restart end in the same bits."""

    def start(folder, epochs=3):
        config = make_config(folder, loss=name, loss_options=STATEFUL.get(name), epochs=3)
        model, _ = make_parts(config)
        trainer = Trainer(model, build_loss(config, centroids_of()), make_data(), config, centroids=centroids_of())
        for _ in range(trainer.epoch, epochs):
            trainer.train_epoch()
        return trainer

    undisturbed = start(tmp_path / "undisturbed")
    start(tmp_path / "interrupted", epochs=2)
    torch.rand(7)
    resumed = start(tmp_path / "interrupted")
    assert [record["loss"] for record in resumed.history] == [record["loss"] for record in undisturbed.history]
    for part in ("model", "loss"):
        expected = getattr(undisturbed, part).state_dict()
        for key, tensor in getattr(resumed, part).state_dict().items():
            assert torch.equal(tensor, expected[key]), key


def test_the_epoch_that_validation_chose_survives_also_when_it_lies_before_the_interruption(tmp_path, monkeypatch):
    """Scores are made up: the first epoch is the best of four."""

    def scored(*steps):
        scores = iter([0.9, 0.1, 0.2, 0.3])
        made_up = lambda *_: type("Scores", (), {"mean_average_precision": next(scores)})
        monkeypatch.setattr(trainer, "evaluate", made_up)

    undisturbed_config = make_config(tmp_path / "undisturbed", validation_per_class=4)
    scored()
    undisturbed = results(*train(undisturbed_config))
    config = make_config(tmp_path / "interrupted", validation_per_class=4)
    scored()
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        interrupt(patch, 3 * STEPS)
        train(config)
    monkeypatch.setattr(trainer, "evaluate", lambda *_: type("Scores", (), {"mean_average_precision": 0.2}))
    model, _, history = train(config)
    assert history[0]["validation_map"] == 0.9
    assert all(torch.equal(tensor, undisturbed[0][name]) for name, tensor in model.state_dict().items())


def test_interrupted_again_and_again(tmp_path, monkeypatch):
    undisturbed = results(*train(make_config(tmp_path / "undisturbed")))
    config = make_config(tmp_path / "interrupted")
    with monkeypatch.context() as patch:
        interrupt(patch, 7, 10, 20)  # within epochs 2, 2 and 3
        for _ in range(3):
            with pytest.raises(Interrupted):
                train(config)
        finished = results(*train(config))
    assert_same(finished, undisturbed)


def test_an_interrupted_epoch_is_not_continued_from_its_middle(tmp_path, monkeypatch):
    config = make_config(tmp_path)
    interrupted = Trainer(*make_parts(config), make_data(), config, centroids=centroids_of())
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        interrupt(patch, 3)
        interrupted.train_epoch()
    with pytest.raises(RuntimeError, match="interrupted"):
        interrupted.train_epoch()


@pytest.mark.parametrize("moment", [pytest.param("step", marks=pytest.mark.slow), "write"])
def test_a_killed_process_s_run_ends_in_the_same_bits(moment, tmp_path):
    """SIGKILL within the third epoch, and with half of the second checkpoint written."""
    killed = subprocess.run([sys.executable, __file__, tmp_path / "killed", moment], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    torn = [name for name in files(tmp_path) if name.startswith(".")]
    assert len(torn) == (moment == "write")
    assert_same(results(*train(make_config(tmp_path / "killed"))), results(*train(make_config(tmp_path / "quiet"))))
    assert files(tmp_path / "killed") == ["checkpoint.pt"]


def die(folder, moment):
    """What the killed process does."""
    kill = lambda: signal.raise_signal(signal.SIGKILL)
    save, step, counts = torch.save, Trainer.step, {"step": 0, "write": 0}

    def save_half(content, path):
        save(content, path)
        counts["write"] += 1
        if moment == "write" and counts["write"] == 2:
            os.truncate(path, path.stat().st_size // 2)
            kill()

    def counted(self, inputs, targets):
        counts["step"] += 1
        if moment == "step" and counts["step"] == 2 * STEPS + 2:
            kill()
        return step(self, inputs, targets)

    torch.save, Trainer.step = save_half, counted
    train(make_config(folder))


class Harmful:
    """Unpickled, it leaves a file."""

    def __reduce__(self):
        return open, ("harm", "w")


def changed(**changes):
    """The same checkpoint with another value in its envelope."""

    def change(path):
        torch.save(torch.load(path, weights_only=True) | changes, path)

    return change


def truncated(share):
    return lambda path: os.truncate(path, int(path.stat().st_size * share))


UNUSABLE = {
    "empty": truncated(0),
    "no checkpoint": lambda path: path.write_bytes(b"hello" * 20),
    "half": truncated(0.5),
    "a few bytes missing": truncated(0.999),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "harmful": lambda path: torch.save(Harmful(), path),
    "weights alone": lambda path: torch.save({"weight": torch.ones(2)}, path),
    "another schema": changed(schema=99),
    "another run": changed(identity={}),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_checkpoint_that_cannot_be_used_is_refused_in_one_line_and_left(name, left, monkeypatch):
    monkeypatch.chdir(left)
    path = checkpoint_path(make_config(left))
    UNUSABLE[name](path)
    before = path.read_bytes() if path.is_file() else None
    monkeypatch.setattr(Trainer, "step", lambda *_: pytest.fail("trained nonetheless"))
    with pytest.raises(CheckpointError) as error:
        train(make_config(left))
    said = str(error.value)
    assert str(path) in said and "delete it" in said and "\n" not in said
    assert ("other" in said) == name.startswith("another")
    assert path.exists() and (path.read_bytes() if path.is_file() else None) == before
    assert not Path("harm").exists()


def test_other_data_another_model_and_another_loss_are_refused_before_anything_changes(left):
    config, data = make_config(left), make_data()
    model, loss = make_parts(config)
    plain = RelaHashLoss(centroids_of())
    wide, _ = make_parts(config, width=7)
    for parts, reason in [
        ((model, loss, make_data(1)), "data"),
        ((wide, loss, data), "model"),
        ((model, plain, data), "loss"),
    ]:
        before = {name: tensor.clone() for name, tensor in parts[0].state_dict().items()}
        with pytest.raises(CheckpointError, match=rf"other {reason}\b"):
            train_parts(*parts, config)
        assert all(torch.equal(tensor, before[name]) for name, tensor in parts[0].state_dict().items())


def test_what_does_not_change_the_result_may_be_another(left, capsys):
    train(make_config(left, device="cpu", data_dir="elsewhere", checkpoint_minutes=3))
    assert "continues after epoch 2 of 4" in capsys.readouterr().out


def test_without_minutes_nothing_is_written_and_nothing_read(left, tmp_path_factory, capsys):
    path = checkpoint_path(make_config(left))
    path.write_bytes(b"broken")
    _, _, history = train(make_config(left, checkpoint_minutes=0))
    assert len(history) == 4 and "continues" not in capsys.readouterr().out
    assert path.read_bytes() == b"broken"
    quiet = tmp_path_factory.mktemp("quiet")
    train(make_config(quiet, checkpoint_minutes=0))
    assert files(quiet) == []


def test_a_checkpoint_comes_when_the_last_is_old_enough_and_its_size_is_said_once(tmp_path, monkeypatch, capsys):
    """A clock of its own: two minutes an epoch, so that five minutes have passed after epochs 3, 6 and 9."""
    now, written, save, evaluate = [0], [], torch.save, Trainer.evaluate
    monkeypatch.setattr("relahash_nb.training.checkpoints.time.monotonic", lambda: now[0])

    def two_minutes(self):
        now[0] += 120
        return evaluate(self)

    def noted(content, path):
        written.append(len(content["state"]["history"]))
        save(content, path)

    monkeypatch.setattr(Trainer, "evaluate", two_minutes)
    monkeypatch.setattr(torch, "save", noted)
    config = make_config(tmp_path, epochs=10, checkpoint_minutes=5.0)
    train(config)
    assert written == [3, 6, 9]
    size = checkpoint_path(config).stat().st_size
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("checkpoint:")]
    assert len(said) == 1 and str(checkpoint_path(config)) in said[0]
    assert float(said[0].split()[1]) == pytest.approx(size / 1e6, abs=0.1)


def test_a_folder_that_cannot_be_written_is_said_once_and_training_continues(tmp_path, capsys):
    (tmp_path / "file").touch()
    config = make_config(tmp_path / "file")
    _, _, history = train(config)
    (said,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("checkpoint:")]
    assert len(history) == 4
    assert str(checkpoint_path(config)) in said and "Not a directory" in said


@pytest.mark.parametrize("kind", ["the system's", "torch's"])
def test_a_full_disk_leaves_the_last_checkpoint_whole_and_training_continues(kind, tmp_path, monkeypatch, capsys):
    config, save, calls = make_config(tmp_path), torch.save, []

    def full(content, path):
        calls.append(1)
        save(content, path)
        if len(calls) > 2:
            os.truncate(path, 500)
            if kind == "torch's":
                save(content, "/dev/full")
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    finished = results(*train(config))
    assert len(calls) == 4 and files(tmp_path) == ["checkpoint.pt"]
    assert capsys.readouterr().out.count("cannot be written") == 1
    assert_same(results(*train(config)), finished)
    assert "continues after epoch 2 of 4" in capsys.readouterr().out


def test_a_finished_training_s_checkpoint_gives_its_end_at_once(tmp_path, monkeypatch):
    """Killed while it encodes, a run need not train again."""
    config = make_config(tmp_path, validation_per_class=4)
    finished = results(*train(config))
    monkeypatch.setattr(Trainer, "step", lambda *_: pytest.fail("trained again"))
    assert_same(results(*train(config)), finished)


def test_moments_lie_in_memory_as_their_parameters_do(left):
    """The model is channels last; a fused step takes moments in the parameter's order."""
    config = make_config(left)
    resumed = Trainer(*make_parts(config), make_data(), config, centroids=centroids_of())
    kernels = [parameter for parameter in resumed.model.parameters() if parameter.ndim == 4]
    assert resumed.epoch == 2 and len(kernels) == 2 and not kernels[1].is_contiguous()
    for kernel in kernels:
        assert resumed.optimizer.state[kernel]["exp_avg"].stride() == kernel.stride()


def test_a_backbone_that_is_not_trained_is_not_in_the_file(tmp_path):
    names = {}
    for finetune in (True, False):
        config = make_config(tmp_path, finetune=finetune)
        train(config)
        names[finetune] = torch.load(checkpoint_path(config), weights_only=True)["state"]["model"].keys()
    assert any(name.startswith("backbone.") for name in names[True])
    assert names[False] and not any(name.startswith("backbone.") for name in names[False])


def test_removing_takes_what_a_killed_process_left_too(left):
    config = make_config(left)
    folder = checkpoint_path(config).parent
    (folder / ".123-checkpoint.pt").write_bytes(b"half")
    (folder / "run.json").write_text("{}")
    remove_checkpoint(config)
    assert files(left) == ["run.json"]
    remove_checkpoint(config)  # nothing there: nothing to say


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    die(*sys.argv[1:])

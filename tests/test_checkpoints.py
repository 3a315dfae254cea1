"""A killed run goes on from its checkpoint and ends in the same bits; what is not its checkpoint is refused."""

import errno
import json
import signal
import subprocess
import sys
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import nn

from relahash_nb.centroids import make_centroids
from relahash_nb.config import RunConfig
from relahash_nb.datasets import Dataset, Pool
from relahash_nb.files import checkpoint_path, remove_checkpoint
from relahash_nb.losses import LOSSES, RelaHashLoss, build_loss
from relahash_nb.models import HashModel
from relahash_nb.training import CheckpointError, Training, checkpoints, encode, estimate_seconds, fit

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
    usual = dict(epochs=4, batch_size=8, image_size=8, bits=8, checkpoint_minutes=ALWAYS)
    return RunConfig(**usual | options, results_dir=str(folder))


def make_data(seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (70, 3, 8, 8), dtype=torch.uint8, generator=generator)
    targets = torch.eye(3, dtype=torch.uint8)[torch.arange(70) % 3]
    positions = {"train": np.arange(42), "database": np.arange(60), "query": np.arange(60, 70)}
    return Dataset.from_pool("noise", ["a", "b", "c"], Pool(images, targets, np.arange(70), 8), positions)


def make_parts(config, width=6):
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        backbone = nn.Sequential(
            *(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.Dropout(0.3)),
            *(nn.Conv2d(width, 5, 3), nn.AdaptiveAvgPool2d(2)),
        )
        backbone.requires_grad_(config.finetune)
        return HashModel(backbone, 20, config.bits), DrawingLoss(make_centroids(3, config.bits))


def train(config, seed=0):
    """The model, the loss and the history, from scratch or from the checkpoint that is there."""
    model, loss = make_parts(config)
    data = make_data(seed).with_validation(config.validation_per_class, 0)
    return model, loss, fit(model, loss, data, config)


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
    taken, step = [], Training.step

    def counted(self, inputs, targets):
        taken.append(1)
        if len(taken) in steps:
            raise Interrupted
        return step(self, inputs, targets)

    monkeypatch.setattr(Training, "step", counted)


def files(folder):
    return sorted(path.name for path in Path(folder).rglob("*") if path.is_file())


@pytest.fixture
def left(tmp_path, monkeypatch):
    """A folder with the checkpoint of a run that was interrupted in its third epoch."""
    with monkeypatch.context() as patch, suppress(Interrupted):
        interrupt(patch, 2 * STEPS + 2)
        train(make_config(tmp_path))
    assert files(tmp_path) == ["checkpoint.safetensors"]
    return tmp_path


@pytest.mark.parametrize("step", [2, STEPS + 2, 2 * STEPS + 1, 4 * STEPS])
@pytest.mark.parametrize(
    "options",
    [{}, {"validation_per_class": 4}, {"finetune": False}, {"finetune": False, "validation_per_class": 4, "epochs": 5}],
    ids=["plain", "validation", "fixed", "fixed-validation"],
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
    said = f"goes on after epoch {epoch} of {config.epochs} from {checkpoint_path(config)}"
    assert (said in capsys.readouterr().out) == (epoch > 0)
    assert files(tmp_path / "interrupted") == ["checkpoint.safetensors"]


STATEFUL = {
    "relahash": {"running": True},
    "hashnet": {"growth": 1.0, "interval": 2},
    "dpsh": {"memory": 20},
}


@pytest.mark.parametrize("name", LOSSES)
def test_whatever_a_loss_keeps_survives(name, tmp_path, monkeypatch):
    """Heads, schedules, rings of codes, draws: an interrupted run of any loss ends in the same bits."""

    def train_with(folder):
        config = make_config(folder, loss=name, loss_options=STATEFUL.get(name), epochs=3)
        model, _ = make_parts(config)
        loss = build_loss(config, make_centroids(3, config.bits))
        return model, loss, fit(model, loss, make_data(), config)

    undisturbed = results(*train_with(tmp_path / "undisturbed"))
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        interrupt(patch, 2 * STEPS + 2)
        train_with(tmp_path / "interrupted")
    torch.rand(7)
    assert_same(results(*train_with(tmp_path / "interrupted")), undisturbed)


def test_the_epoch_that_validation_chose_survives_also_when_it_lies_before_the_interruption(tmp_path, monkeypatch):
    """Scores are made up: the first epoch is the best of four."""
    from relahash_nb.training import fitting

    def scored(*steps):
        scores = iter([0.9, 0.1, 0.2, 0.3])
        made_up = lambda *_: type("Scores", (), {"mean_average_precision": next(scores)})
        monkeypatch.setattr(fitting, "evaluate", made_up)

    undisturbed_config = make_config(tmp_path / "undisturbed", validation_per_class=4)
    scored()
    undisturbed = results(*train(undisturbed_config))
    config = make_config(tmp_path / "interrupted", validation_per_class=4)
    scored()
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        interrupt(patch, 3 * STEPS)
        train(config)
    monkeypatch.setattr(fitting, "evaluate", lambda *_: type("Scores", (), {"mean_average_precision": 0.2}))
    model, _, history = train(config)
    assert history[0]["validation_map"] == 0.9
    assert all(torch.equal(tensor, undisturbed[0][name]) for name, tensor in model.state_dict().items())


def test_interrupted_again_and_again(tmp_path, monkeypatch):
    undisturbed = results(*train(make_config(tmp_path / "undisturbed")))
    config = make_config(tmp_path / "interrupted")
    with monkeypatch.context() as patch:
        interrupt(patch, 7, 10, 14, 20, 21)  # within epochs 2, 2, 2, 3 and 3
        for _ in range(5):
            with pytest.raises(Interrupted):
                train(config)
        finished = results(*train(config))
    assert_same(finished, undisturbed)


@pytest.mark.parametrize("moment", ["step", "write"])
def test_a_killed_process_s_run_ends_in_the_same_bits(moment, tmp_path):
    """SIGKILL within the third epoch, and with half of the second checkpoint written."""
    killed = subprocess.run([sys.executable, __file__, tmp_path / "killed", moment], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    torn = [name for name in files(tmp_path) if name.startswith(".")]
    assert len(torn) == (moment == "write")
    assert_same(results(*train(make_config(tmp_path / "killed"))), results(*train(make_config(tmp_path / "quiet"))))
    assert files(tmp_path / "killed") == ["checkpoint.safetensors"]


def die(folder, moment):
    """What the killed process does."""
    kill = lambda: signal.raise_signal(signal.SIGKILL)
    save, step, counts = checkpoints.save_file, Training.step, {"step": 0, "write": 0}

    def save_half(tensors, path, metadata):
        save(tensors, path, metadata)
        counts["write"] += 1
        if moment == "write" and counts["write"] == 2:
            with path.open("rb+") as file:
                file.truncate(path.stat().st_size // 2)
            kill()

    def counted(self, inputs, targets):
        counts["step"] += 1
        if moment == "step" and counts["step"] == 2 * STEPS + 2:
            kill()
        return step(self, inputs, targets)

    checkpoints.save_file, Training.step = save_half, counted
    train(make_config(folder))


def rewrite(path, **changes):
    """The same checkpoint with another header, and a digest that fits it."""
    from safetensors.torch import save_file

    with safe_open(path, "pt") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    metadata |= changes
    save_file(tensors, path, metadata | {"digest": checkpoints.digest(metadata["header"], tensors)})


def truncated(share):
    return lambda path: path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def flipped(share):
    def flip(path):
        content = bytearray(path.read_bytes())
        content[int(len(content) * share)] ^= 4
        path.write_bytes(content)

    return flip


def of_another_config(path):
    with safe_open(path, "pt") as file:
        header = json.loads(file.metadata()["header"])
    header["owner"]["config"] |= {"lr": 0.5, "augment": "none"}
    rewrite(path, header=json.dumps(header))


UNUSABLE = {
    "empty": (lambda path: path.write_bytes(b""), "is broken"),
    "no safetensors": (lambda path: path.write_bytes(b"\x80\x04cposix\nsystem\n" * 20), "is broken"),
    "cut within the header": (truncated(0.05), "is broken"),
    "cut in half": (truncated(0.5), "is broken"),
    "last byte missing": (lambda path: path.write_bytes(path.read_bytes()[:-1]), "is broken"),
    "bit of a tensor flipped": (flipped(0.9), "is broken (its digest is not that of its content)"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "is broken"),
    "other version": (lambda path: rewrite(path, format="99"), "is of format 99; this version reads format 1"),
    "other file": (lambda path: rewrite(path, format=""), "is of format ; this version reads format 1"),
    "other config": (of_another_config, "is of another config (augment none, not jitter, lr 0.5, not 0.003)"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_checkpoint_that_cannot_be_used_is_refused_in_one_line_and_left(name, left, monkeypatch):
    spoil, reason = UNUSABLE[name]
    path = checkpoint_path(make_config(left))
    spoil(path)
    before = path.read_bytes() if path.is_file() else None
    monkeypatch.setattr(Training, "step", lambda *_: pytest.fail("trained nonetheless"))
    with pytest.raises(CheckpointError) as error:
        train(make_config(left))
    assert str(error.value).startswith(f"{path} {reason}")
    assert str(error.value).endswith("remove it, or start anew with fresh = True")
    assert "\n" not in str(error.value)
    assert path.exists() and (path.read_bytes() if path.is_file() else None) == before


def test_a_flipped_bit_is_seen_wherever_it_is(left):
    """In the length, in the names, in the history, in a moment of Adam: never a number that was not written."""
    config = make_config(left)
    path = checkpoint_path(config)
    whole, owner = path.read_bytes(), json.loads(safe_open(path, "pt").metadata()["header"])["owner"]
    checkpoints.read_state(path, owner)
    for share in np.linspace(0, 0.999, 60):
        flipped(share)(path)
        with pytest.raises(CheckpointError):
            checkpoints.read_state(path, owner)
        path.write_bytes(whole)


def test_other_data_another_model_and_another_loss_are_refused(left):
    config, data = make_config(left), make_data()
    model, loss = make_parts(config)
    plain = RelaHashLoss(make_centroids(3, config.bits))
    wide, _ = make_parts(config, width=7)
    for parts, reason in [
        ((model, loss, make_data(1)), "other data"),
        ((wide, loss, data), "another model"),
        ((model, plain, data), "another loss"),
    ]:
        before = {name: tensor.clone() for name, tensor in parts[0].state_dict().items()}
        with pytest.raises(CheckpointError, match=f"is of {reason}; remove it"):
            fit(*parts, config)
        assert all(torch.equal(tensor, before[name]) for name, tensor in parts[0].state_dict().items())


@pytest.mark.parametrize("name", [name for name in UNUSABLE if name != "a folder"])
def test_fresh_starts_anew_where_a_checkpoint_cannot_be_used(name, left, tmp_path_factory, capsys):
    spoil, reason = UNUSABLE[name]
    config = make_config(left, fresh=True)
    spoil(checkpoint_path(config))
    capsys.readouterr()
    finished = results(*train(config))
    said = capsys.readouterr().out
    assert f"{reason}" in said and "the run starts anew" in said and "goes on" not in said
    assert_same(finished, results(*train(make_config(tmp_path_factory.mktemp("quiet")))))
    train(make_config(left))
    assert "goes on after epoch 4 of 4" in capsys.readouterr().out  # the new checkpoint took its place


def test_fresh_goes_on_from_a_checkpoint_that_can_be_used(left, capsys):
    train(make_config(left, fresh=True))
    assert "goes on after epoch 2 of 4" in capsys.readouterr().out


def test_what_does_not_change_the_result_may_be_another(left, capsys):
    train(make_config(left, device="cpu", data_dir="elsewhere", checkpoint_minutes=3))
    assert "goes on after epoch 2 of 4" in capsys.readouterr().out


def test_without_minutes_nothing_is_written_and_nothing_read(left, tmp_path_factory, capsys):
    path = checkpoint_path(make_config(left))
    path.write_bytes(b"broken")
    _, _, history = train(make_config(left, checkpoint_minutes=0))
    assert len(history) == 4 and "goes on" not in capsys.readouterr().out
    assert path.read_bytes() == b"broken"
    quiet = tmp_path_factory.mktemp("quiet")
    train(make_config(quiet, checkpoint_minutes=0))
    assert files(quiet) == []


def test_a_checkpoint_comes_when_the_last_is_old_enough_and_its_size_is_said_once(tmp_path, monkeypatch, capsys):
    """A clock of its own: two minutes an epoch, so that five minutes have passed after epochs 3, 6 and 9."""
    clock = iter(range(0, 10_000, 120))
    now = [next(clock)]
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now[0])
    run_epoch, written = Training.run_epoch, []

    def two_minutes(self):
        now[0] = next(clock)
        return run_epoch(self)

    write = checkpoints.write_state
    monkeypatch.setattr(Training, "run_epoch", two_minutes)
    monkeypatch.setattr(
        checkpoints, "write_state", lambda *args: written.append(len(args[1].values["history"])) or write(*args)
    )
    config = make_config(tmp_path, epochs=10, checkpoint_minutes=5.0)
    train(config)
    assert written == [3, 6, 9]
    size = checkpoint_path(config).stat().st_size
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("checkpoint:")]
    assert said == [f"checkpoint: {size / 1e6:.1f} MB, every 5 minutes, {checkpoint_path(config)}"]


def test_a_folder_that_cannot_be_written_is_said_once_and_training_goes_on(tmp_path, capsys):
    (tmp_path / "file").touch()
    config = make_config(tmp_path / "file")
    _, _, history = train(config)
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("checkpoint:")]
    assert len(history) == 4
    assert said == [
        f"checkpoint: {checkpoint_path(config)} cannot be written (NotADirectoryError: [Errno 20] Not a directory: "
        f"{str(checkpoint_path(config).parent)!r}); training goes on without"
    ]


def test_a_full_disk_leaves_the_last_checkpoint_whole(tmp_path, monkeypatch, capsys):
    config, save, calls = make_config(tmp_path), checkpoints.save_file, []

    def full(tensors, path, metadata):
        calls.append(1)
        save(tensors, path, metadata)
        if len(calls) > 2:
            path.write_bytes(path.read_bytes()[:500])
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoints, "save_file", full)
    finished = results(*train(config))
    assert len(calls) == 4 and files(tmp_path) == ["checkpoint.safetensors"]
    said = capsys.readouterr().out
    assert "No space left on device" in said and said.count("training goes on without") == 1
    assert_same(results(*train(config)), finished)
    assert "goes on after epoch 2 of 4" in capsys.readouterr().out


def test_a_finished_training_s_checkpoint_gives_its_end_at_once(tmp_path, monkeypatch):
    """Killed while it encodes, a run need not train again."""
    config = make_config(tmp_path, validation_per_class=4)
    finished = results(*train(config))
    monkeypatch.setattr(Training, "step", lambda *_: pytest.fail("trained again"))
    assert_same(results(*train(config)), finished)


def test_the_seconds_of_an_epoch_are_kept(left):
    header = json.loads(safe_open(checkpoint_path(make_config(left)), "pt").metadata()["header"])
    kept = [record["seconds"] for record in header["values"]["history"]]
    _, _, history = train(make_config(left))
    assert [record["seconds"] for record in history[:2]] == kept and len(history) == 4


def test_moments_lie_in_memory_as_their_parameters_do(tmp_path):
    """The model is channels last, a file is not; a fused step takes moments in the parameter's order."""
    config = make_config(tmp_path).resolve()
    model, loss = make_parts(config)
    first = Training(model, loss, make_data(), config)
    first.run_epoch()
    state = first.state()
    second = Training(*make_parts(config), make_data(), config)
    plain = {
        part: {name: tensor.contiguous() for name, tensor in named.items()} for part, named in state.tensors.items()
    }
    second.restore(state._replace(tensors=plain))
    kernels = [parameter for parameter in second.model.parameters() if parameter.ndim == 4]
    assert len(kernels) == 2
    for kernel in kernels:
        assert second.optimizer.state[kernel]["exp_avg"].stride() == kernel.stride()
    assert kernels[1].is_contiguous(memory_format=torch.channels_last) and not kernels[1].is_contiguous()


def test_a_backbone_that_is_not_trained_is_not_in_the_file(tmp_path):
    parts = {}
    for finetune in (True, False):
        config = make_config(tmp_path, finetune=finetune)
        train(config)
        with safe_open(checkpoint_path(config), "pt") as file:
            parts[finetune] = set(file.keys())
    assert any(name.startswith("model.backbone.") for name in parts[True])
    assert not any("backbone." in name for name in parts[False])
    for names in parts.values():
        assert {"loss.centroids", "loss.calls", "model.hash_layer.1.running_mean", "optimizer.0.step"} <= names
        assert {"random.torch", "random.batches"} <= names


def test_shared_tensors_are_written_too(tmp_path):
    """safetensors refuses tensors that share memory, as tied weights do."""
    weight = torch.arange(6.0).view(2, 3)
    state = checkpoints.State({"model": {"one": weight, "two": weight, "turned": weight.T}}, {"history": []})
    owner = {"config": {}, "data": "", "model": "", "loss": ""}
    checkpoints.write_state(tmp_path / "file", state, owner)
    found = checkpoints.read_state(tmp_path / "file", owner).tensors["model"]
    assert torch.equal(found["two"], weight) and torch.equal(found["turned"], weight.T)


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.bfloat16, torch.float16, torch.float64, torch.uint8])
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)])
def test_every_kind_of_tensor_comes_back(dtype, shape, tmp_path):
    tensor = torch.ones(shape, dtype=dtype)
    owner = {"config": {}, "data": "", "model": "", "loss": ""}
    checkpoints.write_state(tmp_path / "file", checkpoints.State({"loss": {"a.b": tensor}}, {}), owner)
    found = checkpoints.read_state(tmp_path / "file", owner).tensors["loss"]["a.b"]
    assert found.dtype == dtype and torch.equal(found, tensor)


def test_the_estimate_neither_reads_nor_writes_a_checkpoint(left, tmp_path_factory):
    config = make_config(left)
    path = checkpoint_path(config)
    path.write_bytes(b"broken")
    estimate_seconds(*make_parts(config), make_data(), config)
    assert path.read_bytes() == b"broken" and files(left) == ["checkpoint.safetensors"]


def test_removing_takes_what_a_killed_process_left_too(left):
    config = make_config(left)
    folder = checkpoint_path(config).parent
    (folder / ".123-checkpoint.safetensors").write_bytes(b"half")
    (folder / "run.json").write_text("{}")
    remove_checkpoint(config)
    assert files(left) == ["run.json"]
    remove_checkpoint(config)  # nothing there: nothing to say


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    die(*sys.argv[1:])

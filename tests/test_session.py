"""A session: the run's folder is its own for a while, and its batches come again."""

import pytest
import torch
from filelock import FileLock, Timeout

from relahash_nb.config import RunConfig
from relahash_nb.files import run_folder
from relahash_nb.session import Session

QUICK = RunConfig(bits=8, recipe="quick", epochs=1)


@pytest.fixture
def config(tmp_path):
    return QUICK.replace(results_dir=str(tmp_path))


def is_taken(config):
    try:
        FileLock(run_folder(config) / ".run.lock", thread_local=False).acquire(timeout=0).lock.release()
    except Timeout:
        return True
    return False


def test_a_session_alone_may_write_its_run_until_the_block_ends(config):
    with pytest.raises(ZeroDivisionError), Session(config):
        assert is_taken(config)
        _ = 1 / 0
    assert not is_taken(config)


def test_a_saved_run_exists_and_its_folder_is_given_up(config):
    session = Session(config)
    codes = session.encode()
    folder = session.save(codes, session.score(codes), [{"epoch": 1, "seconds": 0.5}])
    assert (folder / "run.json").exists() and not is_taken(config)
    assert set(session.seconds) == {"data", "encoding", "scoring"}


@pytest.mark.parametrize("finetune", [True, False])
def test_a_seed_gives_the_batches_of_an_epoch_again(config, finetune):
    session = Session(config.replace(finetune=finetune))
    first, second, other = (list(session.batches(seed)) for seed in (3, 3, 4))
    assert len(first) == 3_000 // config.batch_size
    for (inputs, targets), (again, targets_again) in zip(first, second, strict=True):
        assert torch.equal(inputs, again) and torch.equal(targets, targets_again)
    assert not torch.equal(first[0][0], other[0][0])
    codes = session.model(first[0][0]) if finetune else session.model.hash(first[0][0])
    assert codes.shape == (config.batch_size, 8)

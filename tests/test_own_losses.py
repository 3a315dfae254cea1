"""A loss of one's own: what is wrong with it is one line, said before the work begins; and it needs no centroids."""

import sys

import pytest
import torch

from relahash_nb.config import RunConfig
from relahash_nb.losses import build_loss

START = """
import torch
from torch import nn


class Loss(nn.Module):
"""
MAKE = """
    def __init__(self, centroids, strength=1.0):
        super().__init__()
"""
CALL = """
    def forward(self, codes, targets):
"""
FAULTS = {  # the class; what the line names
    "no centroids": ("    def __init__(self):\n        super().__init__()", "Loss(centroids): too many"),
    "an argument without a value": (
        "    def __init__(self, centroids, power):\n        super().__init__()",
        "Loss(centroids): missing a required argument: 'power'",
    ),
    "a TypeError of its own": (MAKE + "        len(3)", "TypeError when it is made (own.py:24)"),
    "no forward": (MAKE, "NotImplementedError when it is called"),
    "a vector": (MAKE + CALL + "        return codes.square().mean(1)", "the loss gives (48,), not a scalar"),
    "a number": (MAKE + CALL + "        return 1.0", "gives a float, not a tensor"),
    "no gradient": (MAKE + CALL + "        return codes.detach().mean()", "does not depend on the codes"),
    "integer labels": (MAKE + CALL + "        return nn.functional.cross_entropy(codes, targets)", "when it is called"),
    "an error deep inside": (
        MAKE + CALL + "        return torch.cat([codes, torch.ones(1)]).sum()",
        "RuntimeError when it is called with codes (48, 64) and targets (48, 3) (own.py:26)",
    ),
    "a gradient that fails": (
        MAKE
        + CALL
        + "        kept = codes.exp()\n        loss = kept.sum()\n        kept.zero_()\n        return loss",
        "RuntimeError when its gradient is asked for",
    ),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_what_is_wrong_is_one_line_with_its_place(kind, toy_module):
    text, named = FAULTS[kind]
    toy_module(START + text + "\n")
    config = RunConfig(dataset="own:toy", loss="own:Loss", batch_size=48)
    before = torch.get_rng_state()
    with pytest.raises(ValueError, match=r"^own:Loss: ") as error:
        build_loss(config, torch.ones(3, 64))
    assert named in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 600
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("kind", ["no centroids", "a vector", "a TypeError of its own"])
def test_it_is_said_before_a_run_begins(kind, toy_module, relahash, without_kernels):
    toy_module(START + FAULTS[kind][0] + "\n")
    asked = without_kernels(lambda config, output: None)
    code, printed, error = relahash("train", "--loss", "own:Loss", "--batch-size", 48)
    assert code == 2 and not printed and error.count("\n") == 1 and FAULTS[kind][1] in error and not asked


def test_what_was_tried_leaves_no_trace_in_the_loss_that_trains(toy_module):
    counts = MAKE + "        self.register_buffer('count', torch.zeros(()))" + CALL
    toy_module(START + counts + "        self.count += 1\n        return codes.square().mean() * torch.rand(())\n")
    loss = build_loss(RunConfig(loss="own:Loss"), torch.ones(3, 64))
    assert loss.count == 0


def test_its_weights_depend_on_the_seed_alone(toy_module):
    toy_module(
        START + MAKE + "        self.head = nn.Linear(64, 3)" + CALL + "        return self.head(codes).mean()\n"
    )
    first, again, other = (build_loss(RunConfig(loss="own:Loss", seed=seed), torch.ones(3, 64)) for seed in (0, 0, 1))
    assert torch.equal(first.head.weight, again.head.weight) and not torch.equal(first.head.weight, other.head.weight)


def test_what_gives_no_module_is_said(toy_module):
    toy_module("\n\ndef loss(centroids):\n    return lambda codes, targets: codes.mean()\n")
    with pytest.raises(ValueError, match=r"^own:loss: gives a function; "):
        build_loss(RunConfig(loss="own:loss"), torch.ones(3, 64))


def test_a_loss_without_centroids_trains(toy_module, relahash):
    """Through the command line: what it is measured by, the trainer has itself."""
    pairs = "        return (codes @ codes.T - 64 * targets.float() @ targets.float().T).square().mean()\n"
    toy_module(START + MAKE + CALL + pairs)
    options = ["--dataset", "own:toy", "--recipe", "quick", "--image-size", 8, "--batch-size", 8, "--epochs", 1]
    code, printed, error = relahash("sweep", "--loss", "own:Loss", *options, "--sampler", "classes", "--direct")
    assert code == 0 and "1 of 1 runs to do" in printed, error


QUICK = ["--dataset", "own:toy", "--recipe", "quick", "--image-size", 8, "--batch-size", 8, "--epochs", 1, "--direct"]


def test_a_sweep_makes_a_run_again_when_the_file_of_its_loss_has_changed(toy_module, relahash):
    loss = START + MAKE + CALL + "        return codes.square().mean()\n"
    toy_module(loss)
    code, printed, error = relahash("sweep", "--loss", "own:Loss", *QUICK)
    assert code == 0, error
    assert "done before" in relahash("sweep", "--loss", "own:Loss", *QUICK)[1]
    toy_module(loss + "# another one\n")
    assert "to do" in relahash("sweep", "--loss", "own:Loss", "--plan", *QUICK[:-1])[1]
    del sys.modules["own"]
    code, printed, error = relahash("sweep", "--loss", "own:Loss", *QUICK)
    assert code == 0 and "made again, since the file of own:toy, own:Loss has changed" in printed
    assert "done before" in relahash("sweep", "--loss", "own:Loss", *QUICK)[1]


def test_an_edit_while_a_run_goes_on_is_not_taken_for_its_source(toy_module, relahash):
    """The process has the old code: the run is made again by the next one."""
    loss = START + MAKE + CALL + "        return codes.square().mean()\n"
    toy_module(loss)
    build_loss(RunConfig(loss="own:Loss"), torch.ones(3, 64))  # imports it
    toy_module(loss + "# another one\n")
    assert relahash("sweep", "--loss", "own:Loss", *QUICK)[0] == 0
    assert "0 done, 1 to do" in relahash("sweep", "--loss", "own:Loss", "--plan", *QUICK[:-1])[1]

"""A model made ready for inference gives what it gave, and its outputs come in order, whatever the workers do."""

import os
import threading
import time

import pytest
import torch
from torch import nn

from relahash_nb import inference
from relahash_nb.config import RunConfig
from relahash_nb.datasets import Dataset, Pool, Split
from relahash_nb.inference import autocast, fold_batch_norms, for_inference, forward_blocks
from relahash_nb.models import HashModel, build_backbone, build_model


def norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def settle(network: nn.Module) -> nn.Module:
    """Batch norms as after a training: every tensor of them its own."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5, generator=generator)
    return network.eval()


def split_of(count: int, size: int = 8) -> Split:
    """Items whose first pixel is their number."""
    images = torch.zeros(count, 3, size, size, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.arange(count)
    pool = Pool(images, torch.ones(count, 1, dtype=torch.uint8), torch.arange(count).numpy(), size)
    return Dataset.from_pool("numbers", ["a"], pool, {"train": [0], "query": [0], "database": range(count)}).database


def small_blocks(monkeypatch, block: int) -> None:
    monkeypatch.setattr(inference, "BLOCK", block)
    monkeypatch.setattr(inference, "CPU_BATCH", block - 1)


@pytest.mark.parametrize("name", ["small_cnn", "mobilenet_v3_small", "timm:efficientnet"])
def test_folded_batch_norms_are_gone_and_change_nothing_but_rounding(name):
    if name.startswith("timm:"):
        pytest.importorskip("timm")
        name = "tf_efficientnet_lite0"  # its batch norms have the activations in them, its padding follows the size
    network = settle(build_backbone(name, "none"))
    before, count = {key: tensor.clone() for key, tensor in network.state_dict().items()}, norms(network)
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    folded = fold_batch_norms(network, 32)
    with torch.no_grad():
        expected, given = network(images), folded(images)
    torch.testing.assert_close(given, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))
    assert count > 0 and norms(folded) == 0 and norms(network) == count
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())


def test_a_convolution_that_is_used_twice_is_left_as_it_is():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

        def forward(self, images):
            between = self.convolution(images)
            return self.norm(between) + between

    network = settle(Twice())
    assert fold_batch_norms(network, 8) is network


def test_a_norm_before_its_convolution_is_left_as_it_is():
    network = settle(nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3)))
    assert norms(fold_batch_norms(network, 8)) == 1


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_weights_that_are_cast_once_give_what_autocast_gives_bit_for_bit(precision):
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 6))
    model = HashModel(network, feature_size=6, bits=16).eval()
    images = torch.rand(2, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    model.to(memory_format=torch.channels_last)
    ready = for_inference(model, 64, precision)
    with torch.inference_mode(), autocast(torch.device("cpu"), precision):
        assert torch.equal(ready(images), model(images))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert not any(parameter.requires_grad for parameter in ready.parameters())


@pytest.mark.parametrize(("precision", "left"), [("fp32", 0), ("bf16", 5)])
def test_batch_norms_are_folded_in_fp32_alone(precision, left):
    """A bias rounded to bf16 is wrong in the same way for every image."""
    assert norms(for_inference(build_model(RunConfig()), 28, precision).backbone) == left


def test_outputs_come_in_order_whichever_worker_is_the_first(monkeypatch):
    small_blocks(monkeypatch, 4)

    class Slow(nn.Module):
        mean, std = (0.0,) * 3, (1.0,) * 3

        def forward(self, images):
            time.sleep(0.01 * (threading.get_ident() % 2))
            return images[:, 0, :1, :1] * 255

    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)  # or three would stay for the tests that follow
    model = HashModel(Slow(), feature_size=1, bits=2)
    blocks = list(forward_blocks(HashModel.features, model, split_of(22), "fp32"))
    assert torch.cat(blocks).flatten().round().tolist() == list(range(22))
    assert [len(block) for block in blocks[:-1]] == [4] * (len(blocks) - 1)


@pytest.mark.parametrize("all_cores, workers", [(False, 1), (True, 5)])
def test_a_worker_of_a_sweep_takes_its_share_of_the_cores_or_all(all_cores, workers, monkeypatch):
    """Five cores, of which torch was given one: with all of them five pieces are in work at one time."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(5)), raising=False)
    small_blocks(monkeypatch, 4)
    meeting, met = threading.Barrier(workers), []

    def forward(network, images):
        meeting.wait(timeout=60)  # for as many others
        met.append(len(images))
        return images.flatten(1)

    model = build_model(RunConfig())
    outputs = list(forward_blocks(forward, model, split_of(100, 28), "fp32", all_cores=all_cores))
    assert sum(map(len, outputs)) == sum(met) == 100


def test_no_more_is_read_than_a_block_a_worker_and_one(monkeypatch):
    """Whoever takes blocks slowly is not overtaken: of a folder of any size a few images are in memory."""
    small_blocks(monkeypatch, 2)
    read = []

    class Counted:
        shape = (100, 3, 8, 8)

        def __getitem__(self, rows):
            read.extend(rows.tolist())
            return torch.zeros(len(rows), 3, 8, 8, dtype=torch.uint8)

    pool = Pool(Counted(), torch.ones(100, 1, dtype=torch.uint8), torch.arange(100).numpy(), 8)
    model = HashModel(nn.AdaptiveAvgPool2d(1), feature_size=3, bits=2)
    blocks = forward_blocks(HashModel.features, model, Split(pool, torch.arange(100)), "fp32")
    next(blocks)
    time.sleep(0.1)
    assert 2 <= len(set(read)) <= 2 * (torch.get_num_threads() + 2)
    blocks.close()
    assert len(read) < 100

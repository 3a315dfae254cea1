"""Outputs of a model that does not learn: in blocks, on all cores, with batch norms folded into convolutions."""

import copy
import itertools
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from relahash_nb.datasets import Split, prepare
from relahash_nb.models import HashModel

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}  # of a config's `precision`
BLOCK = 256  # images that a worker computes at a time
CPU_BATCH = 32  # images; the activations of more leave the processor's cache before the next layer reads them
GPU_WORKERS = 2  # one reads a block while the other computes one
CAST_LAYERS = (nn.Conv2d, nn.Linear)  # exactly these: a subclass may need its weights in fp32


def forward_blocks(
    forward: Callable[[HashModel, Tensor], Tensor],
    model: HashModel,
    split: Split,
    precision: str,
    all_cores: bool = False,
) -> Iterator[Tensor]:
    """Give the outputs of a split's items in order, without augmentation, from a copy of the model that is evaluated.

    On a CPU each worker computes a block on one thread, so that no core waits for another after every layer. At most
    one finished block a worker waits to be taken.

    Args:
        forward: `HashModel.forward` or `HashModel.features`.
        model: Where it is; it is not changed.
        split: N items.
        precision: fp32, bf16 or fp16.
        all_cores: On a CPU, use each core of this process, and not only as many as torch has threads: for outputs that
            other processes wait for.

    Yields:
        The outputs (≤ 256, …) of the next items, in `precision`, on the CPU.
    """
    device = model.mean.device
    image_size = split.pool.image_size
    augment = "centre" if split.pool.centre else "none"
    batch_size = CPU_BATCH if device.type == "cpu" else BLOCK
    network = for_inference(model, image_size, precision)

    def compute(rows: Tensor) -> Tensor:
        outputs = []
        with torch.inference_mode(), autocast(device, precision):
            for batch in rows.split(batch_size):
                images = split.images(batch).to(device, non_blocking=True)
                inputs = prepare(images, image_size, augment)
                outputs.append(forward(network, inputs.contiguous(memory_format=torch.channels_last)))
            return torch.cat(outputs).cpu()

    threads = torch.get_num_threads()
    workers = count_workers(device, all_cores)
    executor = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))
    ahead: deque[Future[Tensor]] = deque()
    try:
        for rows in torch.arange(len(split)).split(BLOCK):
            ahead.append(executor.submit(compute, rows))
            if len(ahead) > workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        executor.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # the workers' own setting reaches the whole process in part


def count_workers(device: torch.device, all_cores: bool) -> int:
    """How many blocks are computed at a time; `all_cores` is that of `forward_blocks`."""
    if device.type == "cuda":
        return GPU_WORKERS
    if device.type != "cpu":
        return 1
    if not all_cores:
        return torch.get_num_threads()
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def for_inference(model: HashModel, image_size: int, precision: str) -> HashModel:
    """A copy in evaluation mode that gives the same outputs up to rounding, in less time; it cannot learn.

    In fp32 the batch norms are folded into the convolutions: on one core this is 1.1 to 1.2 times as fast for small_cnn
    and tf_efficientnet_lite0, 1.3 times for mobilenet_v3_large. In half precision the folded biases would be rounded in
    the same way for every image (an mAP fell by .002 to .012); there the weights are cast once, and not at every call.
    """
    network = copy.deepcopy(model).eval().requires_grad_(False)
    if precision == "fp32":
        network.backbone = fold_batch_norms(network.backbone, image_size)
    else:
        for module in network.modules():
            if type(module) in CAST_LAYERS:
                module.to(DTYPES[precision])
    return network.to(memory_format=torch.channels_last)


@torch.no_grad()
def fold_batch_norms(network: nn.Module, image_size: int) -> nn.Module:
    """A copy of a network in which each batch norm is folded into the convolution that is defined just before it.

    The network itself is returned where it has no such pair, and where the copy gives something else for an image of
    noise: the order of definition is not always the order of use, and a convolution may be used twice.
    """
    folded = copy.deepcopy(network).eval()
    pairs = find_pairs(folded)
    if not pairs:
        return network
    first_parameter = next(folded.parameters())
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(2, 3, image_size, image_size, generator=generator).to(first_parameter)
    expected = folded(noise)
    for name, convolution, norm_name, norm in pairs:
        folded.set_submodule(name, fuse_conv_bn_eval(convolution, norm))
        folded.set_submodule(norm_name, rest_of_norm(norm))
    largest_difference = (folded(noise) - expected).abs().max()
    is_same = largest_difference <= 1e-3 * expected.abs().max()
    return folded if is_same else network


def find_pairs(network: nn.Module) -> list[tuple[str, nn.Conv2d, str, nn.BatchNorm2d]]:
    """The convolutions that a batch norm follows in the order of definition: name and module of both."""
    pairs = []
    for (name, module), (next_name, next_module) in itertools.pairwise(network.named_modules()):
        if not isinstance(module, nn.Conv2d) or not isinstance(next_module, nn.BatchNorm2d):
            continue
        if next_module.track_running_stats:
            pairs.append((name, module, next_name, next_module))
    return pairs


def rest_of_norm(norm: nn.Module) -> nn.Module:
    """What a batch norm does after it has normalised: nothing in torch's, dropout and an activation in timm's."""
    rest = nn.Sequential()
    for name in ("drop", "act"):
        if hasattr(norm, name):
            rest.append(getattr(norm, name))
    return rest


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Mixed precision as a config says; off for fp32."""
    return torch.autocast(device.type, DTYPES[precision], enabled=precision != "fp32")

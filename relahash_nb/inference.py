"""What a model that no longer learns gives for many images: folded or cast once, each core at a block of its own."""

from __future__ import annotations

import copy
import math
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from relahash_nb.datasets import Split, prepare
from relahash_nb.models import DTYPES, HashModel

BLOCK = 256  # images of one piece of work
CPU_BATCH = 32  # images; the activations of more leave the cache before the next layer reads them
CAST = (nn.Conv2d, nn.Linear)  # whose weights autocast would cast at every call; of subclasses one cannot know


def forward_blocks(
    forward: Callable[[HashModel, Tensor], Tensor],
    model: HashModel,
    split: Split,
    precision: str,
    *,
    start: int = 0,
    block: int = BLOCK,
    batch_size: int | None = None,
    compiled: bool = False,
    all_cores: bool = False,
) -> Iterator[Tensor]:
    """A model's outputs for a split's items, in order, without augmentation.

    On a CPU each core works at a block of its own, on one thread: no core waits for another after every layer, which
    beside other busy processes is several times as fast. On a GPU one block is read while another is computed. So
    images in files are decoded while others are computed, and no more than a block a worker waits to be taken.

    Args:
        forward: `HashModel.forward` or `HashModel.features`.
        model: Where it is; it is left as it was.
        split: N items.
        precision: fp32, bf16 or fp16.
        start: Items before it are left out.
        block: Items of one output.
        batch_size: Images at a time; None: what suits the device. It changes the speed alone.
        compiled: With torch.compile: half a minute and more at the first batch.
        all_cores: On each core that this process may use, and not only on as many as torch has threads: for what the
            other workers of a sweep, whose cores the others are, wait for.

    Yields:
        (≤ block, …) on the CPU, in the network's precision.

    Example:
        >>> from relahash_nb.config import RunConfig
        >>> from relahash_nb.datasets import load_dataset
        >>> from relahash_nb.models import build_model
        >>> query = load_dataset(RunConfig()).query
        >>> [len(codes) for codes in forward_blocks(HashModel.forward, build_model(RunConfig()), query, "fp32")]
        [256, 244]
    """
    device, image_size = model.mean.device, split.pool.image_size
    network = for_inference(model, image_size, precision)
    if compiled:
        network.backbone = compile_module(network.backbone, device, frozen=device.type == "cpu")
    threads = torch.get_num_threads()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    workers = {"cpu": cores if all_cores else threads, "cuda": 2}.get(device.type, 1)
    size = batch_size or (CPU_BATCH if device.type == "cpu" else block)

    def compute(rows: Tensor) -> Tensor:
        """Outputs of the items at these positions."""
        if compiled:  # for one size of batch
            rows = rows[torch.arange(math.ceil(len(rows) / size) * size) % len(rows)]
        outputs = []
        with torch.inference_mode(), autocast(device, precision):
            for part in rows.split(size):
                images = split.images(part).to(device, non_blocking=True)
                images = prepare(images, image_size, "centre" if split.pool.centre else "none")
                outputs.append(forward(network, images.contiguous(memory_format=torch.channels_last)))
            return torch.cat(outputs).cpu()

    executor = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))
    ahead: deque[tuple[int, Future[Tensor]]] = deque()
    try:
        for rows in torch.arange(start, len(split)).split(block):
            ahead.append((len(rows), executor.submit(compute, rows)))
            if len(ahead) > workers:
                yield _next(ahead)
        while ahead:
            yield _next(ahead)
    finally:
        executor.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # part of that setting is the whole process's


def _next(ahead: deque[tuple[int, Future[Tensor]]]) -> Tensor:
    length, output = ahead.popleft()
    return output.result()[:length]


def for_inference(model: HashModel, image_size: int, precision: str) -> HashModel:
    """A copy in evaluation mode that gives the same in less time, up to rounding; it cannot learn.

    In fp32 batch norms after a convolution are folded into it; in half precision the folded biases would be rounded,
    the same way for every image, and an mAP fell by .002 to .012 with each of four seeds. There the weights that
    autocast would cast at every call are cast once.

    Args:
        model: Left as it was.
        image_size: Pixels of the images that it will be given.
        precision: That it will be called in, under `autocast`.
    """
    network = copy.deepcopy(model).eval().requires_grad_(False)
    if precision == "fp32":
        network.backbone = fold_batch_norms(network.backbone, image_size)
    for module in network.modules():
        if type(module) in CAST:
            module.to(DTYPES[precision])
    return network.to(memory_format=torch.channels_last)


@torch.no_grad()
def fold_batch_norms(network: nn.Module, image_size: int) -> nn.Module:
    """A copy with each batch norm folded into the convolution whose output it was seen to take.

    What takes what is seen in a forward pass over noise; where a second one then gives anything else, because of a
    convolution that is used twice, say, the network is given back as it is.

    Args:
        network: In evaluation mode.
        image_size: Pixels of the noise.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval()
        >>> fold_batch_norms(network, 8)[1]
        Sequential()
    """
    if not any(isinstance(module, nn.BatchNorm2d) and module.track_running_stats for module in network.modules()):
        return network
    tensor = next(network.parameters())
    noise = torch.randn(2, 3, image_size, image_size, generator=torch.Generator().manual_seed(0)).to(tensor)
    folded = copy.deepcopy(network)
    pairs, before = _pairs(folded, noise)
    for convolution, norm in pairs:
        layers = folded.get_submodule(convolution), folded.get_submodule(norm)
        # timm's batch norms have an activation in them.
        rest = [getattr(layers[1], name) for name in ("drop", "act") if hasattr(layers[1], name)]
        folded.set_submodule(convolution, fuse_conv_bn_eval(*layers))
        folded.set_submodule(norm, nn.Sequential(*rest))
    after = folded(noise)
    return folded if (after - before).abs().max() <= 1e-3 * before.abs().max() else network


def _pairs(network: nn.Module, images: Tensor) -> tuple[list[tuple[str, str]], Tensor]:
    """Names of the convolutions, each with the batch norm that takes its output; and the network's output."""
    made: dict[int, tuple[str, Tensor]] = {}  # by the tensor's identity; kept, so that no other takes it
    pairs = []

    def note(name: str) -> Callable:
        """A hook that remembers what a convolution gave."""
        return lambda module, taken, given: made.update({id(given): (name, given)})

    def match(name: str) -> Callable:
        """A hook that pairs a batch norm with the convolution whose output it takes."""
        return lambda module, taken: pairs.append((made[id(taken[0])][0], name)) if id(taken[0]) in made else None

    hooks = []
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(note(name)))
        elif isinstance(module, nn.BatchNorm2d) and module.track_running_stats:
            hooks.append(module.register_forward_pre_hook(match(name)))
    try:
        output = network(images)
        return list(dict.fromkeys(pairs)), output
    finally:
        for hook in hooks:
            hook.remove()


def compile_module(module: nn.Module, device: torch.device, frozen: bool = False) -> nn.Module:
    """A module through torch.compile, sharing its tensors; it is compiled when it is first called.

    Args:
        module: Left as it is.
        device: Where it will be called.
        frozen: Its weights stay as they are, and are laid out for the processor.

    Raises:
        ValueError: There is no C++ compiler, which torch needs for a CPU.
    """
    compiler = os.environ.get("CXX", "g++")
    if device.type == "cpu" and shutil.which(compiler) is None:
        raise ValueError(f"compile: True given, which needs a C++ compiler, and there is no {compiler}; allowed: False")
    return torch.compile(module, dynamic=False, options={"freezing": True} if frozen else None)


def autocast(device: torch.device | str, precision: str) -> torch.autocast:
    """Mixed precision as the config says; off for fp32."""
    return torch.autocast(torch.device(device).type, DTYPES[precision], enabled=precision != "fp32")

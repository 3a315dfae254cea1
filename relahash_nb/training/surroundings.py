"""What a training changes in its process while it trains, and puts back: random state and number of threads."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


class RandomState:
    """The random numbers of a training, apart from those of its caller.

    Args:
        device: Where the model is.
        seed: Of all generators.

    Attributes:
        order: Draws the order of the batches and their augmentation, on the CPU.
        states: By device type, `cpu` and perhaps `cuda`: the states of torch's own generators, from which dropout and
            losses draw.
    """

    def __init__(self, device: torch.device, seed: int) -> None:
        self.order = torch.Generator().manual_seed(seed)
        self.states: dict[str, Tensor] = {"cpu": torch.Generator().manual_seed(seed).get_state()}
        self.cuda_devices: list[torch.device] = []
        if device.type == "cuda":
            self.cuda_devices.append(device)
            self.states["cuda"] = torch.Generator(device).manual_seed(seed).get_state()

    @contextmanager
    def active(self) -> Iterator[None]:
        """Let torch's own generators draw from `states` within a `with` block; afterwards they are as before."""
        with torch.random.fork_rng(self.cuda_devices):
            torch.set_rng_state(self.states["cpu"])
            for device in self.cuda_devices:
                torch.cuda.set_rng_state(self.states["cuda"], device)
            try:
                yield
            finally:
                self.states["cpu"] = torch.get_rng_state()
                for device in self.cuda_devices:
                    self.states["cuda"] = torch.cuda.get_rng_state(device)


@contextmanager
def thread_count(count: int) -> Iterator[None]:
    """Give torch this many threads within a `with` block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)

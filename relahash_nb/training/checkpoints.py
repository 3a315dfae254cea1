"""The checkpoint of a run: one safetensors file, tensors as they are, and all else as JSON in its header."""

from __future__ import annotations

import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from relahash_nb.config import NOT_IN_RUN_ID, RunConfig
from relahash_nb.datasets import Dataset
from relahash_nb.files import checkpoint_path, remove_torn, write
from relahash_nb.training.progress import say

FORMAT = "1"  # of the file


class CheckpointError(ValueError):
    """A checkpoint that cannot be used: one line says why, and what to do."""


class State(NamedTuple):
    """All that a training goes on from.

    Attributes:
        tensors: By part (`model`, `loss`, `optimizer`, …; without a dot) and name, on any device.
        values: What JSON can hold; `history` is among it.
    """

    tensors: Mapping[str, Mapping[str, Tensor]]
    values: Mapping[str, Any]


class Checkpoints:
    """When a run's checkpoint is written, and whether one that lies there may be used.

    Args:
        model: What is trained, and
        loss: by what, and
        data: from what: a checkpoint of others is refused.
        config: Resolved. Of it count `checkpoint_minutes`, `fresh`, and all that make the run's name.
    """

    def __init__(self, model: nn.Module, loss: nn.Module, data: Dataset, config: RunConfig) -> None:
        self.model, self.loss, self.data, self.config = model, loss, data, config
        self.path = checkpoint_path(config)
        self.last = time.monotonic()
        self.said: set[str] = set()

    @cached_property
    def owner(self) -> dict[str, Any]:
        """Whose checkpoint it is. Looked up when needed: for the fingerprint all data are read once."""
        fields = {name: value for name, value in self.config.to_dict().items() if name not in NOT_IN_RUN_ID}
        parts = {"data": self.data.fingerprint(), "model": outline(self.model), "loss": outline(self.loss)}
        return {"config": fields, **parts}

    def find(self) -> State | None:
        """The state to go on from; None where there is none, or none that can be used and the config says `fresh`.

        Raises:
            CheckpointError: There is one, and it cannot be used. It is left where it is.
        """
        if not self.config.checkpoint_minutes:
            return None
        with suppress(OSError):  # of a drive that can only be read
            remove_torn(self.path)
        if not self.path.exists():
            return None
        try:
            state = read_state(self.path, self.owner)
        except CheckpointError as error:
            if not self.config.fresh:
                raise CheckpointError(f"{error}; remove it, or start anew with fresh = True") from None
            say(f"{error}; the run starts anew")
            return None
        say(f"goes on after epoch {len(state.values['history'])} of {self.config.epochs} from {self.path}")
        return state

    def write_when_due(self, state: Callable[[], State]) -> None:
        """Writes a checkpoint where the last one is old enough. Where that fails, training goes on.

        Args:
            state: Asked only when it is due.
        """
        minutes = self.config.checkpoint_minutes
        if not minutes or time.monotonic() - self.last < 60 * minutes:
            return
        try:
            size = write_state(self.path, state(), self.owner)
            self.say_once("size", f"checkpoint: {size / 1e6:.1f} MB, every {minutes:g} minutes, {self.path}")
        except Exception as error:  # whatever it was, hours of training are worth more than their checkpoint
            reason = f"{type(error).__name__}: {first_line(error)}"
            self.say_once("failed", f"checkpoint: {self.path} cannot be written ({reason}); training goes on without")
        self.last = time.monotonic()

    def say_once(self, kind: str, line: str) -> None:
        """Prints the first line of each kind."""
        if kind not in self.said:
            say(line)
        self.said.add(kind)


def write_state(path: Path, state: State, owner: Mapping[str, Any]) -> int:
    """Writes a checkpoint, whole or not at all.

    Args:
        path: Of the file; its folder is made where there is none.
        state: What is kept.
        owner: Whose it is: `config`, a dictionary, and `data`, `model` and `loss`, a text each.

    Returns:
        Its size in bytes.

    Raises:
        OSError, SafetensorError: It could not be written; what lay there is still there.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "checkpoint.safetensors")
        >>> owner = {"config": {"bits": 16}, "data": "a", "model": "b", "loss": "c"}
        >>> write_state(path, State({"model": {"weight": torch.ones(2)}}, {"history": []}), owner) < 1000
        True
        >>> read_state(path, owner).tensors["model"]["weight"]
        tensor([1., 1.])
    """
    tensors = {
        f"{part}.{name}": tensor.to("cpu", copy=True, memory_format=torch.contiguous_format)
        for part, named in state.tensors.items()
        for name, tensor in named.items()
    }
    header = json.dumps({"owner": owner, "values": state.values})
    metadata = {"format": FORMAT, "header": header, "digest": digest(header, tensors)}
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, lambda temporary: save_file(tensors, temporary, metadata))
    return path.stat().st_size


def read_state(path: Path, owner: Mapping[str, Any]) -> State:
    """Reads a checkpoint of this owner.

    Args:
        path: Of the file.
        owner: As it was written with.

    Returns:
        What was kept, its tensors on the CPU.

    Raises:
        CheckpointError: The file is broken, of another format, or another's.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} is broken ({first_line(error)})") from None
    if metadata.get("format") != FORMAT:
        raise CheckpointError(f"{path} is of format {metadata.get('format')}; this version reads format {FORMAT}")
    header = metadata.get("header", "")
    if metadata.get("digest") != digest(header, tensors):
        raise CheckpointError(f"{path} is broken (its digest is not that of its content)")
    found = json.loads(header)
    other = difference(found["owner"], owner)
    if other:
        raise CheckpointError(f"{path} is of {other}")
    parts: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for full_name, tensor in tensors.items():
        part, name = full_name.split(".", 1)
        parts[part][name] = tensor
    return State(parts, found["values"])


def difference(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """What tells one owner of a checkpoint from another, in words; empty where nothing does.

    Example:
        >>> same = {"data": "a", "model": "b", "loss": "c"}
        >>> difference({"config": {"bits": 16, "seed": 0}, **same}, {"config": {"bits": 32, "seed": 0}, **same})
        'another config (bits 16, not 32)'
    """
    fields = [
        f"{name} {found['config'].get(name)}, not {value}"
        for name, value in wanted["config"].items()
        if json.dumps(found["config"].get(name)) != json.dumps(value)  # as JSON, since there a tuple is a list
    ]
    if fields:
        return f"another config ({', '.join(fields)})"
    names = {"data": "other data", "model": "another model", "loss": "another loss"}
    return next((words for part, words in names.items() if found[part] != wanted[part]), "")


def outline(module: nn.Module) -> str:
    """A hash of a module's build, not of its weights: types of its parts, names and shapes of its tensors.

    Example:
        >>> outline(nn.Linear(2, 3)) == outline(nn.Linear(2, 3)) != outline(nn.Linear(3, 2))
        True
    """
    parts = [f"{name} {type(part).__qualname__}" for name, part in module.named_modules()]
    shapes = [f"{name} {tuple(tensor.shape)}" for name, tensor in module.state_dict().items()]
    return hashlib.sha256("\n".join(parts + shapes).encode()).hexdigest()[:16]


def digest(header: str, tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of a header and of tensors on the CPU, with their names: safetensors itself sees no flipped bit."""
    sums = hashlib.sha256(header.encode())
    for name in sorted(tensors):
        sums.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)}".encode())
        sums.update(tensors[name].reshape(-1).view(torch.uint8).numpy())
    return sums.hexdigest()


def first_line(error: BaseException) -> str:
    """Of its text, which a package may fill a page with."""
    return (str(error).splitlines() or [""])[0]

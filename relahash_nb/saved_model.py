"""The file of a model: what is beside its tensors, how it is written, and how any file from elsewhere is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from relahash_nb.files import write
from relahash_nb.paths import project_path
from relahash_nb.registry import nearest_names

HEADER_BYTES = 2**21  # of names and shapes; the largest networks have a quarter, and a file of 400,000 names takes 34 s
ADVICE = "a run keeps it with save_weights all or trained"
Finite = Annotated[float, Field(allow_inf_nan=False)]
Deviation = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class ModelFacts(BaseModel):
    """What `HashModel.load` needs beside the tensors.

    Attributes:
        backbone: Its name; nothing is imported for it.
        bits: K.
        image_size: Height and width in pixels of the model's images.
        decoded_size: The same of the square that they are cut from.
        mean: By which images are normalised, one number a channel.
        std: Likewise, above 0.
        eps: Of the batch norm after the hash layer; None: there is none.
        weights: What a frozen backbone started from: `imagenet`, `none` or a path.
        weights_digest: Of the tensors that these weights give, which are not in the file; empty: all are in it.
    """

    model_config = ConfigDict(frozen=True, strict=True)

    backbone: Annotated[str, Field(max_length=200)]
    bits: Annotated[int, Field(ge=1, le=4096)]
    image_size: Annotated[int, Field(ge=8, le=4096)]
    decoded_size: Annotated[int, Field(ge=8, le=8192)]
    mean: Annotated[list[Finite], Field(min_length=3, max_length=3)]
    std: Annotated[list[Deviation], Field(min_length=3, max_length=3)]
    eps: Finite | None
    weights: str
    weights_digest: str

    @model_validator(mode="after")
    def _check_sizes(self) -> Self:
        if self.decoded_size < self.image_size:
            raise ValueError("decoded_size is below image_size")
        return self


def write_model_file(path: Path, facts: ModelFacts, tensors: Mapping[str, Tensor]) -> None:
    """Writes a safetensors file, whole or not at all; an OSError says why it cannot be written."""
    text = facts.model_dump_json()
    content = save(dict(tensors), {"relahash_nb": text, "digest": digest_of_file(text, tensors)})
    write(path, lambda temporary: temporary.write_bytes(content))  # readable as other files are


def find_model_file(run: Path | str) -> Path:
    """The file of a model, from a run's folder, its name in `results/runs`, or the file itself.

    Raises:
        ValueError: There is none of them; the line names the runs that are like it.
    """
    runs = project_path("results") / "runs"
    for path in (Path(run), runs / run):
        if path.is_dir():
            return path / "model.safetensors"
        if path.exists():
            return path
    hint = nearest_names(Path(run).name, [file.parent.name for file in runs.glob("*/model.safetensors")])
    raise ValueError(f"run: {str(run)!r} given; no such run in {runs}, and no such folder or file{hint}")


def read_model_file(path: Path) -> tuple[ModelFacts, dict[str, Tensor]]:
    """The facts and the tensors of a file; a ValueError of one line for any that `write_model_file` did not write."""
    try:
        tensors, metadata = read_safetensors(path)
        if "relahash_nb" not in metadata:
            raise ValueError("no metadata of relahash_nb")
        facts = parse_facts(metadata["relahash_nb"])
        check_tensors(facts, tensors)
        digest = metadata.get("digest")  # an older file has none
        if digest not in (None, digest_of_file(metadata["relahash_nb"], tensors)):
            raise ValueError("damaged: its digest is another")
    except (ValueError, RuntimeError, MemoryError) as error:
        reason = _one_line(error)
        raise ValueError(f"model: {str(path)!r} given; not a file of HashModel.save ({reason}); {ADVICE}") from None
    return facts, tensors


def read_safetensors(path: Path | str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a safetensors file, by name, and its metadata; a ValueError says why it cannot be read."""
    if not Path(path).is_file():  # a named pipe would be waited for
        raise ValueError("there is no such file")
    try:
        with Path(path).open("rb") as start:
            size = int.from_bytes(start.read(8), "little")
        if size > HEADER_BYTES:
            raise ValueError(f"its header says {size:,} bytes; allowed: {HEADER_BYTES:,}")
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            return tensors, file.metadata() or {}
    except (OSError, SafetensorError, RuntimeError, MemoryError) as error:
        raise ValueError(f"no safetensors file: {_one_line(error)}") from None


def parse_facts(text: str) -> ModelFacts:
    """The facts in the metadata of a file; a ValueError names the first that is wrong."""
    try:
        return ModelFacts.model_validate(json.loads(text))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "metadata"
        raise ValueError(f"{place}: {first['msg']}") from None
    except (ValueError, RecursionError):
        raise ValueError("its metadata is no JSON") from None


def check_tensors(facts: ModelFacts, tensors: Mapping[str, Tensor]) -> None:
    """Refuses tensors without a hash layer of these facts, and any that is not finite, with a ValueError."""
    layer = tensors.get("hash_layer.0.weight")
    if layer is None or layer.ndim != 2 or layer.shape[0] != facts.bits or layer.shape[1] == 0:
        given = "none" if layer is None else str(tuple(layer.shape))
        raise ValueError(f"hash_layer.0.weight: {given}; expected ({facts.bits}, features)")
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise ValueError(f"{_one_line(name)}: holds NaN or infinity")


def digest_of(tensors: Mapping[str, Tensor], text: str = "") -> str:
    """16 hexadecimal digits of a text and of tensors: names, dtypes, shapes and values."""
    digest = hashlib.sha256(text.encode())
    for name, tensor in tensors.items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def digest_of_file(facts: str, tensors: Mapping[str, Tensor]) -> str:
    """That of all that a file holds, whatever the order of its tensors."""
    return digest_of({name: tensors[name] for name in sorted(tensors)}, facts)


def _one_line(text: object) -> str:
    return " ".join(str(text).split())[:200]

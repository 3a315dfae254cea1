"""From picture files to packed codes."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from tqdm import tqdm

from relahash_nb.baselines import solve
from relahash_nb.config import RunConfig, project_path
from relahash_nb.datasets.images import FORMATS, IMAGE_SUFFIXES
from relahash_nb.features import for_inference
from relahash_nb.metrics import pack
from relahash_nb.models import HashModel, build_model, digest_of
from relahash_nb.training import find_device

BATCH = 16  # images of every forward pass: another shape may round a number near 0 to the other sign
COMMIT = 32  # pictures that are read, and then kept in an index, at a time
FIT = 20_000  # pictures, at most, that a baseline is fitted to
BASELINE = {"loss": "itq", "bits": 64, "image_size": 224}  # unless others are given


class Picture(NamedTuple):
    """A file: its digest, and the image; or where the same content is indexed, or why there is no image."""

    path: str
    digest: str = ""
    known: str | None = None
    image: Tensor | None = None
    fault: str = ""


class Hasher:
    """A model that hashes pictures; `load_hasher` makes it.

    Attributes:
        card: What names the model: run or baseline, bits, backbone, weights, preprocessing; `model` is a digest of all.
        content: The bytes of the model's file, which an index keeps.
    """

    def __init__(self, model: HashModel, content: bytes, device: str = "auto", **card: Any) -> None:
        facts = {name: model.facts[name] for name in ("image_size", "decoded_size", "mean", "std")}
        card |= {name: model.facts[name] for name in ("bits", "backbone", "weights", "weights_digest")}
        self.card = card | {"preprocessing": facts, "model": digest_of(model.state_dict(), json.dumps(facts))}
        self.content, self._model = content, model
        self._network = for_inference(model.to(find_device(device)), facts["image_size"], "fp32")

    @classmethod
    def from_content(cls, content: bytes, device: str = "auto", **card: Any) -> Hasher:
        """The hasher of a model file's bytes."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.safetensors")
            path.write_bytes(content)
            return cls(HashModel.load(path), content, device, **card)

    def __call__(self, pictures: Sequence[Any]) -> np.ndarray:
        """Packed codes (N, ⌈K/8⌉) uint8 of paths or PIL images; a ValueError names a picture that cannot be read."""
        codes = [np.empty((0, -(-self.card["bits"] // 8)), np.uint8)]
        for start in range(0, len(pictures), BATCH):
            images = torch.stack([read_picture(picture, self._model) for picture in pictures[start : start + BATCH]])
            padded = torch.cat([images, images.new_zeros(BATCH - len(images), *images.shape[1:])])
            with torch.inference_mode():
                codes.append(pack(self._network(padded.to(self._network.mean.device))[: len(images)].cpu()))
        return np.concatenate(codes)

    def hash_folder(
        self, folder: str | Path, find: Callable[[str], str | None] = lambda digest: None
    ) -> Iterator[tuple[list[Picture], np.ndarray]]:
        """A folder's pictures, COMMIT at a time, and the codes of those that have an image; names the broken ones."""
        for pictures in read_pictures(list_pictures(folder), self._model, find):
            for picture in pictures:
                if picture.fault:
                    print(f"skipped: {picture.path}: {picture.fault}", file=sys.stderr)
            yield pictures, self([picture.image for picture in pictures if picture.image is not None])


def load_hasher(
    run: str | Path | None = None, *, folder: str | Path | None = None, weights: str | None = None,
    device: str = "auto", **settings: Any,
) -> Hasher:  # fmt: skip
    """The model of a finished run; or, without one, a baseline fitted to the pictures of a folder.

    Args:
        run: A run's folder, its name in `results/runs`, or its `model.safetensors`.
        folder: What a baseline is fitted to: its pictures that can be read, at most 20,000 of them.
        weights: Of a baseline `imagenet`, `none` or a safetensors file; of a run where its backbone's weights lie now.
        device: `auto`, `cpu`, `cuda`.
        settings: Of a baseline: `backbone`, `bits`, `image_size`, `loss` (`itq`, `pcah` or `lsh`) as in `RunConfig`.

    Raises:
        ValueError: The run keeps no model, a value is not allowed, or the pictures are too few for so many bits.
    """
    if run is None:
        return _fit_baseline(folder, device, BASELINE | {"weights": weights or "imagenet"} | settings)
    path = Path(run) if Path(run).exists() else project_path("results") / "runs" / run
    path = path / "model.safetensors" if path.is_dir() else path
    model = HashModel.load(path, weights)
    return Hasher(model, path.read_bytes(), device, run=path.resolve().parent.name, loss=None)


def _fit_baseline(folder: str | Path | None, device: str, settings: dict[str, Any]) -> Hasher:
    """A frozen backbone, and a hash layer that is fitted to its features of a folder's pictures."""
    if settings["loss"] not in ("itq", "pcah", "lsh") or folder is None:
        given = f"loss: {settings['loss']!r}, folder: {folder!r} given"
        raise ValueError(f"{given}; allowed without a run: itq, pcah, lsh, and a folder")
    paths, features = list_pictures(folder), []
    config = RunConfig(finetune=False, augment="none", **settings).resolve()
    model = build_model(config).to(find_device(device)).eval()
    model.facts = dict(image_size=config.image_size, decoded_size=config.image_size)  # that `preprocess` reads
    for pictures in read_pictures(paths[:: -(-len(paths) // FIT) or 1], model):
        images = [picture.image for picture in pictures if picture.image is not None]
        with torch.no_grad():
            features += [model.features(torch.stack(images).to(model.mean.device)).cpu()] if images else []
    if not features:
        raise ValueError(f"folder: {str(folder)!r} given, and no picture in it can be read")
    solve(model.cpu(), torch.cat(features), torch.ones(sum(map(len, features)), 1), config)
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary, "model.safetensors")
        model.save(path, config)
        return Hasher.from_content(path.read_bytes(), device, run=None, loss=config.loss)


def list_pictures(folder: str | Path) -> list[Path]:
    """Every picture below a folder, told by the file's suffix, in order of their paths; ValueError: no such folder."""
    if not Path(folder).is_dir():
        raise ValueError(f"folder: {str(folder)!r} given, and there is no such folder")
    return sorted(path for path in Path(folder).absolute().rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)


def read_picture(picture: Any, model: HashModel) -> Tensor:
    """(3, S, S) of a path, a file's bytes, a PIL image or such a tensor; a ValueError says in one line why not."""
    if isinstance(picture, Tensor | Image.Image):
        return picture if isinstance(picture, Tensor) else model.preprocess(picture)
    inside = isinstance(picture, bytes)
    try:
        with Image.open(BytesIO(picture) if inside else picture, formats=FORMATS) as image:
            return model.preprocess(image)
    except Exception as error:  # what a broken file makes Pillow raise is no closed list
        raise ValueError(("" if inside else f"{picture}: ") + reason(error)) from None


def read_pictures(
    paths: Sequence[Path], model: HashModel, find: Callable[[str], str | None] = lambda digest: None
) -> Iterator[list[Picture]]:
    """Files, each read once, COMMIT at a time; what `find` gives a path for is not decoded."""

    def read(path: Path) -> Picture:
        try:
            content, name = path.read_bytes(), str(path).encode().decode()  # a name that is not UTF-8 is refused
            digest = hashlib.sha256(content).hexdigest()
            known = find(digest)
            return Picture(name, digest, known, None if known else read_picture(content, model))
        except (OSError, ValueError) as error:
            return Picture(os.fsencode(path).decode(errors="replace"), fault=reason(error))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in tqdm(range(0, len(paths), COMMIT), unit_scale=COMMIT, unit=" pictures", disable=None, delay=2):
            yield list(pool.map(read, paths[start : start + COMMIT]))


def reason(error: Exception) -> str:
    """An error's message in one line."""
    if isinstance(error, UnidentifiedImageError):
        return "not a readable picture"
    return " ".join((getattr(error, "strerror", None) or str(error)).split())

"""From picture files to packed codes."""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from relahash_nb.baselines import solve
from relahash_nb.config import RunConfig
from relahash_nb.datasets.images import FORMATS, IMAGE_SUFFIXES
from relahash_nb.files import watch
from relahash_nb.inference import for_inference
from relahash_nb.metrics import pack
from relahash_nb.models import HashModel, build_model, digest_of, find_device
from relahash_nb.results import load_run

BATCH = 16  # images of every forward pass: another shape may round a number near 0 to the other sign
COMMIT = 32  # pictures that are read, and then kept in an index, at a time
FIT = 20_000  # pictures, at most, that a baseline is fitted to
BASELINE = {"loss": "itq", "bits": 64, "image_size": 224}  # unless others are given


class Hasher:
    """A saved model that hashes pictures; `load_hasher` makes it.

    Attributes:
        card: What names the model: run or baseline, bits, backbone, weights, preprocessing; `model` is a digest of all.
        content: The bytes of its file, which an index keeps.
    """

    def __init__(self, path: Path, weights: str | None = None, device: str = "auto", **card: Any) -> None:
        self.device, self._model, self.content = device, HashModel.load(path, weights), path.read_bytes()
        known = self._model.facts
        facts = {name: known[name] for name in ("image_size", "decoded_size", "mean", "std")}
        self.card = card | {name: known[name] for name in ("bits", "backbone", "weights", "weights_digest")}
        self.card |= {"preprocessing": facts, "model": digest_of(self._model.state_dict(), json.dumps(facts))}
        self._network = for_inference(self._model.to(find_device(device)), facts["image_size"], "fp32")

    def __call__(self, pictures: Sequence[Any]) -> np.ndarray:
        """Packed codes (N, ⌈K/8⌉) uint8 of paths, files' bytes or PIL images; a ValueError names an unreadable one."""
        codes = [np.empty((0, -(-self.card["bits"] // 8)), np.uint8)]
        for start in range(0, len(pictures), BATCH):
            images = torch.stack([read_picture(picture, self._model) for picture in pictures[start : start + BATCH]])
            padded = torch.cat([images, images.new_zeros(BATCH - len(images), *images.shape[1:])])
            with torch.inference_mode():
                codes.append(pack(self._network(padded.to(self._network.mean.device))[: len(images)].cpu()))
        return np.concatenate(codes)

    def hash_files(self, paths: Sequence[Path], known: Callable[[str], Any] = lambda digest: None) -> Iterator[tuple]:
        """COMMIT pictures at a time: digests and paths, codes, how many are known, and what is wrong with others."""
        for found, count, faults in read_pictures(paths, self._model, known):
            yield [row[:2] for row in found], self([image for *_, image in found]), count, faults


def load_hasher(
    run: str | Path | None = None, *, folder: str | Path | None = None, weights: str | None = None,
    device: str = "auto", **settings: Any,
) -> Hasher:  # fmt: skip
    """The model of a finished run; or, without one, a baseline fitted to the pictures of a folder.

    A ValueError says that the run keeps no model, that a value is not allowed, or that the pictures are too few.

    Args:
        run: A run's folder, its name in `results/runs`, or its `model.safetensors`.
        folder: What a baseline is fitted to: its pictures that can be read, at most 20,000 of them.
        weights: Of a baseline `imagenet`, `none` or a safetensors file; of a run where its backbone's weights lie now.
        device: `auto`, `cpu`, `cuda`.
        settings: Of a baseline: `backbone`, `bits`, `image_size`, `loss` (`itq`, `pcah` or `lsh`) as in `RunConfig`.
    """
    if run is None:
        return _fit_baseline(folder, device, BASELINE | {"weights": weights or "imagenet"} | settings)
    if settings:
        raise ValueError(f"{next(iter(settings))}: given beside a run, which has its own")
    path = Path(run) if Path(run).is_file() else load_run(run).folder / "model.safetensors"
    return Hasher(path, weights, device, run=path.resolve().parent.name, loss=None)


def _fit_baseline(folder: str | Path | None, device: str, settings: dict[str, Any]) -> Hasher:
    """A frozen backbone, and a hash layer that is fitted to its features of a folder's pictures."""
    if "backbone" not in settings:
        raise ValueError("run, backbone: not given; needed: a finished run, or a backbone for a baseline")
    if settings["loss"] not in ("itq", "pcah", "lsh") or folder is None:
        given = f"loss: {settings['loss']!r}, folder: {folder!r} given"
        raise ValueError(f"{given}; allowed without a run: itq, pcah, lsh, and a folder")
    paths, features = list_pictures(folder), []
    config = RunConfig(finetune=False, augment="none", device=device, **settings)
    model = build_model(config).eval()
    model.facts = dict(image_size=config.image_size, decoded_size=config.image_size)  # that `preprocess` reads
    network = for_inference(model, config.image_size, "fp32")
    paths = paths[:: -(-len(paths) // FIT) or 1]
    for found, *_ in watch(read_pictures(paths, model), -(-len(paths) // COMMIT), "pictures"):
        images = [image for *_, image in found]
        with torch.no_grad():
            features += [network.features(torch.stack(images).to(network.mean.device)).cpu()] if images else []
    if not features:
        raise ValueError(f"folder: {str(folder)!r} given, and no picture in it can be read")
    solve(model.cpu(), torch.cat(features), torch.ones(sum(map(len, features)), 1), config)
    with tempfile.TemporaryDirectory() as temporary:
        model.save(path := Path(temporary, "model.safetensors"), config)
        return Hasher(path, None, device, run=None, loss=config.loss)


def list_pictures(folder: str | Path) -> list[Path]:
    """Every picture below a folder, told by the file's suffix, in order of their paths; ValueError: there is none."""
    if not (found := sorted(one for one in Path(folder).absolute().rglob("*") if one.suffix.lower() in IMAGE_SUFFIXES)):
        what = f"no {', '.join(IMAGE_SUFFIXES)} is in it" if Path(folder).is_dir() else "there is no such folder"
        raise ValueError(f"folder: {str(folder)!r} given, and {what}")
    return found


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
    paths: Sequence[Path], model: HashModel, known: Callable[[str], Any] = lambda digest: None
) -> Iterator[tuple[list[tuple[str, str, Tensor]], int, list[str]]]:
    """Digests, paths and images, COMMIT at a time; how many are known, and not decoded; what is wrong with others."""

    def read(path: Path) -> tuple[str, str, Tensor] | str | None:
        try:
            content, name = path.read_bytes(), str(path).encode().decode()  # a name that is not UTF-8 is refused
            digest = hashlib.sha256(content).hexdigest()
            return None if known(digest) else (digest, name, read_picture(content, model))
        except (OSError, ValueError) as error:
            return f"{os.fsencode(path).decode(errors='replace')}: {reason(error)}"

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(paths), COMMIT):
            found = list(pool.map(read, paths[start : start + COMMIT]))
            faults = [one for one in found if isinstance(one, str)]
            yield [one for one in found if isinstance(one, tuple)], found.count(None), faults


def reason(error: Exception) -> str:
    """An error's message in one line."""
    unknown = isinstance(error, UnidentifiedImageError)
    return "not a readable picture" if unknown else " ".join((getattr(error, "strerror", None) or str(error)).split())

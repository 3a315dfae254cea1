"""From pictures to packed codes, by the model of a run or by a baseline."""

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from relahash_nb.baselines import solve
from relahash_nb.config import RunConfig
from relahash_nb.files import watch
from relahash_nb.inference import for_inference
from relahash_nb.metrics import pack
from relahash_nb.models import HashModel, build_model, digest_of, find_device
from relahash_nb.results import load_run
from relahash_search.pictures import COMMIT, Batch, File, list_pictures, read_picture, read_pictures

BATCH = 16  # images of every forward pass: another shape may round a number near 0 to the other sign
FIT = 20_000  # pictures, at most, that a baseline is fitted to
BASELINE_LOSSES = ("itq", "pcah", "lsh")
BASELINE_DEFAULTS = {"loss": "itq", "bits": 64, "image_size": 224}


class Hasher:
    """A saved model that hashes pictures; `load_hasher` makes it.

    Args:
        path: File of `HashModel.save`.
        run: Name of the run that trained the model; None for a baseline.
        loss: Name of the baseline; None for a run.
        weights: Where the weights of a frozen backbone lie now; None: where the file says.
        device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.

    Attributes:
        card: What names the model: run or baseline, bits, backbone, weights, preprocessing; `model` is a digest of all.
        content: The bytes of the model's file, which an index keeps.
    """

    def __init__(
        self, path: Path, run: str | None, loss: str | None, weights: str | None = None, device: str = "auto"
    ) -> None:
        self.device = device
        self.content = path.read_bytes()
        self._model = HashModel.load(path, weights)
        facts = self._model.facts
        preprocessing = {name: facts[name] for name in ("image_size", "decoded_size", "mean", "std")}
        self.card: dict[str, Any] = {
            "run": run,
            "loss": loss,
            "bits": facts["bits"],
            "backbone": facts["backbone"],
            "weights": facts["weights"],
            "weights_digest": facts["weights_digest"],
            "preprocessing": preprocessing,
            "model": digest_of(self._model.state_dict(), json.dumps(preprocessing)),
        }
        self._device = find_device(device)
        self._network = for_inference(self._model.to(self._device), facts["image_size"], "fp32")

    def __call__(self, pictures: Sequence[File | Image.Image]) -> np.ndarray:
        """Hash pictures: packed codes (N, ⌈K/8⌉) uint8; a ValueError names a picture that cannot be read."""
        codes = [self.hash([])]
        for start in range(0, len(pictures), BATCH):
            images = [read_picture(picture, self._model) for picture in pictures[start : start + BATCH]]
            codes.append(self.hash(images))
        return np.concatenate(codes)

    def hash(self, images: Sequence[Tensor]) -> np.ndarray:
        """Hash N images (3, S, S), as `read` gives them: packed codes (N, ⌈K/8⌉) uint8."""
        codes = [np.empty((0, ceil(self.card["bits"] / 8)), np.uint8)]
        for start in range(0, len(images), BATCH):
            batch = torch.stack(list(images[start : start + BATCH]))  # (B, 3, S, S)
            padding = batch.new_zeros(BATCH - len(batch), *batch.shape[1:])
            padded = torch.cat([batch, padding]).to(self._device)
            with torch.inference_mode():
                outputs = self._network(padded)[: len(batch)]  # (B, K)
            codes.append(pack(outputs.cpu()))
        return np.concatenate(codes)

    def read(self, paths: Sequence[Path], is_known: Callable[[str], bool] | None = None) -> Iterator[Batch]:
        """Read picture files as this model takes them; see `read_pictures`."""
        return read_pictures(paths, self._model, is_known)


def load_hasher(
    run: str | Path | None = None,
    *,
    folder: str | Path | None = None,
    weights: str | None = None,
    device: str = "auto",
    **settings: Any,
) -> Hasher:
    """Load the model of a finished run; or, without one, fit a baseline to the pictures of a folder.

    Args:
        run: A run's folder, its name in `results/runs`, or its `model.safetensors`.
        folder: What a baseline is fitted to: its pictures that can be read, at most 20,000 of them.
        weights: Of a baseline `imagenet`, `none` or a safetensors file; of a run where its backbone's weights lie now.
        device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.
        settings: Of a baseline: `backbone`, `bits`, `image_size`, `loss` (`itq`, `pcah` or `lsh`) as in `RunConfig`.

    Raises:
        ValueError: The run keeps no model, a value is not allowed, or the pictures are too few.
    """
    if run is None:
        baseline = BASELINE_DEFAULTS | {"weights": weights or "imagenet"} | settings
        return _fit_baseline(folder, device, baseline)
    if settings:
        name = next(iter(settings))
        raise ValueError(f"{name}: {settings[name]!r} given beside a run; allowed: without a run")
    path = Path(run)
    if not path.is_file():
        path = load_run(run).folder / "model.safetensors"
    name = path.resolve().parent.name
    return Hasher(path, run=name, loss=None, weights=weights, device=device)


def _fit_baseline(folder: str | Path | None, device: str, settings: dict[str, Any]) -> Hasher:
    """Fit a hash layer to the features that a frozen backbone has of a folder's pictures."""
    if "backbone" not in settings:
        raise ValueError("run, backbone: not given; needed: a finished run, or a backbone for a baseline")
    if settings["loss"] not in BASELINE_LOSSES:
        raise ValueError(f"loss: {settings['loss']!r} given; allowed without a run: {', '.join(BASELINE_LOSSES)}")
    if folder is None:
        raise ValueError("folder: not given; needed: pictures that the baseline is fitted to")
    paths = list_pictures(folder)
    config = RunConfig(finetune=False, augment="none", device=device, **settings)
    model = build_model(config).eval()
    features = _features(model, paths[:: ceil(len(paths) / FIT)], find_device(device))
    if len(features) == 0:
        raise ValueError(f"folder: {str(folder)!r} given, and no picture in it can be read")
    targets = torch.ones(len(features), 1)  # a baseline needs no classes
    solve(model.cpu(), features, targets, config)
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary, "model.safetensors")
        model.save(path, config)
        return Hasher(path, run=None, loss=config.loss, device=device)


def _features(model: HashModel, paths: Sequence[Path], device: torch.device) -> Tensor:
    """Features (N, F) of the N pictures that can be read."""
    network = for_inference(model, model.image_size or 0, "fp32")
    batches = read_pictures(paths, model)
    features: list[Tensor] = []
    for batch in watch(batches, ceil(len(paths) / COMMIT), "pictures"):
        if batch.images:
            images = torch.stack(batch.images).to(device)  # (B, 3, S, S)
            with torch.no_grad():
                features.append(network.features(images).cpu())
    return torch.cat(features) if features else torch.empty(0, 0)

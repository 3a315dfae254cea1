"""Codes of pictures under one setting of the processor or of the decoder: `python -m benchmarks.other_tools.signs`.

Instruction sets are chosen by environment variables that torch reads when it starts, so each setting has a process of
its own. It writes codes before the sign, float32 (N, K).
"""

from __future__ import annotations

import argparse
import io
import itertools

import numpy as np
import torch
from PIL import Image
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.io import decode_jpeg
from torchvision.models import mobilenet_v3_small
from torchvision.transforms.v2 import functional as transforms

from relahash_nb.models import HashModel

ENLARGED = 448  # pixels a side of the stored photographs; an eighth of it, which a draft may take, is 56


class MobileNet(torch.nn.Module):
    """MobileNetV3-small with weights drawn from seed 0: images (B, 3, S, S) from 0 to 1 to features (B, 576)."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.backbone = mobilenet_v3_small(weights=None).features.eval()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        enlarged = torch.nn.functional.interpolate(images, size=(224, 224), mode="bilinear")
        return self.backbone((enlarged - 0.5) / 0.25).mean((2, 3))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run", help="a run's folder, or mobilenet: features of the network without weights")
    parser.add_argument("pictures", help="an .npz with `images`, uint8 (N, S, S)")
    parser.add_argument("output")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16", "fp64"))
    parser.add_argument("--layout", default="contiguous", choices=("contiguous", "channels_last"))
    parser.add_argument("--no-onednn", action="store_true")
    parser.add_argument("--folded", action="store_true", help="batch norms multiplied into the convolutions")
    parser.add_argument("--decode", default="none", choices=tuple(DECODERS))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.backends.mkldnn.enabled = not options.no_onednn
    model = MobileNet() if options.run == "mobilenet" else HashModel.load(options.run)
    if options.folded:
        fold(model)
    images = DECODERS[options.decode](np.load(options.pictures)["images"])
    np.save(options.output, encode(model, images, options))


def encode(model: torch.nn.Module, images: np.ndarray, options) -> np.ndarray:
    """Codes (N, K) float32, before the sign, of grey images uint8 (N, S, S)."""
    if options.precision == "fp64":
        model.double()
    if options.layout == "channels_last":
        model.to(memory_format=torch.channels_last)
    codes = []
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=options.precision == "bf16"):
        for start in range(0, len(images), options.batch):
            batch = torch.from_numpy(images[start : start + options.batch])[:, None].expand(-1, 3, -1, -1) / 255
            if options.precision == "fp64":
                batch = batch.double()
            if options.layout == "channels_last":
                batch = batch.contiguous(memory_format=torch.channels_last)
            codes.append(model(batch).float())
    return torch.cat(codes).numpy()


def fold(model: torch.nn.Module) -> None:
    """Multiplies each batch norm of the backbone into the convolution before it."""
    modules = list(model.backbone.named_modules())
    for (name, first), (norm_name, second) in itertools.pairwise(modules):
        if isinstance(first, torch.nn.Conv2d) and isinstance(second, torch.nn.BatchNorm2d):
            model.backbone.set_submodule(name, fuse_conv_bn_eval(first, second))
            model.backbone.set_submodule(norm_name, torch.nn.Identity())


def as_jpeg(image: np.ndarray, side: int, quality: int) -> bytes:
    """A grey picture, enlarged and stored as JPEG."""
    file = io.BytesIO()
    Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC).save(file, "JPEG", quality=quality)
    return file.getvalue()


def pillow(content: bytes, side: int, draft: bool = False) -> np.ndarray:
    """A JPEG file by Pillow, made smaller to `side` pixels; with `draft` the decoder itself may leave out pixels."""
    image = Image.open(io.BytesIO(content))
    if draft:
        image.draft("L", (2 * side, 2 * side))
    if image.width != side:
        image = image.resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(image)


def torchvision(content: bytes, side: int) -> np.ndarray:
    """The same by torchvision's decoder; Pillow makes it smaller."""
    image = decode_jpeg(torch.frombuffer(bytearray(content), dtype=torch.uint8))[0].numpy()
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR))


def torchvision_resized(content: bytes, side: int) -> np.ndarray:
    """Decoded and made smaller by torchvision, with antialiasing."""
    image = decode_jpeg(torch.frombuffer(bytearray(content), dtype=torch.uint8))
    return transforms.resize(image, [side, side], antialias=True)[0].numpy()


def every(decode):
    """A decoder for a stack of pictures that are enlarged and stored as JPEG of quality 90."""
    return lambda images: np.stack([decode(as_jpeg(image, ENLARGED, 90), image.shape[0]) for image in images])


DECODERS = {
    "none": lambda images: images,
    "small_jpeg_95": lambda images: np.stack([pillow(as_jpeg(image, len(image), 95), len(image)) for image in images]),
    "pillow": every(pillow),
    "pillow_draft": every(lambda content, side: pillow(content, side, draft=True)),
    "torchvision": every(torchvision),
    "torchvision_resized": every(torchvision_resized),
}


if __name__ == "__main__":
    main()

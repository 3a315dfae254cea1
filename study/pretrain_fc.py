"""A pretraining of our own for AlexNet's fc6 and fc7, where a file has no weights but those of its convolutions.

    python -m study.pretrain_fc

The convolutions stay as they are. They see each photograph of a data set in list format, whole and in random crops, at
224 pixels; and fc6, fc7 and fc8 learn from their features two things at once: the photographs' own classes, and the
1,000 logits that EfficientNet-Lite0 gives for the same crops (distillation: Hinton et al. 2015, arXiv 1503.02531; the
same crops: Beyer et al. 2022, arXiv 2106.05237). The file that is written has torchvision's names, `features.*`,
`classifier.1.*` (fc6) and `classifier.4.*` (fc7): `relahash train --backbone alexnet --weights FILE` takes all of them
as pretrained.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate
from torch.optim.lr_scheduler import OneCycleLR
from torchvision.models import alexnet

from relahash_nb.backbones import with_normalisation
from relahash_nb.config import RunConfig
from relahash_nb.datasets import Pool, load_dataset, prepare
from relahash_nb.features import decode_images
from relahash_nb.files import watch, write
from relahash_nb.inference import autocast
from relahash_nb.models import HashModel, read_pretrained, read_weights

TEACHER = "tf_efficientnet_lite0"  # in timm
TEACHER_LOGITS = 1000
IMAGE_SIZE = 224  # pixels that AlexNet sees
TEACHER_SIZE = 160  # pixels that the teacher sees, of the same crop
PHOTO_SIZE = 84  # pixels of miniImageNet's photographs, as they are kept
BATCH = 256
LR = 3e-4
WEIGHT_DECAY = 0.01
TEMPERATURE = 2.0  # of the distillation
CPU = torch.device("cpu")


def main() -> None:
    """Read the command line, and pretrain."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--root", default="data/miniimagenet100_10k", help="photographs, in list format")
    parser.add_argument("--convolutions", default="data/weights/alexnet_features_imagenet1k.safetensors")
    parser.add_argument("--teacher", default=f"data/weights/{TEACHER}.safetensors", help="with its classifier")
    parser.add_argument("--output", type=Path, default=Path("data/weights/alexnet_distilled.safetensors"))
    parser.add_argument("--views", type=int, default=5, help="of each photograph: the whole, and random crops")
    parser.add_argument("--epochs", type=int, default=8, help="passes over all views")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    try:
        pretrain(options)
    except ValueError as error:  # data or weights that are not there
        parser.exit(2, f"{error}\n")


def pretrain(options: argparse.Namespace) -> None:
    """Compute the features, train the three layers, and write the file."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    config = RunConfig(dataset="lists", root=options.root, image_size=PHOTO_SIZE, augment="none")
    pool = decode_images(load_dataset(config), config).pool
    trunk, teacher = build_trunk(options.convolutions), build_teacher(options.teacher)
    views = [compute_view(pool, trunk, teacher, number) for number in range(options.views)]
    features = torch.cat([view[0] for view in views])  # (V·M, 9216)
    logits = torch.cat([view[1] for view in views])  # (V·M, 1000)
    labels = pool.targets.repeat(options.views, 1)  # (V·M, C)

    classifier = alexnet(num_classes=TEACHER_LOGITS + labels.shape[1]).classifier
    learn(classifier, features, logits, labels, options.epochs)
    tensors = name_tensors(trunk, classifier)
    write(options.output, lambda path: save_file(tensors, path))
    print(options.output)


def build_trunk(weights: str) -> HashModel:
    """AlexNet's convolutions with the weights of a file; its features are pool5, (B, 9216)."""
    network = alexnet()
    network.load_state_dict(read_pretrained(network, "alexnet", weights), strict=False)
    return HashModel(nn.Sequential(network.features, network.avgpool), feature_size=9216, bits=1).eval()


def build_teacher(weights: str) -> HashModel:
    """EfficientNet-Lite0 with its classifier and the weights of a file; its features are the logits, (B, 1000)."""
    network = timm.create_model(TEACHER, num_classes=TEACHER_LOGITS)
    network.load_state_dict(read_weights(weights))
    expected = timm.data.resolve_model_data_config(network)
    normalised = with_normalisation(network, expected["mean"], expected["std"])
    return HashModel(normalised, feature_size=TEACHER_LOGITS, bits=1).eval()


def compute_view(pool: Pool, trunk: HashModel, teacher: HashModel, number: int) -> tuple[Tensor, Tensor]:
    """What trunk and teacher give for one view of all M photographs.

    Args:
        pool: M decoded photographs.
        trunk: Gives the features.
        teacher: Gives the logits.
        number: Of the view, from 0: the first is of whole photographs, the others are of random crops, mirrored or not.

    Returns:
        Features (M, 9216) bfloat16 and logits (M, 1000) float32.
    """
    augment = "resized_crop" if number else "none"
    generator = torch.Generator().manual_seed(number)
    batches = torch.arange(len(pool.ids)).split(64)
    features, logits = [], []
    with torch.inference_mode(), autocast(CPU, "bf16"):
        for rows in watch(batches, len(batches), f"view {number + 1}"):
            images = prepare(pool.images[rows], IMAGE_SIZE, augment, generator)
            images = images.contiguous(memory_format=torch.channels_last)
            small = interpolate(images, size=TEACHER_SIZE, mode="bilinear", antialias=True)
            features.append(trunk.features(images).bfloat16())
            logits.append(teacher.features(small).float())
    return torch.cat(features).clone(), torch.cat(logits).clone()  # cloned out of inference mode


def learn(classifier: nn.Module, features: Tensor, logits: Tensor, labels: Tensor, epochs: int) -> list[float]:
    """Train layers in place to give the teacher's logits, and after them the photographs' own classes.

    Args:
        classifier: Features (B, F) to (B, T + C); its dropout is on.
        features: (N, F).
        logits: (N, T) of the teacher.
        labels: (N, C) one-hot.
        epochs: Passes over the features.

    Returns:
        The mean loss of each epoch.
    """
    teacher_logits = logits.shape[1]
    steps = math.ceil(len(features) / BATCH)  # of an epoch
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=LR, weight_decay=WEIGHT_DECAY, fused=True)
    schedule = OneCycleLR(optimizer, LR, total_steps=steps * epochs)
    classifier.train()
    history = []
    for epoch in range(1, epochs + 1):
        order = torch.randperm(len(features)).split(BATCH)
        losses, hits = [], []
        for rows in watch(order, steps, f"epoch {epoch}"):
            with autocast(CPU, "bf16"):
                outputs = classifier(features[rows])
            by_teacher, by_class = outputs.float().split([teacher_logits, labels.shape[1]], dim=1)
            soft_targets = (logits[rows] / TEMPERATURE).softmax(1)
            distillation = cross_entropy(by_teacher / TEMPERATURE, soft_targets) * TEMPERATURE**2
            loss = distillation + cross_entropy(by_class, labels[rows].float())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
            hits.append((by_class.argmax(1) == labels[rows].argmax(1)).float().mean().item())
        history.append(sum(losses) / steps)
        print(f"epoch {epoch}/{epochs}  loss {history[-1]:.4f}  accuracy {sum(hits) / steps:.4f}", flush=True)
    return history


def name_tensors(trunk: HashModel, classifier: nn.Module) -> dict[str, Tensor]:
    """The tensors of the convolutions, fc6 and fc7 by torchvision's names; fc8 is left out."""
    tensors = {}
    for name, tensor in trunk.backbone.state_dict().items():
        tensors[name.replace("0.", "features.", 1)] = tensor.contiguous()
    for layer in ("1", "4"):  # fc6 and fc7
        for name, tensor in classifier.get_submodule(layer).state_dict().items():
            tensors[f"classifier.{layer}.{name}"] = tensor.contiguous()
    return tensors


if __name__ == "__main__":
    main()

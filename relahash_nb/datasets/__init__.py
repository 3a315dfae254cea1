"""Data sets by name: `load_dataset` gives the splits, checks them and adds validation."""

from dataclasses import replace

from relahash_nb.config import RunConfig
from relahash_nb.datasets.checks import DataError, check_splits
from relahash_nb.datasets.images import AUGMENTATIONS, FileImages, prepare
from relahash_nb.datasets.lists import PUBLISHED, read_list
from relahash_nb.datasets.sampling import class_members, classes_and_images, draw_batches
from relahash_nb.datasets.sources import split_pool
from relahash_nb.datasets.splits import RULES, Dataset, Finding, Pool, Split
from relahash_nb.pictures import CROPS
from relahash_nb.registry import BASELINES, DATASETS, DIRECTIONS, load

__all__ = [
    "AUGMENTATIONS", "PUBLISHED", "RULES", "DataError", "Dataset", "FileImages", "Finding", "Pool", "Split",
    "check_batch_size", "describe_classes", "describe_dataset", "draw_batches", "inspect_dataset", "load_dataset",
    "prepare", "read_list", "split_pool",
]  # fmt: skip


def load_dataset(config: RunConfig) -> Dataset:
    """The splits that a config names, on the CPU, with what the checks have to say; files are not yet decoded.

    Raises:
        DataError: What is listed cannot be read, contradicts itself, or lets the model learn from the queries.
        ValueError: The data are missing or do not fit the config.

    Example:
        >>> data = load_dataset(RunConfig(dataset="fashion_mini"))
        >>> len(data.train), len(data.query), len(data.database), data.class_names[9]
        (3000, 500, 6500, 'Ankle boot')
    """
    data = inspect_dataset(config)
    if any(finding.level == "error" for finding in data.findings):
        raise DataError(data.findings)
    data = data.with_validation(config.validation_per_class, config.split_seed)
    check_batch_size(config, data)
    check_bits(config, data)
    return data


def check_batch_size(config: RunConfig, data: Dataset) -> None:
    """Refuse a batch that the train split cannot fill, as the config's sampler does it; a baseline has no batches."""
    if config.loss in BASELINES:
        return
    if config.batch_size <= len(data.train):
        if config.sampler == "classes":
            classes_and_images(config.batch_size, len(class_members(data)))
        return
    allowed = f"at most {len(data.train)}, the training images"
    if len(data.validation):
        allowed += " that validation leaves"
    raise ValueError(f"batch_size: {config.batch_size} given; allowed: {allowed}")


def check_bits(config: RunConfig, data: Dataset) -> None:
    """Refuse more bits than a baseline finds directions, with a ValueError: each needs a training image."""
    count = len(data.train)
    if config.loss in DIRECTIONS and config.bits > count:
        fewer = 1 << (max(count, 1).bit_length() - 1)  # the power of two up to it
        remedy = f"--bits {fewer}, or --loss lsh, which needs no training images"
        raise ValueError(f"bits: {config.bits} given; {config.loss} finds {count} in {count} training images; {remedy}")


def inspect_dataset(config: RunConfig, all_images: bool = False) -> Dataset:
    """The same without a refusal: what could be read, with the findings, errors first.

    With `augment` `crop` or `resized_crop` (imagenet100, coco, nuswide_21) files are kept at 8/7 of `image_size`, and
    a model is tested on their centre: the shorter side at 256 pixels, then the middle 224. The published code does so
    for NUS-WIDE; for ImageNet100 it resizes to 224 and assumes that the files were cropped before.

    Args:
        config: Which data set, and where.
        all_images: Whether every file is decoded, instead of a few.

    Raises:
        ValueError: There is nothing to inspect.
    """
    data = load(DATASETS, config.dataset)(config)
    if not isinstance(data, Dataset):
        given = type(data).__name__
        raise ValueError(f"{config.dataset}: gave a {given}; expected a Dataset (see Dataset.from_arrays)")
    data = data.with_pool(replace(data.pool, image_size=config.image_size, centre=config.augment in CROPS))
    notes = PUBLISHED.get(config.dataset, {}).get("notes", {})
    findings = []
    for finding in (*data.findings, *check_splits(data, config.drop_self_matches, all_images)):
        if finding.rule in notes:
            finding = replace(finding, text=f"{finding.text} ({notes[finding.rule]})")
        findings.append(finding)
    findings.sort(key=lambda finding: ("error", "warning", "note").index(finding.level))
    return replace(data, findings=tuple(findings))


def describe_classes(data: Dataset) -> list[str]:
    """The classes by name, with the number of their images in train, query and database; a line each.

    Example:
        >>> describe_classes(load_dataset(RunConfig()))[9]
        'Ankle boot: 300 train, 50 query, 650 database'
    """
    parts = {"train": data.train, "query": data.query, "database": data.database}
    counts = {name: (split.targets > 0).sum(0).tolist() for name, split in parts.items()}
    lines = []
    for label, class_name in enumerate(data.class_names):
        listed = [f"{counts[name][label]:,} {name}" for name in parts]
        lines.append(f"{class_name}: {', '.join(listed)}")
    return lines


def describe_dataset(data: Dataset) -> str:
    """Counts, in one line.

    Example:
        >>> describe_dataset(load_dataset(RunConfig()))
        'fashion_mini: 3,000 train, 500 query, 6,500 database images; 10 classes, one label an image'
    """
    counts = f"{len(data.train):,} train, {len(data.query):,} query, {len(data.database):,} database images"
    labels = "several labels" if data.multi_label else "one label"
    return f"{data.name}: {counts}; {len(data.class_names)} classes, {labels} an image"

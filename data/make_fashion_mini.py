"""Make `fashion_mini.npz`, the small data set kept in this repository, from the official Fashion-MNIST.

    python data/make_fashion_mini.py FOLDER

FOLDER holds the four official files, `train-images-idx3-ubyte.gz` and so on: `data/FashionMNIST/raw` once
torchvision has downloaded the set, or `/usr/share/datasets/fashion-mnist` of Debian's dataset-fashion-mnist.
What is written is the same every time, byte for byte; `README.md` beside this file says what is in it.
"""

import argparse
import gzip
import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np

CLASS_NAMES = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
]
TRAIN, DATABASE_ONLY, QUERY = 0, 1, 2  # the values of `split`; train items are in the database too
TRAIN_PER_CLASS, DATABASE_PER_CLASS, QUERY_PER_CLASS = 300, 650, 50
SEED = 2023

# SHA-256 of the unpacked files: a gzip header holds a name and a date, and Debian's differ from Zalando's.
CHECKSUMS = {
    "train-images-idx3-ubyte.gz": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte.gz": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte.gz": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte.gz": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}


def read_official(folder: Path, name: str) -> np.ndarray:
    """Read one official file: images (N, 28, 28) or labels (N,), uint8."""
    content = gzip.decompress((folder / name).read_bytes())
    found = hashlib.sha256(content).hexdigest()
    if found != CHECKSUMS[name]:
        raise ValueError(f"{folder / name}: SHA-256 of the content is {found}, expected {CHECKSUMS[name]}")
    # The idx format: 0, 0, type, number of dimensions; each dimension as a big-endian int32; the values.
    dimensions = content[3]
    shape = np.frombuffer(content, ">i4", count=dimensions, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def choose_per_class(labels: np.ndarray, per_class: int, seed: int) -> np.ndarray:
    """Choose as many items of every class at random: indices (C, per_class), each row in random order."""
    # NumPy promises these raw bits for all its versions, but not what a Generator makes of them.
    order = np.argsort(np.random.PCG64(seed).random_raw(len(labels)))
    return np.stack([order[labels[order] == label][:per_class] for label in range(len(CLASS_NAMES))])


def make_arrays(folder: Path) -> dict[str, np.ndarray]:
    """Choose the items: the database, then the queries, each in the (random) order of the official files."""
    train_labels = read_official(folder, "train-labels-idx1-ubyte.gz")
    test_labels = read_official(folder, "t10k-labels-idx1-ubyte.gz")
    chosen = choose_per_class(train_labels, DATABASE_PER_CLASS, SEED)
    database = np.sort(chosen, axis=None)
    query = np.sort(choose_per_class(test_labels, QUERY_PER_CLASS, SEED), axis=None)
    split = np.full(len(database) + len(query), QUERY, dtype=np.uint8)
    split[: len(database)] = np.where(np.isin(database, chosen[:, :TRAIN_PER_CLASS]), TRAIN, DATABASE_ONLY)
    train_images = read_official(folder, "train-images-idx3-ubyte.gz")
    test_images = read_official(folder, "t10k-images-idx3-ubyte.gz")
    return {
        "images": np.concatenate([train_images[database], test_images[query]]),
        "labels": np.concatenate([train_labels[database], test_labels[query]]),
        "split": split,
        "ids": np.concatenate([database, query]).astype(np.int32),
        "class_names": np.array(CLASS_NAMES),
    }


def pack(arrays: dict[str, np.ndarray]) -> bytes:
    """Pack arrays as `np.savez_compressed` does, but with LZMA, an eighth smaller, and without today's date."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_LZMA) as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.save(content, array, allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 3  # Unix, also where it is not
            entry.compress_type = zipfile.ZIP_LZMA
            archive.writestr(entry, content.getvalue())
    return packed.getvalue()


def main() -> None:
    """Read the official files, and write `fashion_mini.npz` beside this script, whole or not at all."""
    parser = argparse.ArgumentParser(description="Make fashion_mini.npz from the official Fashion-MNIST.")
    parser.add_argument("folder", type=Path, help="where the four official .gz files are")
    try:
        content = pack(make_arrays(parser.parse_args().folder))
    except (OSError, ValueError) as problem:
        parser.error(str(problem))
    path = Path(__file__).with_name("fashion_mini.npz")
    unfinished = path.with_name(".unfinished.npz")
    unfinished.write_bytes(content)
    unfinished.replace(path)
    print(f"{path}: {len(content):,} bytes, SHA-256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main()

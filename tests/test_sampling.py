"""Batches of some classes with as many images of each."""

import numpy as np
import pytest
import torch

from relahash_nb.config import RunConfig
from relahash_nb.datasets import Dataset, check_batch_size, draw_batches
from relahash_nb.datasets.sampling import classes_and_images


def dataset(labels):
    labels = np.asarray(labels)
    images = np.zeros((len(labels), 2, 2), dtype=np.uint8)
    rows = range(len(labels) - 1)
    return Dataset.from_arrays(images, labels, train=rows, query=[len(labels) - 1])


def batches(data, batch_size, sampler="classes", seed=0):
    config = RunConfig(batch_size=batch_size, sampler=sampler)
    return draw_batches(data, config, torch.Generator().manual_seed(seed))


def test_each_batch_has_p_classes_with_q_images_of_each():
    data = dataset([number % 10 for number in range(401)])
    drawn = batches(data, 16)
    assert drawn.shape == (25, 16)
    for rows in drawn:
        counts = data.train.targets[rows].sum(0)
        assert sorted(counts.tolist()) == [0] * 6 + [4] * 4
        assert len(rows.unique()) == 16
    assert len({tuple(data.train.targets[rows].sum(0).tolist()) for rows in drawn}) > 10  # classes are drawn anew


def test_the_images_of_a_class_all_come_before_one_comes_again():
    data = dataset([number % 2 for number in range(33)])
    rows = batches(data, 8).flatten()  # both classes in each of 4 batches, 4 of 16 images a time
    assert rows.bincount().tolist() == [1] * 32


def test_classes_of_any_size_stand_alike_and_a_small_one_repeats():
    data = dataset([0] * 90 + [1] * 3 + [2] * 8)
    for rows in batches(data, 8):
        assert sorted(data.train.targets[rows].sum(0).tolist()) == [0, 4, 4]


def test_an_image_with_several_labels_is_one_of_each_of_its_classes():
    labels = np.eye(4, dtype=np.uint8)[np.arange(41) % 4]
    labels[:, 0] = 1
    rows = batches(dataset(labels), 16)
    assert (dataset(labels).train.targets[rows].sum(1) >= 4).all()


def test_the_generator_alone_decides_and_shuffle_takes_each_image_once():
    data = dataset([number % 4 for number in range(41)])
    for sampler in ("shuffle", "classes"):
        assert torch.equal(batches(data, 8, sampler), batches(data, 8, sampler))
        assert not torch.equal(batches(data, 8, sampler), batches(data, 8, sampler, seed=1))
    assert batches(data, 8, "shuffle").flatten().bincount().tolist() == [1] * 40


@pytest.mark.parametrize("batch_size", range(4, 70))
@pytest.mark.parametrize("classes", [2, 3, 10, 100])
def test_p_times_q_is_the_batch_or_it_is_refused(batch_size, classes):
    divisors = [number for number in range(2, classes + 1) if batch_size % number == 0 and batch_size // number >= 2]
    if not divisors:
        with pytest.raises(ValueError, match=f"^batch_size: {batch_size} "):
            classes_and_images(batch_size, classes)
        return
    number, images = classes_and_images(batch_size, classes)
    assert number * images == batch_size and number in divisors
    assert number == max([p for p in divisors if batch_size // p >= 4] or divisors)


def test_a_batch_that_no_classes_divide_is_said_with_the_data(tmp_path):
    with pytest.raises(ValueError, match=r"^batch_size: 7 .*classes"):
        check_batch_size(RunConfig(batch_size=7, sampler="classes"), dataset([number % 3 for number in range(41)]))

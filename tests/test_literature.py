"""Published scores beside ours."""

import pandas as pd
import pytest

from relahash_nb.config import RunConfig
from relahash_nb.registry import BASELINES, LOSSES
from relahash_nb.results import beside_published, load_published
from relahash_nb.results.tables import with_types


def runs_of(data, *losses, **options):
    """A run of each loss at 16 and at 32 bits, as `select_runs` gives them."""
    setting = RunConfig(dataset="lists", recipe="quick", finetune=False, **options).setting()
    rows = [
        setting | {"data": data, "loss": loss, "method": loss, "bits": bits, "mean_average_precision": 0.5}
        for loss in losses
        for bits in (16, 32)
    ]
    return with_types(pd.DataFrame(rows))


def test_published_figures_are_of_our_losses_and_say_where_they_are_from():
    published = load_published()
    older = {"cross_entropy_plain"}  # as cross_entropy without batch norm was called
    assert set(published["loss"]) <= {*LOSSES, *BASELINES, *older}
    assert published["mean_average_precision"].between(0, 1).all() and published["source"].notna().all()
    assert not published.duplicated(["loss", "data", "bits", "source"]).any()
    relahash = published[(published["loss"] == "relahash") & (published["source"] == "thaiminhpv/RelaHash README")]
    cifar10 = relahash[relahash["data"] == "cifar10"].set_index("bits")["mean_average_precision"]
    assert cifar10.to_dict() == {16: 0.820, 32: 0.835, 64: 0.852, 128: 0.854}  # DESIGN's, and the README's


def test_published_stands_beside_ours_with_what_differs():
    table, shared = beside_published(runs_of("lists cifar10_tiny", "relahash", "itq"))
    assert set(table["loss"]) == {"relahash", "itq"} and set(table["bits"]) == {16, 32}
    row = table[(table["loss"] == "relahash") & (table["bits"] == 16)].iloc[0]
    assert row["published"] == 0.820 and row["ours"] == 0.5
    for part in ("data cifar10 (ours lists cifar10_tiny)", "backbone alexnet (ours small_cnn)"):
        assert part in shared and not table["differs"].str.contains(part, regex=False).any()  # said once
    assert "not said: batch_size" in row["differs"]  # of the paper's table: 256 was the default until 2023
    assert "selection best epoch on the queries (ours last epoch)" in row["differs"]
    assert "not said: batch_size, epochs, selection" in table[table["loss"] == "itq"].iloc[0]["differs"]


@pytest.mark.parametrize(("data", "is_there"), [("cifar10", 1), ("lists cifar10_jpeg", 1), ("cifar100", 0)])
def test_figures_published_on_cifar10_are_not_those_of_cifar100(data, is_there):
    assert (len(beside_published(runs_of(data, "relahash"))[0]) > 0) == is_there

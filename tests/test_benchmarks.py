"""Benchmarks measure what they say: both sides compute the same, and reports and README agree. Nothing is timed."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import common, growth, published
from benchmarks.common import Process, Report, in_turns, median_ratio, readme_block, write_report
from benchmarks.metrics import make
from relahash_nb.centroids import make_centroids
from relahash_nb.datasets import prepare
from relahash_nb.losses import RelaHashLoss
from relahash_nb.metrics import retrieval_scores

ROOT = Path(__file__).parent.parent


@pytest.fixture
def make_report(monkeypatch):
    """Reports of a quiet machine, which is not looked at for a second."""
    monkeypatch.setattr(common.psutil, "cpu_percent", lambda interval: 0.0)

    def make(in_readme: bool = True) -> Report:
        report = Report("A title", "python -m benchmarks first")
        report.table("Caption.", ["way", "×"], [["ours", 2.5]], in_readme=in_readme)
        report.table("Details.", ["way", "ms"], [["ours", 7]])
        report.notes.append("A sentence.")
        report.finish()
        return report

    return make


def test_the_published_loss_in_other_words_is_ours():
    centroids = make_centroids(10, 32)
    codes = torch.randn(16, 32, generator=torch.Generator().manual_seed(0))
    targets = torch.eye(10)[torch.arange(16) % 10]
    ours = RelaHashLoss(centroids)(codes, targets)
    torch.testing.assert_close(published.relative_loss(codes, targets, centroids), ours)


def test_the_published_score_lies_between_our_bounds():
    data = make(items=500, bits=16, classes=5, queries=50)
    score = published.mean_average_precision(data[0], data[2].long(), data[1], data[3].long())
    ours = retrieval_scores(data[0], data[1], data[2], data[3])
    assert ours.worst <= score <= ours.best and ours.worst < ours.best


def test_the_published_score_by_hand():
    codes = torch.tensor([[1.0, 1, 1, 1], [1, 1, 1, -1], [1, 1, -1, -1]])
    targets = torch.tensor([[1, 0], [0, 1], [1, 0]])
    score = published.mean_average_precision(codes[:1], targets[:1], codes, targets)
    assert score == pytest.approx((1 + 2 / 3) / 2)


@pytest.fixture(scope="module")
def arrays(tmp_path_factory):
    """Sixteen-pixel images of ten classes, and centroids of 64 bits."""
    generator, parts = np.random.default_rng(0), {}
    for name, count in (("train", 64), ("query", 10), ("database", 40)):
        parts[name] = generator.integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)
        parts[f"{name}_targets"] = np.eye(10, dtype=np.uint8)[np.arange(count) % 10]
    path = tmp_path_factory.mktemp("arrays") / "arrays.npz"
    np.savez(path, centroids=make_centroids(10, 64).numpy(), **parts)
    return str(path)


@pytest.mark.slow
def test_both_sides_get_the_same_images_and_learn_the_same_tensors(arrays):
    from benchmarks.finetuning import Ours

    baseline = published.Published(arrays, None, 64)
    ours = Ours(arrays, None, "fp32", 64)
    image, target = baseline.data["database"][3]
    rows = torch.arange(40)
    batch = prepare(ours.data.database.images(rows), 64)
    normal = (batch[3] - ours.training.model.mean[0]) / ours.training.model.std[0]
    assert (image - normal).abs().max() < 0.05  # within two levels of 255
    assert torch.equal(target, ours.data.database.targets[3].long())
    unused_head = 4096 * 1000 + 1000
    assert count_learned(baseline.optimizer) - count_learned(ours.training.optimizer) == unused_head


def count_learned(optimizer) -> int:
    return sum(parameter.numel() for group in optimizer.param_groups for parameter in group["params"])


@pytest.mark.slow
def test_both_sides_give_codes_of_the_same_images_at_one_learning_rate(arrays):
    from benchmarks.finetuning import Ours

    baseline = published.Published(arrays, None, 64)
    ours = Ours(arrays, None, "fp32", 64)
    assert ours.training.config.schedule == "constant"
    encoded = baseline.fit(1), ours.fit(1)
    for split, count in (("query", 10), ("database", 40)):
        for side in encoded:
            codes, targets = side[split]
            assert codes.shape == (count, 64) and targets.shape == (count, 10)
        np.testing.assert_array_equal(encoded[0][split][1], encoded[1][split][1])


def test_a_process_of_its_own_has_torch_s_own_settings_where_it_should():
    assert all(name in common.os.environ for name in common.OUR_SETTINGS)
    for plain in (True, False):
        process = Process(plain, "builtins", "dict", {"a": 1})
        assert process("get", "a") == 1
        assert process.pool.submit(common.os.getenv, common.OUR_SETTINGS[0]).result() == (None if plain else "30000")
        process.close()


def test_ways_take_turns():
    order = []

    def way(name, value):
        order.append(name)
        return value

    measured = in_turns({"a": lambda: way("a", 2.0), "b": lambda: way("b", 1.0)}, 3)
    assert order == ["a", "b"] * 3
    assert measured == {"a": [2.0] * 3, "b": [1.0] * 3}
    assert median_ratio([2.0, 9.0, 4.0], [1.0, 3.0, 1.0]) == 3.0


def test_a_report_is_written_whole_and_the_readme_shows_its_part(tmp_path, make_report):
    write_report("first", make_report(), tmp_path)
    write_report("second", make_report(in_readme=False), tmp_path)
    page = (tmp_path / "README.md").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "first.json", "second.json"]
    assert page.count("| ours | 2.5 |") == 2 and "A sentence." in page and "| ours | 7 |" in page
    block = readme_block(tmp_path, ["second", "first", "missing"])
    assert block.count("| ours | 2.5 |") == 1 and "Details." not in block and "python -m benchmarks first" in block
    assert readme_block(tmp_path / "nothing") == ""


@pytest.mark.parametrize(("percent", "is_busy"), [(1, False), (60, True)])
def test_a_busy_machine_is_said(make_report, percent, is_busy):
    report = make_report()
    report.machine["busy before"] = percent
    assert ("**busy**" in report.markdown()) is is_busy


def test_the_pages_numbers_are_those_of_the_reports():
    for path in (ROOT / "benchmarks" / "results").glob("*.json"):
        text = (ROOT / "docs" / ("search.md" if path.stem == "search" else "benchmarks.md")).read_text()
        for table in json.loads(path.read_text())["tables"]:
            assert not table["in_readme"] or common.markdown_table(table) in text, path


def test_growth_says_how_cost_grows():
    small = {work: {"seconds": 1.0, "gigabytes": 0.5} for work in growth.WORK}
    large = {work: {"seconds": 10.0, "gigabytes": 0.5} for work in growth.WORK}
    said = growth.sentence("items", {100: small, 10_000: large})
    assert "scores: 10.0 times the seconds (as n to the 0.50), 0.50 GB" in said

"""Benchmarks measure what they say: both sides compute the same, and reports and README agree. Nothing is timed."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks import common, growth, published
from benchmarks.common import Process, Report, in_turns, median_ratio, readme_block, write_report
from benchmarks.metrics import make
from relahash_nb.centroids import make_centroids, max_hamming
from relahash_nb.datasets import prepare
from relahash_nb.losses import RelaHashLoss
from relahash_nb.metrics import retrieval_scores

ROOT = Path(__file__).parent.parent


def report(**options) -> Report:
    made = Report("A title", "python -m benchmarks some")
    made.table("Caption.", ["way", "×"], [["ours", 2.5]], in_readme=options.get("in_readme", True))
    made.table("Details.", ["way", "ms"], [["ours", 7]])
    made.notes.append("A sentence.")
    made.finish()
    return made


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


def test_both_sides_get_the_same_images_and_learn_the_same_tensors(arrays):
    from benchmarks.finetuning import Ours

    theirs, ours = published.Published(arrays, None, 64), Ours(arrays, None, "fp32", 64)
    image, target = theirs.data["database"][3]
    rows = torch.arange(40)
    batch, targets = prepare(ours.data.database.images(rows), 64), ours.data.database.targets[rows]
    normal = (batch[3] - ours.training.model.mean[0]) / ours.training.model.std[0]
    assert (image - normal).abs().max() < 0.05 and torch.equal(target, targets[3].long())  # within two levels of 255
    count = lambda optimizer: sum(p.numel() for group in optimizer.param_groups for p in group["params"])
    head = 4096 * 1000 + 1000
    assert count(theirs.optimizer) - count(ours.training.optimizer) == head


def test_a_process_of_its_own_has_torch_s_own_settings_where_it_should():
    assert all(name in common.os.environ for name in common.OUR_SETTINGS)
    for plain in (True, False):
        process = Process(plain, "builtins", "dict", {"a": 1})
        assert process("get", "a") == 1
        assert process.pool.submit(common.os.getenv, common.OUR_SETTINGS[0]).result() == (None if plain else "30000")
        process.close()


def test_ways_take_turns():
    order = []
    measured = in_turns({"a": lambda: order.append("a") or 2.0, "b": lambda: order.append("b") or 1.0}, 3)
    assert order == ["a", "b"] * 3 and measured == {"a": [2.0] * 3, "b": [1.0] * 3}
    assert median_ratio([2.0, 9.0, 4.0], [1.0, 3.0, 1.0]) == 3.0


def test_a_report_is_written_whole_and_the_readme_shows_its_part(tmp_path):
    write_report("some", report(), tmp_path)
    write_report("other", report(in_readme=False), tmp_path)
    page, block = (tmp_path / "README.md").read_text(), readme_block(tmp_path, ["other", "some", "third"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "other.json", "some.json"]
    assert page.count("| ours | 2.5 |") == 2 and "A sentence." in page and "| ours | 7 |" in page
    assert block.count("| ours | 2.5 |") == 1 and "Details." not in block and "python -m benchmarks some" in block
    assert readme_block(tmp_path / "nothing") == ""


def test_a_busy_machine_is_said():
    made = report()
    for percent, busy in ((1, False), (60, True)):
        made.machine["busy before"] = percent
        assert ("**busy**" in made.markdown()) is busy


def test_the_pages_numbers_are_those_of_the_reports():
    for path in (ROOT / "benchmarks" / "results").glob("*.json"):
        text = (ROOT / "docs" / ("search.md" if path.stem == "search" else "benchmarks.md")).read_text()
        for table in json.loads(path.read_text())["tables"]:
            assert not table["in_readme"] or common.markdown_table(table) in text, path


def test_growth_says_how_cost_grows():
    point = lambda seconds: {work: {"seconds": seconds, "gigabytes": 0.5} for work in growth.WORK}
    said = growth.sentence("items", {100: point(1.0), 10_000: point(10.0)})
    assert "scores: 10.0 times the seconds (as n to the 0.50), 0.50 GB" in said


def test_a_quantizers_ranking_is_scored_with_its_ties():
    """By hand: two items tie in front, one of them relevant, and a relevant one comes last."""
    pytest.importorskip("faiss")
    from benchmarks.quantizer import score

    index = SimpleNamespace(search=lambda query, count: (np.array([[1.0, 1, 2]]), np.array([[2, 0, 1]])))
    query, database = np.array([[1, 0]]), np.array([[0, 1], [1, 0], [1, 1]])
    scores = score(index, np.zeros((1, 4)), query, database, top_k=None)
    first, second = (1 + 2 / 3) / 2, (1 / 2 + 2 / 3) / 2
    assert scores == pytest.approx({"mean_average_precision": (first + second) / 2, "best": first, "worst": second})


def test_the_ranking_by_cosine_is_that_of_each_pair():
    from benchmarks.thresholds import cosine_score

    generator = np.random.default_rng(0)
    query, database = generator.standard_normal((5, 8)), generator.standard_normal((30, 8))
    labels = np.eye(3, dtype=np.uint8)[generator.integers(0, 3, 35)]
    expected = []
    for item, own in zip(query, labels[:5], strict=True):
        cosines = [item @ other / np.linalg.norm(item) / np.linalg.norm(other) for other in database]
        hits = [bool(own @ labels[5 + row]) for row in np.argsort(cosines)[::-1]]
        expected.append(np.mean([sum(hits[: rank + 1]) / (rank + 1) for rank, hit in enumerate(hits) if hit]))
    assert cosine_score(query, database, labels[:5], labels[5:]) == pytest.approx(np.mean(expected))


def test_thresholds_tell_apart_what_signs_do_not():
    """Two items with the query's signs, one of them in doubt: some threshold lies between it and the query."""
    from benchmarks.thresholds import spread_thresholds

    query, database = np.ones((1, 64)), np.stack([np.full(64, 0.1), np.ones(64)])
    parts = query, database, np.array([[1, 0]]), np.array([[0, 1], [1, 0]])
    assert spread_thresholds(*parts, spread=0) == pytest.approx((1 + 1 / 2) / 2)  # tied
    assert spread_thresholds(*parts, spread=0.5) == 1


def test_classes_that_look_alike_are_given_near_codes_of_the_same_set():
    from benchmarks.assigned import assigned

    means = np.repeat(np.eye(4), 2, axis=0) + 0.01  # (8, 4): each two classes look alike
    drawn, given = (make(8, 8, np.random.default_rng(0), *more) for make, *more in ((max_hamming,), (assigned, means)))
    assert sorted(map(tuple, drawn)) == sorted(map(tuple, given))
    agreement = [sum(codes[i] @ codes[i + 1] for i in range(0, 8, 2)) for codes in (drawn, given)]
    assert agreement[1] > agreement[0]


def test_classes_swap_their_centroids_when_their_codes_lie_there():
    from benchmarks.reassigned import EVERY, RelaHash

    centroids, targets = torch.tensor([[1.0, 1, 1, 1], [-1, 1, -1, 1], [1, 1, -1, -1]]), torch.eye(3)
    loss, others = RelaHash(centroids, beta=8.0), RelaHashLoss(centroids[[1, 0, 2]], beta=8.0)
    for _ in range(EVERY - 1):
        loss(centroids[[1, 0, 2]], targets)
    assert torch.equal(loss.centroids, centroids)
    assert torch.equal(loss(centroids[[1, 0, 2]], targets), others(centroids[[1, 0, 2]], targets))
    assert torch.equal(loss.centroids, centroids[[1, 0, 2]])

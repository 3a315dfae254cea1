"""The supervision dividend: what is learned and searched where, its scores, and that it goes on where it stopped."""

import numpy as np
import pandas as pd
import pytest
import torch

from relahash_nb.datasets import Dataset, Pool

pytest.importorskip("faiss")
pytest.importorskip("optuna")

from study import dividend
from study.class_splits import Composition, Trial, class_split, compositions, search_fold
from study.dividend_methods import index_distances, loss_config, training_data
from study.dividend_scores import Bench, query_scores
from study.dividend_table import class_sums, class_weights, compare_ratios, summarise, write_table

CLASSES, PER_CLASS = 100, 100  # of each class 50 images to learn from, 40 new ones, 10 queries, as in miniImageNet
FEATURES = 6


@pytest.fixture(scope="module")
def data():
    labels = np.repeat(np.arange(CLASSES), PER_CLASS)
    place = np.tile(np.arange(PER_CLASS), CLASSES)
    targets = torch.zeros(len(labels), CLASSES, dtype=torch.uint8)
    targets[torch.arange(len(labels)), torch.from_numpy(labels)] = 1
    pool = Pool(torch.zeros(len(labels), 1, 1, 1, dtype=torch.uint8), targets, np.arange(len(labels)), image_size=1)
    rows = np.arange(len(labels))
    positions = {"train": rows[place < 50], "database": rows[place < 90], "query": rows[place >= 90]}
    return Dataset.from_pool("made up", [f"class {label}" for label in range(CLASSES)], pool, positions)


@pytest.fixture(scope="module")
def trial(data):
    return class_split(data, 3)


# --- classes and databases -----------------------------------------------------------------------------------------


def test_only_training_images_of_seen_classes_are_learned_from(data, trial):
    assert sorted([*trial.seen, *trial.unseen]) == list(range(CLASSES))
    assert len(trial.train) == 50 * len(trial.seen)
    assert set(trial.train // PER_CLASS) == set(trial.seen)
    assert np.isin(trial.train, data.train.indices).all()


@pytest.mark.parametrize("composition", compositions(), ids=str)
def test_a_database_has_its_shares_and_always_the_same_size(data, trial, composition):
    rows = trial.database(composition)
    labels = rows // PER_CLASS
    is_unseen = np.isin(labels, trial.unseen)
    assert len(np.unique(rows)) == len(rows) == 48 * 40
    assert set(np.bincount(labels)[np.unique(labels)]) == {40}
    assert is_unseen.mean() == composition.unseen_share
    if composition.unseen_share < 1:
        assert np.isin(rows[~is_unseen], trial.train).mean() == composition.training_share
    assert not np.isin(rows[is_unseen], data.train.indices).any()
    queries = trial.query(composition)
    assert np.isin(queries, data.query.indices).all() and set(queries // PER_CLASS) == set(labels)


def test_splits_differ_and_come_out_again(data, trial):
    assert np.array_equal(class_split(data, 3).database(Composition(0.5, 0.1)), trial.database(Composition(0.5, 0.1)))
    assert set(class_split(data, 4).seen) != set(trial.seen)


def test_a_search_sees_training_images_of_seen_classes_alone(data, trial):
    folds = [search_fold(data, 3, fold) for fold in range(4)]
    assert sorted(np.concatenate([fold.unseen for fold in folds])) == sorted(trial.seen)
    for fold in folds:
        for composition in dividend.TARGETS.values():
            rows = np.concatenate([fold.database(composition), fold.query(composition), fold.train])
            assert np.isin(rows, trial.train).all()
        assert not np.isin(fold.train // PER_CLASS, fold.unseen).any()
        assert not np.isin(fold.query(Composition(0.5, 0.0)), fold.train).any()


def test_training_data_have_the_seen_classes_alone(data, trial):
    learned = training_data(data, trial.train, trial.seen)
    assert learned.train.targets.sum(dim=1).unique().tolist() == [1]
    numbers = learned.train.targets.argmax(dim=1).numpy()
    np.testing.assert_array_equal(trial.seen[numbers], trial.train // PER_CLASS)


# --- methods and scores --------------------------------------------------------------------------------------------


def test_relahash_is_searched_by_the_scale_and_the_margin_of_a_cosine_loss():
    from relahash_nb.losses import build_loss, find_loss

    values = {"batch_size": 16, "beta": 3.0, "margin": 0.7, "epochs": 2}
    config = loss_config("relahash", values, seed=0)
    assert (config.beta, config.margin) == (3.0 * 4, 0.7 / 4)
    centroids = torch.tensor([[1.0, 1, -1, -1], [-1, 1, 1, -1], [1, -1, 1, -1]])
    codes = torch.randn(16, 4, generator=torch.Generator().manual_seed(0))
    codes = torch.nn.functional.normalize(torch.cat([codes[:8], -codes[:8]]))  # mean 0, and rows of one length
    targets = torch.eye(3)[torch.arange(16) % 3]
    cosine_loss = find_loss("orthohash")(centroids, beta=3.0, margin=0.7)
    assert build_loss(config, centroids)(codes, targets).item() == pytest.approx(cosine_loss(codes, targets).item())


def test_distances_of_an_index_stand_in_the_order_of_the_items():
    import faiss

    rows = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32)
    train, query, items = np.arange(10), np.array([3, 20]), np.arange(25, 50)
    found = index_distances(faiss.IndexFlatL2(4), rows, train, (query, items), seed=0)
    expected = ((rows[query][:, None] - rows[items]) ** 2).sum(axis=2)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_scores_of_a_query_by_hand():
    relevant = np.array([[True, False, False, True]])
    scores = query_scores({"hamming": np.array([[0, 1, 2, 3]])}, np.array([[3.0, 2, 1, 0]]), relevant)
    assert scores["hamming", "map"] == pytest.approx([(1 + 2 / 4) / 2])
    assert scores["hamming", "precision"] == pytest.approx([2 / 4])  # of four items
    assert scores["rescored", "precision"] == pytest.approx([2 / 4])


def test_a_class_has_the_mean_of_its_queries_and_no_query_finds_itself(data):
    features = torch.from_numpy(np.random.default_rng(0).standard_normal((CLASSES * PER_CLASS, FEATURES)))
    fold = search_fold(data, 0, 0)
    bench = Bench.of(fold, data, features)
    by_class = bench.labels[bench.rows[0]][:, None] != bench.labels[bench.rows[1]]  # 0 within a class, else 1
    is_itself = bench.rows[0][:, None] == bench.rows[1]
    composition = Composition(0.5, 0.0)
    itself_in_front = {"hamming": np.where(is_itself, -1, by_class)}
    scores = bench.class_scores(itself_in_front, composition)["hamming", "map"]
    assert scores.tolist() == [1.0] * len(fold.database_classes(composition))
    first = fold.database_classes(composition)[0]
    without_first = {"hamming": np.where((bench.labels[bench.rows[0]] == first)[:, None], 1 - by_class, by_class)}
    scores = bench.class_scores(without_first, composition)["hamming", "map"]
    assert scores[0] < 0.2 and (scores[1:] == 1).all()


# --- the table -----------------------------------------------------------------------------------------------------


def test_a_summary_by_hand():
    scores = [[0.4, 0.2, 0], [0.6, 0, 0.3]]  # two splits, three classes; a class is not in every database
    of_float = [[0.2, 0.4, 0], [0.4, 0, 0.5]]
    row = summarise(np.array([scores, of_float, [[1, 1, 0], [1, 0, 1]]]), class_weights(3))
    assert row["value"] == pytest.approx(1.5 / 4)
    assert row["relative"] == pytest.approx(1.5 / 1.5)
    assert row["split_deviation"] == pytest.approx(0)
    # Of 27 draws of three classes each is within the extremes: one class alone, drawn three times.
    assert row["low"] == pytest.approx(0.5) and row["high"] == pytest.approx(1.0 / 0.6)


def test_a_gain_over_the_rival_is_paired_by_class():
    """Each class is .1 above the rival, whatever its own score: the interval has no width, and those of both do."""
    of_float = np.full((1, 3), 1.0)
    rival = np.array([[[0.2, 0.5, 0.8]], of_float, np.ones((1, 3))])
    sums = np.array([3 * (rival[0] + 0.1), 3 * of_float, 3 * np.ones((1, 3))])  # of three seeds
    weights = class_weights(3)
    assert summarise(rival, weights)["low"] < summarise(rival, weights)["high"]
    assert list(compare_ratios(sums, rival, weights).values()) == pytest.approx([0.1, 0.1, 0.1])


def test_the_options_fit_the_databases_that_they_were_searched_for():
    assert {name: shares.target for name, shares in dividend.TARGETS.items()} == {
        name: name for name in dividend.TARGETS
    }
    assert Composition(0.25, 0.0).target == "half" and Composition(0.75, 0.1).target == "published"


def make_runs(trial: Trial, value: float, measures):
    """One run whose scores are `value` for seen and half of it for unseen classes."""
    rows = []
    for composition in compositions():
        is_seen = np.isin(trial.database_classes(composition), trial.seen)
        rows.append(np.where(is_seen, value, value / 2))
    return [("none", dividend.Run("made up", 0, 0, {}), {measure: np.stack(rows) for measure in measures})]


def test_the_table_has_queries_of_seen_and_unseen_classes_apart(trial, tmp_path):
    path = tmp_path / "table.csv"
    pd.DataFrame([{"network": "other", "value": 0.1}, {"network": "this", "value": 0.2}]).to_csv(path, index=False)
    floats = make_runs(trial, 0.4, [("cosine", "map"), ("cosine", "precision")])
    codes = make_runs(trial, 0.8, [("hamming", "map")])
    itq = make_runs(trial, 0.6, [("hamming", "map")])
    write_table(path, "this", [trial], {"float": floats, "itq": itq, "codes": codes}, budget=24)
    table = pd.read_csv(path)
    assert table["network"].value_counts()["other"] == 1
    rows = table[(table["method"] == "codes") & (table["training_share"] == 0) & (table["unseen_share"] == 0.25)]
    values = rows.set_index("queries")["value"]
    assert values.to_dict() == pytest.approx({"all": 0.7, "seen": 0.8, "unseen": 0.4})
    assert (table.loc[table["method"] == "codes", "relative"] == 2).all()
    above = table.groupby("method")["above_itq"].first()  # of float: by another distance
    assert above.dropna().to_dict() == pytest.approx({"codes": 0.5, "itq": 0.0})
    databases = table.loc[table["method"] == "codes", ["unseen_share", "training_share"]].drop_duplicates()
    assert len(databases) == len(compositions())  # what is not trained has all of them
    shares = table[table["queries"] == "unseen"]["unseen_share"].unique()
    assert shares.tolist() == [0.25, 0.5, 0.75]


def test_a_target_has_rows_of_the_databases_that_ask_for_it(trial, tmp_path):
    floats = make_runs(trial, 0.4, [("cosine", "map")])
    tuned = [("unseen", run, scores) for _, run, scores in make_runs(trial, 0.8, [("hamming", "map")])]
    write_table(tmp_path / "table.csv", "this", [trial], {"float": floats, "codes": tuned}, budget=24)
    rows = pd.read_csv(tmp_path / "table.csv").query("method == 'codes'")
    assert set(rows["target"]) == {"unseen"}
    assert set(rows["unseen_share"]) == {1.0}


def test_classes_that_are_not_in_a_database_have_no_sum(trial):
    runs = [(run, scores) for _, run, scores in make_runs(trial, 0.8, [("hamming", "map")])]
    reference = {0: make_runs(trial, 0.4, [("cosine", "map")])[0][2]}
    number, composition = next(pair for pair in enumerate(compositions()) if pair[1].unseen_share == 0.5)
    sums = class_sums([trial], runs, reference, (number, composition), "unseen", ("hamming", "map"))
    assert np.flatnonzero(sums[2, 0]).tolist() == sorted(trial.unseen[:24])


# --- the study goes on ---------------------------------------------------------------------------------------------


def test_trials_begin_with_the_defaults_and_more_of_them_change_none():
    few, many = dividend.draw_values("relahash", 3), dividend.draw_values("relahash", 6)
    assert many[:3] == few
    assert (few[0]["lr"], few[0]["epochs"], few[0]["beta"], few[0]["margin"]) == (1e-3, 40, 1.0, 4.0)
    assert dividend.draw_values("orthohash", 1)[0]["beta"] == 8.0  # √64
    assert dividend.make_space("relahash")["beta"] == dividend.make_space("orthohash")["beta"]


def test_it_goes_on_where_it_was_stopped(monkeypatch, tmp_path):
    study = dividend.Dividend("lite0", "nowhere", trials=3, folder=tmp_path)
    scored = []

    def trial_scores(self, loss, values):
        if len(scored) == 2 and not self.search_path(loss).with_suffix(".again").exists():
            self.search_path(loss).with_suffix(".again").touch()
            raise KeyboardInterrupt
        scored.append(values)
        return {target: float(len(scored) == number) for number, target in enumerate(dividend.TARGETS)}

    def run_scores(self, run):
        return {("hamming", "map"): np.full((2, 3), run.split, np.float32)}

    monkeypatch.setattr(dividend.Dividend, "trial_scores", trial_scores)
    monkeypatch.setattr(dividend.Dividend, "run_scores", run_scores)
    with pytest.raises(KeyboardInterrupt):
        study.search("csq")
    assert study.runs("csq") == {} and study.left("csq") == (1, 4 * 5 * 3)
    study.search("csq")
    assert scored == dividend.draw_values("csq", 3)
    assert study.chosen("csq")["published"]["values"] == scored[0]
    # "seen" has no trial above 0, so it takes the first one, as "published" does: one training serves both.
    assert study.left("csq") == (0, 3 * 5 * 3)
    study.measure("csq")
    assert study.left("csq") == (0, 0)
    targets = [target for target, _, scores in study.finished("csq") if scores["hamming", "map"].shape == (2, 3)]
    assert targets.count("seen") == targets.count("half") == 5 * 3

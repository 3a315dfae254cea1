"""How each evaluator is given a ranking: five items at five distances, the ranks 1, 3 and 5 relevant.

The right value is worked out by hand: (1 + 2/3 + 3/5) / 3 = 0.7556. `tests/test_rankings.py` runs those whose evaluator
is installed; the benchmark runs each in the environment of its evaluator.
"""

START = """\
>>> import numpy as np
>>> from relahash_nb.metrics import as_ranking
>>> query, database = np.ones((1, 4)), np.where(np.arange(4) < np.arange(5)[:, None], -1, 1)
>>> relevant = np.array([True, False, True, False, True])
>>> scores, documents = as_ranking(query, database)
>>> scores
array([[5., 4., 3., 2., 1.]], dtype=float32)
"""

TEXTS = """\
>>> run = {"query": dict(zip(documents, scores[0].tolist()))}
>>> judged = {"query": dict(zip(documents, relevant.astype(int).tolist()))}
"""

# the module that must be installed, and the lines after START
EXAMPLES = {
    "torchmetrics": (
        "torchmetrics",
        """\
>>> import torch
>>> from torchmetrics.retrieval import RetrievalMAP
>>> number_of_query = torch.zeros(5, dtype=torch.long)
>>> round(RetrievalMAP()(torch.tensor(scores[0]), torch.tensor(relevant), number_of_query).item(), 4)
0.7556
""",
    ),
    "scikit-learn": (
        "sklearn",
        """\
>>> from sklearn.metrics import average_precision_score
>>> round(float(average_precision_score(relevant, scores[0])), 4)
0.7556
""",
    ),
    "pytrec-eval-terrier": (
        "pytrec_eval",
        f"""\
>>> import pytrec_eval
{TEXTS}>>> round(pytrec_eval.RelevanceEvaluator(judged, {{"map"}}).evaluate(run)["query"]["map"], 4)
0.7556
""",
    ),
    "ir_measures": (
        "ir_measures",
        f"""\
>>> import ir_measures
{TEXTS}>>> round(ir_measures.calc_aggregate([ir_measures.AP], judged, run)[ir_measures.AP], 4)
0.7556
""",
    ),
    "ranx": (
        "ranx",
        f"""\
>>> import ranx
{TEXTS}>>> round(float(ranx.evaluate(ranx.Qrels(judged), ranx.Run(run), "map")), 4)
0.7556
""",
    ),
    "pytorch-metric-learning": (
        "pytorch_metric_learning",
        """\
>>> import torch
>>> from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
>>> def by_ranking(query, k, reference, ref_includes_query):
...     order = torch.tensor(-scores).argsort(dim=1, stable=True)[:, :k]
...     return torch.tensor(-scores).gather(1, order), order
>>> calculator = AccuracyCalculator(include=("mean_average_precision",), k=None, knn_func=by_ranking)
>>> values = calculator.get_accuracy(query, np.array([1]), database, relevant.astype(int))
>>> round(values["mean_average_precision"], 4)
0.7556
""",
    ),
    "open-metric-learning": (
        "oml",
        """\
>>> import torch
>>> from oml.functional.metrics import calc_map
>>> order = torch.tensor(-scores).argsort(dim=1, stable=True)
>>> hits = torch.tensor(relevant)[order]
>>> round(calc_map(list(hits), [3], top_k=(5,))[0].item(), 4)
0.7556
""",
    ),
}

"""pytorch-metric-learning: AccuracyCalculator, which ranks the codes itself, by FAISS or by torch."""

import numpy as np
import torch
from evaluator_harness import main
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from pytorch_metric_learning.utils.inference import CustomKNN, FaissKNN


def calculate(task, metric, k, knn):
    calculator = AccuracyCalculator(include=(metric,), k=k, knn_func=knn, device=torch.device("cpu"))
    database = torch.tensor(task.database)
    labels = torch.tensor(task.database_labels)
    values = []
    for query, label in zip(torch.tensor(task.queries), torch.tensor(task.query_labels), strict=True):
        found = calculator.get_accuracy(query[None], label[None], database, labels, ref_includes_query=False)
        values.append(found[metric])
    return values


def with_faiss(task, cut):
    return calculate(task, "mean_average_precision", cut, FaissKNN())


def with_torch(task, cut):
    return calculate(task, "mean_average_precision", cut, CustomKNN(LpDistance(normalize_embeddings=False)))


def traps(tasks):
    found = {}
    for k in (None, 100, "max_bin_count"):
        value = np.mean(calculate(tasks["trained16"], "mean_average_precision", k, FaissKNN()))
        found[f"16 bits, k = {k}: mean_average_precision"] = round(float(value), 6)
    return found


if __name__ == "__main__":
    evaluators = {"metric_learning_faiss": with_faiss, "metric_learning_torch": with_torch}
    main(evaluators, ["pytorch-metric-learning", "torch", "faiss-cpu"], ("reversed",), traps=traps)

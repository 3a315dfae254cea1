"""torchmetrics: RetrievalMAP."""

import torch
from evaluator_harness import main, short_error
from torchmetrics.retrieval import RetrievalMAP


def torchmetrics(task, cut):
    metric = RetrievalMAP(top_k=cut, aggregation=lambda values, dim: values)  # the values of all queries, no mean
    query = torch.arange(len(task.scores))[:, None].expand(task.scores.shape)
    metric.update(torch.tensor(task.scores).flatten(), torch.tensor(task.relevant).flatten(), query.flatten())
    return torch.atleast_1d(metric.compute()).tolist()


def traps(tasks):
    metric = RetrievalMAP()
    scores = torch.tensor([2.0, 1.0, 0.0])
    target = torch.tensor([True, False, True])
    found = {"relevant, not, relevant at scores 2, 1, 0": float(metric(scores, target, torch.zeros(3, dtype=torch.long)))}
    metric.reset()
    found["the same at scores 3, 2, 1"] = float(metric(scores + 1, target, torch.zeros(3, dtype=torch.long)))
    metric.reset()
    try:
        metric(scores.long() + 1, target, torch.zeros(3, dtype=torch.long))
        found["integer scores"] = "accepted"
    except Exception as error:
        found["integer scores"] = short_error(error)
    return found


if __name__ == "__main__":
    main({"torchmetrics": torchmetrics}, ["torchmetrics", "torch"], traps=traps)

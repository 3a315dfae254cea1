"""torchmetrics: RetrievalMAP."""

import torch
from evaluator_harness import main
from torchmetrics.retrieval import RetrievalMAP


def torchmetrics(task, cut):
    metric = RetrievalMAP(top_k=cut, aggregation=lambda values, dim: values)  # the values of all queries, no mean
    query = torch.arange(len(task.scores))[:, None].expand(task.scores.shape)
    metric.update(torch.tensor(task.scores).flatten(), torch.tensor(task.relevant).flatten(), query.flatten())
    return torch.atleast_1d(metric.compute()).tolist()


def one_by_one(task):
    """Average precision of each query, each by a metric of its own."""
    values = []
    for scores, relevant in zip(torch.tensor(task.scores), torch.tensor(task.relevant), strict=True):
        values.append(RetrievalMAP()(scores, relevant, torch.zeros(len(scores), dtype=torch.long)))
    return torch.stack(values)


def traps(tasks):
    task = tasks["trained16"]
    alone = one_by_one(task)
    together = torch.tensor(torchmetrics(task, None))
    found = {
        "16 bits, each query alone: mAP": round(alone.mean().item(), 6),
        "the same: largest difference of a query": round((alone - together).abs().max().item(), 6),
    }
    query = torch.zeros(3, dtype=torch.long)
    scores = torch.tensor([2.0, 1.0, 0.0])
    relevant = torch.tensor([True, False, True])
    found["relevant, not, relevant at scores 2, 1, 0"] = float(RetrievalMAP()(scores, relevant, query))
    found["the same at scores 3, 2, 1"] = float(RetrievalMAP()(scores + 1, relevant, query))
    try:
        RetrievalMAP()(scores.long() + 1, relevant, query)
        found["integer scores"] = "accepted"
    except ValueError as error:
        found["integer scores"] = f"ValueError: {error}"
    return found


if __name__ == "__main__":
    main({"torchmetrics": torchmetrics}, ["torchmetrics", "torch"], ("reversed", "minus_distance"), traps=traps)

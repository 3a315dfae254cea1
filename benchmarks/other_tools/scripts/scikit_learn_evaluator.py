"""scikit-learn: average_precision_score; it has no cut."""

from evaluator_harness import main
from sklearn.metrics import average_precision_score


def scikit_learn(task, cut):
    return [average_precision_score(*row) for row in zip(task.relevant, task.scores, strict=True)]


if __name__ == "__main__":
    main({"scikit_learn": scikit_learn}, ["scikit-learn", "numpy"], cuts=False)

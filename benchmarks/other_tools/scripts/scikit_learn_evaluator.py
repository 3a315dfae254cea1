"""scikit-learn: average_precision_score; it has no cut."""

from evaluator_harness import main
from sklearn.metrics import average_precision_score


def scikit_learn(task, cut):
    return [average_precision_score(*row) for row in zip(task.relevant, task.scores, strict=True)]


def traps(tasks):
    best = (1 / 2 + 2 / 3) / 2
    found = average_precision_score([0, 1, 1], [2.0, 1.0, 1.0])
    return {"one irrelevant item, then two tied relevant ones": found, "their best order": best}


if __name__ == "__main__":
    main(
        {"scikit_learn": scikit_learn},
        ["scikit-learn", "numpy"],
        ("reversed", "minus_distance"),
        cuts=False,
        traps=traps,
    )

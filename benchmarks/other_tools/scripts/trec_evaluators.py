"""pytrec-eval-terrier, ir_measures and ranx: a run and judgements as dictionaries of texts."""

import ir_measures
import numpy as np
import pytrec_eval
import ranx
from evaluator_harness import main


def as_run(task):
    """The scores of each query as {query: {document: score}}."""
    rows = enumerate(task.scores.tolist())
    return {f"{query:04d}": dict(zip(task.documents, row, strict=True)) for query, row in rows}


def as_judgements(task):
    """The relevant documents of each query as {query: {document: 1}}."""
    names = np.array(task.documents)
    return {f"{query:04d}": dict.fromkeys(names[row].tolist(), 1) for query, row in enumerate(task.relevant)}


def pytrec_eval_terrier(task, cut):
    wanted, key = ("map", "map") if cut is None else (f"map_cut.{cut}", f"map_cut_{cut}")
    found = pytrec_eval.RelevanceEvaluator(as_judgements(task), {wanted}).evaluate(as_run(task))
    return [found[query][key] for query in sorted(found)]


def ir_measures_ap(task, cut):
    measure = ir_measures.AP if cut is None else ir_measures.AP @ cut
    found = {
        value.query_id: value.value for value in ir_measures.iter_calc([measure], as_judgements(task), as_run(task))
    }
    return [found[query] for query in sorted(found)]


def ranx_map(task, cut):
    measure = "map" if cut is None else f"map@{cut}"
    values = ranx.evaluate(ranx.Qrels(as_judgements(task)), ranx.Run(as_run(task)), measure, return_mean=False)
    return np.asarray(values).tolist()


def traps(tasks):
    """float32 scores: two that differ by a ten-millionth are tied."""
    judgements = {"query": {"a": 1}}
    run = {"query": {"a": 1.00000001, "b": 1.0}}
    evaluator = pytrec_eval.RelevanceEvaluator(judgements, {"map"})
    return {"a 1.00000001 before b 1.0 (pytrec_eval)": evaluator.evaluate(run)["query"]["map"]}


if __name__ == "__main__":
    evaluators = {"pytrec_eval": pytrec_eval_terrier, "ir_measures": ir_measures_ap, "ranx": ranx_map}
    main(
        evaluators,
        ["pytrec-eval-terrier", "ir-measures", "ranx", "numpy"],
        ("reversed", "plain_ids", "minus_distance"),
        traps=traps,
    )

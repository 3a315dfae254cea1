"""Runs the examples of the page whose evaluator is installed here: `python SCRIPT ROOT result.json`."""

import doctest
import importlib.util
import json
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])
from benchmarks.other_tools.evaluator_examples import EXAMPLES, START


def run_example(name: str, text: str) -> str:
    """Returns "right", or what the example printed where it is not."""
    test = doctest.DocTestParser().get_doctest(START + text, {}, name, None, 0)
    lines = []
    failures, _ = doctest.DocTestRunner(verbose=False).run(test, out=lines.append)
    return "".join(lines) if failures else "right"


if __name__ == "__main__":
    results = {}
    for evaluator, (module, lines) in EXAMPLES.items():
        if importlib.util.find_spec(module):
            results[evaluator] = run_example(evaluator, lines)
    Path(sys.argv[2]).write_text(json.dumps(results), encoding="utf-8")

"""The same codes in the tools that people use: engines, evaluators, repositories, and the numerics of signs.

    python -m benchmarks other_tools                     runs all parts, then writes docs/other-tools.md
    python -m benchmarks other_tools engines             runs one part
    python -m benchmarks other_tools engines --only faiss usearch
    python -m benchmarks other_tools page                writes the page from the JSON files, runs nothing
    python -m benchmarks other_tools page --check        exit code 1 where the page is out of date

A part is a module of this folder with `run(options)`, which writes `benchmarks/results/other_tools/PART.json`, and
`markdown(results)`, which turns that file into the part's block of the page.
"""

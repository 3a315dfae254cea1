"""Runs benchmarks and writes what they measured to `benchmarks/results/`.

    python -m benchmarks                     all of them
    python -m benchmarks finetuning frozen   these
    python -m benchmarks study --against DIR  that build of this package, a checkout with its .venv, for comparison
    python -m benchmarks --quick             a small share of the work of each, for a look; nothing is written
    python -m benchmarks other_tools --help  engines and evaluators of others, on the same codes

| name | what | minutes on two quiet cores |
|---|---|---|
| finetuning | AlexNet on CIFAR-10 against the published pipeline: training, encoding, an epoch | 4 |
| scores | the mean average precision of both after the same epochs, over seeds | 12 |
| frozen | features of a fixed backbone, a hash layer on them, fp32 against bf16 | 7 |
| metrics | mean average precision against the published algorithm | 3 |
| growth | seconds and memory against database, bits and classes | 4 |
| study | the study on the embedded data, and a run beside its training, against another build: `--against` | 15 |
| search | commands on 1,000 photographs, also against another build; a million pictures; memory | 25 |

Run them where nothing else runs: how busy the machine was before one began stands in its result.
"""

from __future__ import annotations

import argparse
import importlib
import shlex
import sys

from benchmarks.common import NAMES, Report, write_report
from benchmarks.other_tools.command import main as other_tools

ON_REQUEST = ("study",)  # it needs another build


def main() -> None:
    if sys.argv[1:2] == ["other_tools"]:
        sys.exit(other_tools(sys.argv[2:]))
    parser = argparse.ArgumentParser("benchmarks", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="all where none is given")
    parser.add_argument("--quick", action="store_true", help="a small share of the work; nothing is written")
    parser.add_argument("--rounds", type=int, default=3, help="times that each way is timed (default 3)")
    parser.add_argument("--dataset", default="lists", help="cifar10 downloads it; lists reads --root (default lists)")
    parser.add_argument("--root", default="data/cifar10_jpeg", help="CIFAR-10 in HashNet's list format")
    parser.add_argument("--alexnet", default="data/weights/alexnet_features_imagenet1k.safetensors", help="weights")
    parser.add_argument("--efficientnet", default="data/weights/tf_efficientnet_lite0.safetensors", help="weights")
    parser.add_argument("--photos", default="data/miniimagenet100_10k/images", help="photographs, for search")
    parser.add_argument("--results-dir", default="results", help="folder with a finished run of 64 bits, for search")
    parser.add_argument("--against", help="checkout of another build with its .venv, for study and search")
    options = parser.parse_args()
    flags = [word for word in sys.argv[1:] if word not in options.names]
    unknown = [name for name in options.names if name not in (*NAMES, *ON_REQUEST)]
    if unknown:
        parser.error(f"{unknown[0]}: no such benchmark; allowed: {', '.join((*NAMES, *ON_REQUEST))}")
    for name in options.names or NAMES:
        module = importlib.import_module(f"benchmarks.{name}")
        title = (module.__doc__ or name).partition("\n")[0]
        report = Report(title, shlex.join(["python", "-m", "benchmarks", name, *flags]))
        module.run(options, report)
        report.finish()
        print(report.markdown(), flush=True)
        if not options.quick:
            write_report(name, report)


if __name__ == "__main__":
    main()

"""What is said of each published scoring function beside its numbers.

Written after the functions were read and run at the named commits; each remark on behaviour was tried with a ranking
whose right value can be worked out by hand.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Words:
    """The texts of one row of the page."""

    title: str
    source: str  # the file and function that were run
    ties: str
    empty_query: str  # a query that finds nothing
    zero: str  # an output of exactly 0, before the sign
    off_by_one: str
    observed: str
    surprise: bool
    remark: str


TOPK = "`torch.topk`: neither order"
ARGSORT = "`np.argsort`, not stable: by the processor"
NONE = "no; R above the database is an error"
NONE_AND_SLICED = "no"
STAYS = "stays 0: half a bit from −1 and from +1"

REPOSITORIES = {
    "relahash": Words(
        title="thaiminhpv/RelaHash",
        source="hashing/utils.py, calculate_mAP",
        ties=TOPK,
        empty_query="counts 0",
        zero=STAYS,
        off_by_one=NONE,
        observed="+.4 and +.3 for all ranks; at 100 ranks 3 to 4 points *below*, the other way than guessed",
        surprise=True,
        remark="R = 1 is an error. The call writes −1 into the caller's query labels.",
    ),
    "orthohash": Words(
        title="kamwoh/orthohash",
        source="functions/hashing.py, calculate_mAP",
        ties=TOPK,
        empty_query="counts 0",
        zero=STAYS,
        off_by_one=NONE,
        observed="as guessed: the same function",
        surprise=False,
        remark="As RelaHash. A comment in it says that the sort affects the score.",
    ),
    "cisip_fire": Words(
        title="CISiPLab/cisip-FIRe",
        source="functions/metrics.py, calculate_mAP",
        ties=f"{TOPK}; `shuffle_database` is off by default",
        empty_query="counts 0",
        zero=STAYS,
        off_by_one=NONE,
        observed="as guessed",
        surprise=False,
        remark="R = 1 is an error. Labels are copied first.",
    ),
    "cisip_fire_old_eval": Words(
        title="the same with `old_eval`",
        source="functions/metrics.py, calculate_mAP",
        ties=TOPK,
        empty_query="**dropped**",
        zero=STAYS,
        off_by_one=NONE,
        observed="4 points more at 100 ranks, twice the guess",
        surprise=True,
        remark="One flag decides between this row and the one above.",
    ),
    "deephash_pytorch": Words(
        title="swuxyj/DeepHash-pytorch",
        source="utils/tools.py, CalcTopMap",
        ties=ARGSORT,
        empty_query="counts 0",
        zero=STAYS,
        off_by_one="**yes**: topK −1, its value for CIFAR-10, leaves out the item ranked last",
        observed="as guessed; the last rank is worth less than .0001 points",
        surprise=False,
        remark="One relevant item, ranked last of four, scores 0 for 1/4.",
    ),
    "csq": Words(
        title="yuanli2333 (CSQ)",
        source="test.py, mean_average_precision",
        ties=ARGSORT,
        empty_query="counts 0; a query without a label is dropped",
        zero="becomes +1",
        off_by_one=NONE,
        observed="as guessed",
        surprise=False,
        remark="Codes and labels are overwritten in place. It needs `np.float`, which NumPy 1.24 removed.",
    ),
    "hashnet_pytorch": Words(
        title="thuml/HashNet, PyTorch",
        source="pytorch/src/test.py, mean_average_precision",
        ties=ARGSORT,
        empty_query="**dropped**",
        zero=STAYS,
        off_by_one=NONE,
        observed="5 points above the expectation at 100 ranks, sorted, more than twice the guess",
        surprise=True,
        remark="Worse codes drop more queries, so that they lose less than they should.",
    ),
    "hashnet_caffe": Words(
        title="thuml/HashNet, Caffe",
        source="caffe/models/predict/imagenet/predict_parallel.py, mean_average_precision",
        ties=ARGSORT,
        empty_query="counts 0; dropped if the database has no relevant item",
        zero=STAYS,
        off_by_one=NONE,
        observed="as guessed, NaN included",
        surprise=False,
        remark="The two versions of one repository differ by 2 to 6 points at 100 ranks. A second call on the same "
        "arrays gives NaN.",
    ),
    "thulab_deephash": Words(
        title="thulab/DeepHash",
        source="DeepHash/evaluation/__init__.py, get_mAPs",
        ties="`np.argpartition`, then `np.argsort`: by the processor",
        empty_query="**dropped**",
        zero="**−1 or +1 by chance**, another value each call",
        off_by_one=NONE,
        observed="within .5 points for all ranks; 5 points above at 100 ranks, sorted, more than twice the guess",
        surprise=True,
        remark="With 5 % zeros in the database three calls at 16 bits and R = 1000 gave .829, .825 and .824.",
    ),
    "dsh_analysis": Words(
        title="aassxun/DSH_Analysis",
        source="utils/evaluate.py, mean_average_precision",
        ties="`torch.argsort`, not stable",
        empty_query="counts 0",
        zero=STAYS,
        off_by_one="**yes**: topk −1, its default, leaves out the item ranked last",
        observed="+.5 for all ranks as guessed; +1 at 100 ranks, a third of the guess",
        surprise=True,
        remark="The last rank is worth less than .0001 points here.",
    ),
    "dsdh_pytorch": Words(
        title="TreezzZ/DSDH_PyTorch",
        source="utils/evaluate.py, mean_average_precision",
        ties="`torch.argsort`, not stable",
        empty_query="counts 0",
        zero=STAYS,
        off_by_one="**yes**, the same",
        observed="as guessed: the same function",
        surprise=False,
        remark="As DSH_Analysis.",
    ),
    "greedyhash": Words(
        title="ssppp/GreedyHash",
        source="cal_map.py, calculate_map and calculate_top_map",
        ties=ARGSORT,
        empty_query="counts 0",
        zero=STAYS,
        off_by_one=NONE_AND_SLICED,
        observed="as guessed",
        surprise=False,
        remark="It needs a NumPy whose `linspace` takes a float as the number of points.",
    ),
    "talr_tie_ap": Words(
        title="kunhe/TALR, `tieAP`",
        source="+eval/tieAP.m",
        ties="**exact expectation**",
        empty_query="counts 0; dropped if it is the last query",
        zero="becomes −1",
        off_by_one="no; a cutoff is ignored",
        observed="as guessed: equal to `retrieval_scores` to nine digits",
        surprise=False,
        remark="The only one whose number does not depend on the order of the database.",
    ),
    "talr_ap": Words(
        title="kunhe/TALR, `AP`",
        source="+eval/AP.m",
        ties="database order, though logged as a random tiebreak",
        empty_query="counts 0",
        zero="becomes −1",
        off_by_one="**yes**: the item ranked first never counts",
        observed="as guessed: 1 point below for all ranks, 8 and 10 at 100 ranks",
        surprise=False,
        remark="One relevant item, ranked first, scores 0 for 1. Its logged upper bound at R = 100, .914 at 64 bits, "
        "lies below the true one, .940.",
    ),
}

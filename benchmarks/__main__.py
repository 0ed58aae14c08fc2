"""``python -m benchmarks``: ours beside a peer, in one run, as ratios. Absolute times are noise, so none is printed."""

import argparse
import sys

import torch

from benchmarks import cud
from lib.errors import UserError


def main() -> int:
    """Print one line a comparison. Exit code 2 when a peer is missing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=21, help="turns of ours and theirs (default 21)")
    parser.add_argument("--repeats", type=int, default=20, help="calls in a turn, before a case's own factor")
    choice = parser.parse_args()
    if choice.rounds < 1 or choice.repeats < 1:
        parser.error("rounds and repeats are whole numbers of 1 or more")
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, one thread; ratio = ours / peer, median of {choice.rounds} turns [quartiles]")
    try:
        for one in cud.benchmarks(choice.rounds, choice.repeats):
            target = f"  target {one.target:.2f} {one.verdict}" if one.target is not None else ""
            ratio = f"{one.ratio:5.2f} [{one.low:.2f}, {one.high:.2f}]"
            print(f"{one.case:20s} {one.size:44s} / {one.peer:20s} {ratio}{target}")
            sys.stdout.flush()
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

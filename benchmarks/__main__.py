"""``python -m benchmarks``: ours beside a peer, in one run, as ratios. Absolute times are noise, so none is printed."""

import argparse
import sys

import torch

from benchmarks import cud
from lib.errors import UserError


def main() -> int:
    """Print one line a comparison. Exit code 2 when a peer is missing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="for each comparison (default 10)")
    choice = parser.parse_args()
    if not choice.seconds >= 0:
        parser.error("seconds are a number of 0 or more")
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, one thread; ratio = ours / peer, median ± standard error [quartiles] of turns")
    try:
        for one in cud.benchmarks(choice.seconds):
            target = f"  target {one.target:.2f} {one.verdict}" if one.target is not None else ""
            ratio = f"{one.ratio:6.3f} ± {one.error:.3f} [{one.low:.2f}, {one.high:.2f}]"
            print(f"{one.case:20s} {one.size:44s} / {one.peer:20s} {ratio}{target}")
            sys.stdout.flush()
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

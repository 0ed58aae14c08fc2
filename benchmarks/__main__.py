"""``python -m benchmarks``: ours beside a peer, in one run, as ratios. Absolute times are noise, so none is printed."""

import argparse
import sys
from itertools import chain

import torch

from benchmarks import cenet, cud, hqnas, speech
from lib.errors import UserError

PARTS = {"cud": cud.benchmarks, "speech": speech.benchmarks, "cenet": cenet.benchmarks, "hqnas": hqnas.benchmarks}


def main() -> int:
    """Print one line a comparison. Exit code 2 when a peer is missing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="for each comparison (default 10)")
    parser.add_argument("parts", nargs="*", metavar="part", help=f"{' or '.join(PARTS)}; all of them if none is named")
    choice = parser.parse_args()
    for part in choice.parts:
        if part not in PARTS:
            parser.error(f"no part is named {part!r}: choose from {', '.join(PARTS)}")
    if not choice.seconds >= 0:
        parser.error("seconds are a number of 0 or more")
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, one thread; ratio = ours / peer, median ± standard error [quartiles] of turns")
    try:
        for one in chain.from_iterable(PARTS[part](choice.seconds) for part in choice.parts or PARTS):
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

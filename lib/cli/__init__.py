"""The command line ``papers``.

app       the commands, and the exit codes
systems   finds the systems that exist, and makes a command of a system's function and its dataclass of options
doctor    what is installed, and what will not run
demo      the demos' models and their start
"""

import sys


def main() -> None:
    """The entry point ``papers``."""
    try:
        from lib.cli.app import run  # takes a while, in which Ctrl-C may come

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        print("\npapers: stopped.", file=sys.stderr)
        code = 130
    sys.exit(code)

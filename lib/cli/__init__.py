"""The command line ``papers``.

app       the commands, and the exit codes
systems   finds the systems that exist, and makes a command of a system's function and its dataclass of options
doctor    what is installed, and what will not run
demo      the demos' models and their start
"""

from lib.cli.app import main

__all__ = ["main"]

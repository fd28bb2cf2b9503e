"""The command line: parse, call, print; one file per noun.

This module only decides how to start: `--version` is answered before click is loaded, and no noun is imported before it
is used. Importing it must stay free.
"""

import sys


def main(args: list[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0 done, 1 what was asked for failed (or was not found), 2 the command or its values are wrong, 130 Ctrl-C,
    128 + n ended by signal n.
    """
    if args is None:
        args = sys.argv[1:]
    if args == ["--version"]:
        from riverrun import __version__

        sys.stdout.write(f"{__version__}\n")
        return 0
    from riverrun.cli.root import run

    return run(args)

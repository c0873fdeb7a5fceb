"""The command line: thin, one module per group of commands."""

from quota_watch.cli.app import main

__all__ = ["main"]

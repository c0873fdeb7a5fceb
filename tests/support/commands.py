"""Commands called in this process: as a user calls them, but quicker."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from click.testing import CliRunner

from quota_watch.cli.context import Context
from quota_watch.lib.machine import Clock
from support.logs import logging_as_before


@dataclass(frozen=True, slots=True)
class Said:
    """What a command said and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        answer = json.loads(self.out)
        assert isinstance(answer, dict)
        return answer


def call(
    command: click.Command, *args: str, clock: Clock, config: Path | None = None, **environ: str
) -> Said:
    """Call a command with options before it; what it raises is raised here."""
    context = Context(config_file=config, level=logging.WARNING, log_format="text", clock=clock)
    with logging_as_before():
        result = CliRunner(env=dict(environ)).invoke(
            command, args, obj=context, standalone_mode=False, prog_name=command.name
        )
    if result.exception is not None:
        raise result.exception
    return Said(result.return_value or 0, result.stdout, result.stderr)

"""`quota-watch`: options that hold for every command, and what every failure looks like."""

import importlib
import os
import sys
from io import TextIOWrapper
from pathlib import Path
from types import TracebackType
from typing import Literal, NoReturn

import click

from quota_watch import __version__
from quota_watch.cli.context import Context, pick
from quota_watch.lib import QuotaWatchError

FAILED, BAD_USAGE, INTERRUPTED = 1, 2, 130
_DEBUG, _INFO, _WARNING = 10, 20, 30  # logging's own, which takes long to import

_LAST_STANDARD = 2

_BEFORE_COMMANDS = {"-c", "--config", "-v", "--verbose", "-q", "--quiet", "--log-format"}

_COMMANDS = {
    "run": ("run:run", "Poll, alert and deliver until stopped: the service."),
    "poll": ("run:poll", "Run one cycle now and send the alerts it raises."),
    "status": ("status:status", "Show where each organization stands now."),
    "forecast": ("forecast:forecast", "Forecast how a period will end and what would help."),
    "history": ("store:history", "Show the stored counts of an organization."),
    "alerts": ("alerts:alerts", "Show alerts by organization, the most severe first."),
    "deliveries": (
        "alerts:deliveries",
        "Show what was sent to whom, what is waiting and what failed.",
    ),
    "silence": ("alerts:silence", "Hold notifications for a while."),
    "silences": ("alerts:list_silences", "Show current silences, when they end and why."),
    "unsilence": ("alerts:unsilence", "End a silence now."),
    "check": ("check:check", "Check that everything will work, without sending anything."),
    "init": ("init:init", "Write a commented config for what the key can see."),
    "organizations": (
        "upstream:organizations",
        "Show what the keys can see upstream: plan, limit and usage.",
    ),
    "test-alert": ("explain:test_alert", "Send a marked test message through the channels."),
    "preview": ("explain:preview", "Show what would be sent about ORG, without sending it."),
    "export": ("store:export", "Export all stored daily counts."),
    "backfill": ("upstream:backfill", "Fetch older days, month by month, newest first."),
    "db": ("store:db", "Migrate, check, back up or copy the database."),
    "demo": (
        "demo:demo",
        "Play the past weeks in a minute, then go on in real time; needs no account.",
    ),
}
"""Each command: where its function is, and its sentence in `--help`."""

EXAMPLES = {
    "run": ("run", "--log-format json -c /etc/quota-watch/config.toml run"),
    "poll": ("poll", "poll org_abc123 --no-deliver --json"),
    "status": ("status", "status --group clients --watch"),
    "forecast": ("forecast org_abc123", "forecast --stdin < series.jsonl"),
    "history": ("history org_abc123 --by month", "history Acme --from 2026-01-01 --csv > acme.csv"),
    "alerts": ("alerts --open", "alerts org_abc123 --json"),
    "alerts explain": ("alerts explain org_abc123", "alerts explain Acme --json"),
    "deliveries": ("deliveries --failed", "deliveries --verbose --json"),
    "deliveries retry": ("deliveries retry --failed", "deliveries retry msg_63e631ebb7513874"),
    "silence": (
        'silence org_abc123 --for 24h --reason "upgrade ordered"',
        'silence --all --rule forecast --until period-end --reason "sale, as planned"',
    ),
    "silences": ("silences", "silences --all --json"),
    "unsilence": ("unsilence 3", "-c /etc/quota-watch/config.toml unsilence 3"),
    "check": ("check", "-c new.toml check --offline"),
    "init": ("init", "init --output - --base-url https://analytics.example.com"),
    "organizations": (
        "organizations",
        "organizations --base-url https://analytics.example.com --json",
    ),
    "test-alert": ("test-alert", "test-alert ops phone"),
    "preview": (
        "preview org_abc123 threshold",
        "preview Acme forecast --channel ops --output /tmp/preview",
    ),
    "export": ("export --output days.csv", "export org_abc123 --from 2026-01-01 --format jsonl"),
    "backfill": (
        "backfill org_abc123 --from 2025-01-01",
        "backfill org_abc123 org_def456 --from 2025-01-01 --again",
    ),
    "db": ("db current", "db backup before.db"),
    "db upgrade": ("db upgrade", "-c /etc/quota-watch/config.toml db upgrade"),
    "db current": ("db current", "db current --json"),
    "db check": ("db check", "-v db check"),
    "db backup": ("db backup before.db", 'db backup "$(date +%F).db"'),
    "db copy": ("db copy sqlite:////var/lib/quota-watch/new.db", "db copy env:NEW_DATABASE_URL"),
    "demo": ("demo", "demo --scene lapse --port 8500"),
}
"""Two of each command, shown at the end of its `--help`."""


class _Commands(click.Group):
    """Imports a command's module when it is called: starting up counts."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- click's signature
        return list(_COMMANDS)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002 -- click's signature
        cmd_name: str,
    ) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(f"quota_watch.cli.{module}"), name)
        _add_examples(cmd_name, command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, sentence) for name, (_, sentence) in _COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-"):
            pick("command", args[0], _COMMANDS)
        return super().resolve_command(ctx, args)


def _add_examples(name: str, command: click.Command) -> None:
    command.epilog = "\n  quota-watch ".join(("\b\nExamples:", *EXAMPLES[name]))
    if isinstance(command, click.Group):
        for inner, each in command.commands.items():
            _add_examples(f"{name} {inner}", each)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "-c",
    "--config",
    "config_file",
    metavar="FILE",
    type=click.Path(path_type=Path, readable=False),
    help="Config file [default: $QUOTA_WATCH_CONFIG, ./config.toml, /etc/quota-watch/config.toml].",
)
@click.option("-v", "--verbose", is_flag=True, help="Log every poll and every attempt.")
@click.option("-q", "--quiet", is_flag=True, help="Log warnings and errors only.")
@click.option(
    "--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True
)
@click.version_option(__version__, prog_name="quota-watch")
@click.pass_context
def cli(
    ctx: click.Context,
    config_file: Path | None,
    verbose: bool,
    quiet: bool,
    log_format: Literal["text", "json"],
) -> None:
    """Watch the monthly event limits of Rybbit organizations and alert people in time."""
    level = _DEBUG if verbose else _WARNING if quiet else _INFO
    ctx.obj = Context(config_file=config_file, level=level, log_format=log_format)


def main(args: list[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done, 1 failed, 2 bad usage or config, 130 interrupted."""
    sys.excepthook = _report_defect
    _use_standard_streams()
    try:
        code = cli.main(args, prog_name="quota-watch", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        if isinstance(error, click.NoSuchOption) and error.option_name in _BEFORE_COMMANDS:
            click.echo("Put it before the command: quota-watch -c FILE status", err=True)
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        code = INTERRUPTED
    except QuotaWatchError as error:
        code = _explain(error)
    except OSError as error:
        code = _no_output(error)
    sys.exit(code)


def _use_standard_streams() -> None:
    """Replace standard streams that are closed, and characters that they can't encode.

    The next file to be opened would get the number of a closed one, and with it what is printed.
    A name that can't be encoded is no reason to stop.
    """
    null = os.open(os.devnull, os.O_RDWR)
    while null <= _LAST_STANDARD:
        null = os.dup(null)
    os.close(null)
    sys.stdin = sys.stdin or open(os.devnull, encoding="utf-8")  # noqa: SIM115, PTH123
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")


def _no_output(error: OSError) -> int:
    """Report what could not be read or written, unless it is a pipe that nobody reads any more."""
    if not isinstance(error, BrokenPipeError):
        file = f"{error.filename}: " if error.filename else ""
        click.echo(f"error: can't continue: {file}{error.strerror or error}", err=True)
    # What is still buffered would fail once more when Python ends.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return FAILED


def _explain(error: QuotaWatchError) -> int:
    from quota_watch.config.values import ConfigError

    click.echo(f"error: {error}" if not isinstance(error, ConfigError) else str(error), err=True)
    return BAD_USAGE if isinstance(error, ConfigError) else FAILED


def _report_defect(
    kind: type[BaseException], _error: BaseException, traceback: TracebackType | None
) -> None:
    """Report where our code failed, without the error's text: that may hold a secret."""
    import traceback as tracebacks

    frames = tracebacks.extract_tb(traceback)
    ours = [frame for frame in frames if "quota_watch" in frame.filename] or frames
    place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"
    click.echo(
        f"error: quota-watch {__version__} itself failed ({kind.__name__} at {place}); "
        "please report this",
        err=True,
    )

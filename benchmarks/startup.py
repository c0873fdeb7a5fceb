"""What a command costs to start: its CPU time over that of `python -c "import argparse, sqlite3"`.

Prints a ratio for `--version`, `--help` and `status ORG --json` with 1 and 1,000 organizations.
"""

import compileall
import resource
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROUNDS = 9


def cost(*arguments: str) -> float:
    """Return the least CPU time that python took with these arguments."""
    return min(_seconds(arguments) for _ in range(ROUNDS))


def _seconds(arguments: tuple[str, ...]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def configure(folder: Path, organizations: int) -> str:
    """Write a config of so many organizations, with its database; return its path."""
    config = folder / f"{organizations}.toml"
    tables = "".join(
        f'[[organizations]]\nid = "org_{n}"\nlimit = 100_000\n' for n in range(organizations)
    )
    config.write_text(
        f'[rybbit]\nbase_url = "http://localhost:1"\napi_key = "k123456789"\n'
        f'[database]\nurl = "sqlite:///{organizations}.db"\n{tables}'
    )
    quota_watch = [sys.executable, "-m", "quota_watch", "-q", "-c", str(config)]
    subprocess.run([*quota_watch, "db", "upgrade"], check=True, capture_output=True)
    return str(config)


def main() -> None:
    """Print the ratios."""
    compileall.compile_dir("quota_watch", quiet=1)  # as an installed one is
    base = cost("-c", "import argparse, sqlite3")
    for option in ("--version", "--help"):
        print(f"{option}\t{cost('-m', 'quota_watch', option) / base:.1f}")
    with TemporaryDirectory() as folder:
        for organizations in (1, 1000):
            config = configure(Path(folder), organizations)
            command = ("-m", "quota_watch", "-c", config, "status", "org_0", "--json")
            print(f"status of {organizations}\t{cost(*command) / base:.1f}")


if __name__ == "__main__":
    main()

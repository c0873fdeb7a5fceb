"""Where the files lie that travel with the code: templates and migrations."""

from pathlib import Path

_PACKAGE = Path(__file__).parent.parent


def resource_dir(name: str) -> Path:
    """Return the folder `name`: inside the installed package, or beside it in a checkout."""
    packaged = _PACKAGE / name
    return packaged if packaged.is_dir() else _PACKAGE.parent / name

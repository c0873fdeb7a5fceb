"""Configs written as short pieces of TOML; what a config can't do without is added."""

from pathlib import Path

import pytest

from quota_watch.config import Config, ConfigError, load

KEY = '[rybbit]\napi_key = "env:RYBBIT_API_KEY"\n'
ORGANIZATION = '[[organizations]]\nid = "org_a"\nlimit = 1000\n'
SMTP = '[smtp]\nhost = "mail.example.com"\nfrom = "watch@example.com"\n'


class Writer:
    """Writes configs into one folder and loads them."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "config.toml"

    def load(self, text: str = "") -> Config:
        parts = [
            text,
            "" if "[rybbit]" in text else KEY,
            "" if "organizations" in text else ORGANIZATION,
            SMTP if '"email"' in text and "smtp]" not in text else "",
        ]
        return self.load_exactly("\n".join(parts).encode())

    def load_exactly(self, content: bytes) -> Config:
        self.path.write_bytes(content)
        self.path.chmod(0o600)
        return load(self.path)

    def problems(self, text: str) -> dict[str, str]:
        with pytest.raises(ConfigError) as caught:
            self.load(text)
        return {problem.key: problem.message for problem in caught.value.problems}


@pytest.fixture
def toml(tmp_path: Path) -> Writer:
    return Writer(tmp_path)

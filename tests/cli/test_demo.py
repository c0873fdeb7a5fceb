from pathlib import Path

from support.installation import Installation


def test_the_demo_plays_and_keeps_its_mails(installation: Installation, tmp_path: Path) -> None:
    environ = {"TMPDIR": str(tmp_path), "NO_COLOR": "1"}
    result = installation.run("demo", "--for", "8", "--speed", "300000", environ=environ)
    assert result.returncode == 0, result.stderr
    assert "Critical: Busy Game is over its limit" in result.stdout
    assert "blind  Revoked Agency" in result.stdout
    assert result.stdout.count("100000") >= 5
    (folder,) = tmp_path.glob("quota-watch-demo-*")
    mails, pages = sorted(folder.glob("*.eml")), sorted(folder.glob("*.html"))
    assert len(mails) == len(pages) >= 5
    assert "Busy Game" in "".join(page.read_text() for page in pages)

"""The pictures in docs/pictures are what they say, and can be made again."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from .program import POSIX, ROOT, environment

PICTURES = ROOT / "docs" / "pictures"
SVG = "{http://www.w3.org/2000/svg}"


def words_of(picture: Path) -> str:
    """All that is written in a picture."""
    return "\n".join("".join(line.itertext()) for line in ET.parse(picture).getroot().iter(f"{SVG}g"))


def assert_shows_the_demo(picture: Path) -> None:
    """Small, whole, nothing in it that runs or is loaded, and every scene of the demo."""
    text = picture.read_text(encoding="utf-8")
    assert len(text.encode()) < 200_000
    assert not re.search(r"<script|\bon\w+=|url\(|@import|<image", text)
    assert set(re.findall(r'href="([^"]{2})', text)) == {"#r"}
    film = ET.fromstring(text).find(f".//{SVG}g[@id='film']")
    assert all(len(frame) for frame in film), "a frame is empty: it is the first thing that a reader sees"
    shown = words_of(picture)
    for word in ("sansio-step", "find_tea_house", "bare_message_start", "tea/order.py", "TRUNCATED", "cut here", "sansio-step chat"):  # fmt: skip
        assert word in shown


def test_the_picture_of_the_demo():
    assert_shows_the_demo(PICTURES / "demo.svg")


@POSIX
def test_the_picture_is_made_from_a_run(tmp_path):
    pytest.importorskip("pyte", reason="no pyte (group pictures): the picture's script is NOT TESTED")
    command = [sys.executable, str(PICTURES / "make_demo.py"), str(tmp_path / "demo.svg")]
    ended = subprocess.run(command, capture_output=True, env=environment(), timeout=120)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")
    assert_shows_the_demo(tmp_path / "demo.svg")

"""Every line that a client can print, with thousands of hostile texts in it."""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import os
import re
import sys
import unittest
from types import FrameType, SimpleNamespace
from typing import Any, cast
from unittest import mock

import canvas
import contacts
import filing
import helping
import past
import people
import progress
import session
import talking
import views
from canvas import Canvas
from cells import INDENT
from painting import Painter
from screen import Line, PipeScreen, Screen, Shown
from tests.hostile.stage import BENIGN, Said, Stage, holds_theirs, printing_functions, template
from tests.hostile.texts import harmful, hostile_texts
from tests.screens import FakeScreen

SEED, COUNT = 5, 5_000
# A text goes through one site, and the next through the next; with SOCP_EVERY_LINE=1 each through all, in ten minutes.
EVERY_LINE = bool(os.environ.get("SOCP_EVERY_LINE"))


class LinesTest(unittest.TestCase):
    """One client, and what it prints."""

    ours: re.Pattern[str]  # how each of our lines begins
    step = 1  # from one text to the next that is said
    stage: Stage

    def setUp(self) -> None:
        """Have the names that are shown at many sites made fit for that once."""
        for name in ("plain_name", "name_key"):
            patch = mock.patch.object(contacts, name, functools.lru_cache(100)(getattr(contacts, name)))
            patch.start()
            self.addCleanup(patch.stop)

    def printed(self, site: str) -> list[str]:
        """Return the lines that a site prints, and fail if they hold what only we may write."""
        raise NotImplementedError

    def comparable(self, line: str) -> str:
        """Return a line, or what it must match, without what may differ."""
        return line

    def check_all(self) -> None:
        """Say each text at its sites, and compare what is printed with what is when nothing harmful is said."""
        stage = self.stage
        stage.say(BENIGN)
        templates: dict[str, tuple[re.Pattern[str], ...]] = {}
        for site in stage.sites:
            lines = self.printed(site)
            found = tuple(re.compile(self.comparable(template(line))) for line in lines)
            if site in stage.loose or (any(map(holds_theirs, lines)) and found not in templates.values()):
                templates[site] = found
        self.assertGreater(len(templates), 50)
        sites = itertools.cycle(templates)
        each = len(templates) if EVERY_LINE else 1
        for text in itertools.islice(hostile_texts(SEED, COUNT), 0, None, 1 if EVERY_LINE else self.step):
            stage.say(Said(text, text, text))
            for site in itertools.islice(sites, each):
                self.check(site, templates[site], text)

    def check(self, site: str, templates: tuple[re.Pattern[str], ...], text: str) -> None:
        """Check what a site prints while a text is said."""
        lines = self.printed(site)
        for line in lines:
            if harm := harmful(line):
                self.fail(f"{site} prints {harm} of {text!a}: {line!a}")
        if site in self.stage.loose:
            self.assertTrue(all(map(self.ours.match, lines)), f"{site} with {text!a} prints {lines!a}")
            return
        compared = map(self.comparable, lines)
        whole = len(lines) == len(templates) and all(map(re.Pattern.fullmatch, templates, compared))
        self.assertTrue(whole, f"{site} with {text!a} prints {lines!a}, and not {templates!a}")


class PipeTest(LinesTest):
    """What is printed line by line."""

    ours = re.compile(r"\[[A-Z][^\[\]]*\] |  ")

    def setUp(self) -> None:
        """Print into a buffer."""
        super().setUp()
        self.output = io.StringIO()
        for redirect in (contextlib.redirect_stdout(self.output), contextlib.redirect_stderr(self.output)):
            redirect.__enter__()
            self.addCleanup(redirect.__exit__, None, None, None)
        lines = cast(Any, SimpleNamespace(is_terminal=False, wake=lambda: None))
        self.stage = Stage(self, PipeScreen(lines), at_screen=False)

    def printed(self, site: str) -> list[str]:
        """See LinesTest."""
        self.output.seek(0)
        self.output.truncate()
        self.stage.print(site)
        lines = self.output.getvalue().split("\n")
        self.assertEqual(lines.pop(), "", site)
        return lines

    def test_lines(self) -> None:
        """No control character of theirs is printed, and each line is one of ours, with theirs in its place alone."""
        self.check_all()

    def test_complete(self) -> None:
        """Every function that prints something in a conversation is among those that are tried out here."""
        done: set[tuple[str, str]] = set()

        def note(frame: FrameType, event: str, _argument: object) -> None:
            if event == "call":
                done.add((frame.f_code.co_filename, frame.f_code.co_name))

        sys.setprofile(note)
        try:
            for stage in (self.stage, Stage(self, FakeScreen(interactive=True), at_screen=True)):
                stage.say(BENIGN)
                for site in stage.sites:
                    stage.print(site)
        finally:
            sys.setprofile(None)
        printing = set(printing_functions(filing, helping, past, people, session, talking, views, progress))
        self.assertGreater(len(printing), 30)
        self.assertEqual({name for name in printing - done if name[1] not in _ONCE}, set())


# What is printed once, at the beginning, and says nothing of others.
_ONCE = ("welcome",)


class CanvasScreen(Screen):
    """What a TerminalScreen shows, without a keyboard."""

    is_terminal = True

    def __init__(self, drawn: Canvas, *, is_dumb: bool) -> None:
        self.interactive = not is_dumb
        self._drawn = drawn

    def show(self, line: Line) -> Shown:
        """See Screen."""
        return self._drawn.show(line)

    def status(self, name: str, line: Line | None) -> None:
        """See Screen."""
        self._drawn.status(name, line)

    def prompt(self, text: str) -> None:
        """See Screen; what comes later has another."""
        self._drawn.prompt(text)
        self._drawn.prompt("> ")

    def ring(self) -> None:
        """See Screen."""
        self._drawn.ring()

    def next(self) -> str | None:
        """See Screen."""
        return None

    def wake(self) -> None:
        """See Screen."""

    wait_woken = close = wake


class DrawnTest(LinesTest):
    """What is drawn on a narrow terminal."""

    is_dumb: bool

    def setUp(self) -> None:
        """Draw into a pipe, which passes for a terminal of 40 columns and 100 rows."""
        super().setUp()
        patch = mock.patch.multiple(canvas, _COLUMNS=40, _ROWS=100)
        patch.start()
        self.addCleanup(patch.stop)
        self.end, output = os.pipe()
        for descriptor in (self.end, output):
            self.addCleanup(os.close, descriptor)
        os.set_blocking(self.end, False)
        drawn = Canvas(output, Painter(colours=not self.is_dumb), "utf-8", is_dumb=self.is_dumb, gone=lambda: None)
        drawn.take()
        self.stage = Stage(self, CanvasScreen(drawn, is_dumb=self.is_dumb), at_screen=True)

    def printed(self, site: str) -> list[str]:
        """See LinesTest; rows that go on are put behind those that they belong to."""
        self.stage.print(site)
        written = b""
        with contextlib.suppress(BlockingIOError):
            while True:
                written += os.read(self.end, 65_536)
        lines: list[str] = []
        for row in self.rows(site, written.decode()):
            if row.startswith(INDENT) and lines:
                lines[-1] += f" {row.removeprefix(INDENT)}"
            else:
                lines.append(row)
        return lines

    def rows(self, site: str, written: str) -> list[str]:
        """Return the rows of what a site has written, and fail if it has written anything else."""
        raise NotImplementedError

    def comparable(self, line: str) -> str:
        """See LinesTest: spaces are left out, since rows break at them."""
        return line.replace("\\ ", "").replace(" ", "")


# All that is ever written to a terminal: frames, the input's row, and the bell. Nothing in a row moves the cursor.
_LOOK = r"\x1b\[(?:0|1|2|3[1-6]|9[4-6]|1;3[3-6])m"
_ROW = rf"(?:[^\x00-\x1f\x7f-\x9f]|{_LOOK})*"
_WRITTEN = re.compile(
    rf"(?:\x1b\[\?7l\r(?:\x1b\[\d+A)?(?P<rows>(?:\x1b\[2K{_ROW}\n)*)\x1b\[2K{_ROW}\x1b\[J\r{_ROW}\x1b\[\?7h"
    rf"|\x1b\[\?7l\r{_ROW}\x1b\[K\r{_ROW}\x1b\[\?7h|\a)"
)


class TerminalTest(DrawnTest):
    """What is drawn on a terminal."""

    ours = re.compile(r"(?:[A-Z]\w\w ?\d+ )?\d\d:\d\d (?:e2e|public|\[|[✓✗?])|  \S|[↓↑] |\d files \[")
    is_dumb = False
    step = 2

    def rows(self, site: str, written: str) -> list[str]:
        """See DrawnTest."""
        found: list[str] = []
        end = 0
        for frame in _WRITTEN.finditer(written):
            self.assertEqual(frame.start(), end, f"{site} writes {written[end : frame.start()]!a}")
            end = frame.end()
            found += re.sub(rf"{_LOOK}|\x1b\[2K", "", frame["rows"] or "").split("\n")[:-1]
        self.assertEqual(written[end:], "", f"{site} writes this too")
        return found

    def test_lines(self) -> None:
        """Nothing of theirs moves the cursor, or begins a row at the first column: what begins there is ours."""
        self.check_all()


_CONTROLS = re.compile("[\x00-\x06\x08\x09\x0b\x0c\x0e-\x1f\x7f-\x9f]")


class DumbTest(DrawnTest):
    """What is drawn on a terminal that knows no sequences: behind a return that takes the input's row away."""

    ours = PipeTest.ours
    is_dumb = True
    step = 5

    def rows(self, site: str, written: str) -> list[str]:
        """See DrawnTest: what stands before a return is the input's row, which is blanked by it."""
        self.assertIsNone(_CONTROLS.search(written), f"{site} writes {written!a}")
        return [row.rpartition("\r")[2] for row in written.split("\n")[:-1]]

    def test_lines(self) -> None:
        """Nothing of theirs moves the cursor, or begins a row at the first column: what begins there is ours."""
        self.check_all()

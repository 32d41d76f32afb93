"""The screen of a client at a real terminal."""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
import threading
import time
import unicodedata
import unittest
from functools import partial
from unittest import mock

from console import complain, own_terminal, say, start_logging
from editor import LINE_MOST, Completion
from recall import Recall
from screen import Line, Span, Style, with_breaks
from terminal import TerminalScreen
from tests.terminals import PATIENCE, Terminal, open_screen
from tests.vt100 import Vt100

LEFT, RIGHT, UP = "\x1b[D", "\x1b[C", "\x1b[A"
CTRL_A, CTRL_C, CTRL_D, CTRL_E, CTRL_L, CTRL_R = "\x01", "\x03", "\x04", "\x05", "\x0c", "\x12"
BACKSPACE, TAB, ENTER = "\x7f", "\t", "\r"


def line(text: str, style: Style = Style.PLAIN) -> Line:
    """Return a line of one piece."""
    return [Span(text, style)]


def ends_before_cursor(last: str, vt: Vt100) -> bool:
    """Tell whether a character stands right before the cursor."""
    return vt.before.endswith(last)


def shows(text: str, vt: Vt100) -> bool:
    """Tell whether this is all that stands on the screen."""
    return vt.text == text


class ScreenTest(unittest.TestCase):
    """One screen in one terminal."""

    def at(self, columns: int = 40, rows: int = 10, **environment: str) -> tuple[Terminal, TerminalScreen]:
        """Return a terminal and its screen, once that is ready."""
        terminal = Terminal(self, columns, rows)
        screen = open_screen(self, terminal, environment=environment)
        terminal.wait_for(lambda vt: vt.line == ">")
        return terminal, screen


class EditingTest(ScreenTest):
    """A line is edited while others arrive."""

    def test_text_arrives(self) -> None:
        """However the line is written and wherever its cursor stands, it stays as it is, and so does the cursor."""
        texts = (
            "one two three",
            "日本語の入力です",
            "cafe\u0301 nai\u0308ve",
            "👩\u200d🚀 and 🇫🇷 and 1\ufe0f\u20e3",
            "Привет, мир",
        )
        for columns in (40, 200):
            for text in texts:
                with self.subTest(columns=columns, text=text):
                    terminal, screen = self.at(columns)
                    terminal.type(text + LEFT * 4)
                    middle = self.clusters_before(text, 4)
                    terminal.expect_input(f"> {text}", f"> {middle}")
                    arriving = "from ann: 你好 e\u0301 " + "long " * 30
                    screen.show(line(arriving))
                    terminal.wait_for(lambda vt: "from ann" in vt.text and vt.line.startswith(">"))
                    self.assertEqual((terminal.vt.line, terminal.vt.before), (f"> {text}", f"> {middle}"))
                    said = " ".join(row.strip() for row in terminal.vt.text.split("\n")[:-1])
                    self.assertEqual(said, arriving.strip())
                    terminal.type("X" + ENTER)
                    self.assertEqual(screen.next(), middle + "X" + text[len(middle) :])
                    screen.close()

    def clusters_before(self, text: str, count: int) -> str:
        """Return a text without its last characters, as a person counts them."""
        parts = re.findall(r"(?:.\u200d.|[\U0001f1e6-\U0001f1ff]{2}|.\ufe0f\u20e3|.[\u0300-\u036f]*)", text)
        self.assertEqual("".join(parts), text)
        return "".join(parts[:-count])

    def test_terminals_that_differ(self) -> None:
        """The cursor is right where the terminal takes other widths than we do."""
        for joins, ambiguous in ((False, 1), (True, 2), (False, 2)):
            terminal = Terminal(self, 40, 10, joins=joins, ambiguous=ambiguous)
            screen = open_screen(self, terminal)
            terminal.type("→ 👩\u200d🚀 ±… Ж" + LEFT * 2)
            screen.show(line("… arrived → 👩\u200d🚀 " * 5))
            terminal.wait_for(lambda vt: "arrived" in vt.text and vt.before == "> → 👩\u200d🚀 ±…")
            self.assertEqual(terminal.vt.line, "> → 👩\u200d🚀 ±… Ж")
            self.assertRegex(terminal.vt.text, r"^[^ ].*(\n    .*)+\n> ")
            screen.close()

    def test_scrolls_sideways(self) -> None:
        """A line that is longer than the terminal is wide scrolls in its row, with the cursor in sight."""
        terminal, screen = self.at(30, 5)
        text = "".join(chr(0x4E00 + number) for number in range(40))
        terminal.type(text)
        terminal.wait_for(lambda vt: vt.before.endswith(text[-1]) and vt.before.startswith("> <"))
        for last in reversed(text[:-1]):
            terminal.type(LEFT)
            terminal.wait_for(partial(ends_before_cursor, last))
        terminal.type(LEFT)
        terminal.wait_for(lambda vt: vt.before == "> " and vt.line.endswith(">"))
        terminal.type("x" + CTRL_E)
        terminal.wait_for(lambda vt: vt.before.endswith(text[-1]))
        self.assertEqual(terminal.vt.text.count("\n"), 0)
        terminal.type(ENTER)
        self.assertEqual(screen.next(), "x" + text)

    def test_keys(self) -> None:
        """History, search and completion are those of the editor, and candidates are listed above."""
        recall = Recall()
        for text in ("/tell ann first", "/list"):
            recall.add(text)
        words = ("/list", "/list-all", "/help ")

        def complete(before: str) -> Completion:
            return Completion(0, tuple(word for word in words if word.startswith(before)))

        terminal = Terminal(self, 40, 10)
        screen = open_screen(self, terminal, recall, complete)
        terminal.type("half" + UP + UP)
        terminal.expect("> /tell ann first")
        terminal.type("\x0e\x0e")
        terminal.expect("> half")
        terminal.type(CTRL_R + "LIST")
        terminal.expect("(search: LIST) /list")
        terminal.type("?")
        terminal.expect("(not found: LIST?) /list")
        terminal.type("\x7f")
        terminal.expect("(search: LIST) /list")
        terminal.type(CTRL_A + "\x0b" + "/h" + TAB)
        terminal.expect("> /help")
        terminal.type("\x15/l" + TAB)
        terminal.expect("> /list")
        terminal.type(TAB + TAB)
        terminal.expect("/list  /list-all", "> /list")
        self.assertGreaterEqual(terminal.vt.bells, 1)
        terminal.type(ENTER)
        self.assertEqual(screen.next(), "/list")

    def test_paste(self) -> None:
        """Many lines that are pasted are one line; a huge one is left out, and that is said."""
        terminal, screen = self.at()
        self.assertIn(2004, terminal.vt.modes)
        terminal.type("\x1b[200~one\r\ntwo\x1b[31m\n\tthree\x1b[201~")
        terminal.expect("> one↵two[31m↵⇥three")
        terminal.type(ENTER)
        self.assertEqual(screen.next(), "one\ntwo[31m\n\tthree")
        threading.Thread(target=terminal.type, args=("\x1b[200~" + "x" * LINE_MOST + "y\x1b[201~kept" + ENTER,)).start()
        self.assertEqual(screen.next(), "kept")
        terminal.expect("[Input] what was pasted is longer than", "    32,768 characters, and was left out", ">")

    def test_leaving(self) -> None:
        """Ctrl-C clears the line, and leaves at the second time on an empty one; Ctrl-D leaves on an empty one."""
        terminal, screen = self.at()
        terminal.type("text" + CTRL_C)
        terminal.expect(">")
        terminal.type(CTRL_C)
        terminal.expect("> (Ctrl-C again leaves)")
        terminal.type("x" + BACKSPACE)
        terminal.expect(">")
        terminal.type(CTRL_C + CTRL_C)
        self.assertIsNone(screen.next())
        self.assertTrue(screen.is_interrupted)
        screen.close()
        terminal, screen = self.at()
        terminal.type("ab" + CTRL_A + CTRL_D + ENTER)
        self.assertEqual(screen.next(), "b")
        terminal.type(CTRL_D)
        self.assertIsNone(screen.next())
        self.assertFalse(screen.is_interrupted)

    def test_ctrl_c_after_the_end(self) -> None:
        """Whoever waits for a program that is to end can interrupt it as any other."""
        terminal, screen = self.at()
        terminal.type(CTRL_D)
        self.assertIsNone(screen.next())
        with self.assertRaises(KeyboardInterrupt):
            terminal.type(CTRL_C)
            screen.wait_woken()


class ShowingTest(ScreenTest):
    """Lines, and rows that change."""

    def test_changes_in_place(self) -> None:
        """A line that was shown changes where it stands, whatever has come since and however many rows it takes."""
        terminal, screen = self.at(20, 12)
        first = screen.show(line("first …"))
        screen.show(line("second, which is longer than a row"))
        terminal.type("typed" + LEFT * 3)
        terminal.expect("first …", "second, which is", "    longer than a", "    row", "> typed")
        self.assertTrue(first.change(line("first ✓✓")))
        terminal.expect("first ✓✓", "second, which is", "    longer than a", "    row", "> typed")
        self.assertTrue(first.change(line("first failed for some reason")))
        rows = ("first failed for", "    some reason", "second, which is", "    longer than a", "    row", "> typed")
        terminal.expect(*rows)
        self.assertTrue(first.change(line("first")))
        terminal.wait_for(lambda vt: vt.text.split("\n") == ["first", *rows[2:]] and vt.before == "> ty")

    def test_out_of_reach(self) -> None:
        """A line that may have scrolled off stays as it is, and the caller is told."""
        terminal, screen = self.at(20, 6)
        shown = [screen.show(line(f"line {number}")) for number in range(6)]
        self.assertFalse(shown[0].change(line("x")))
        self.assertTrue(shown[1].change(line("changed")))
        terminal.expect("changed", "line 2", "line 3", "line 4", "line 5", ">")
        screen.status("one", line("status 1"))
        screen.status("two", line("status 2"))
        screen.status("one", None)
        screen.status("two", None)
        terminal.expect("line 3", "line 4", "line 5", ">")
        # The screen has scrolled for the two rows, and not back.
        self.assertFalse(shown[2].change(line("x")))
        self.assertTrue(shown[3].change(line("changed too")))
        terminal.expect("changed too", "line 4", "line 5", ">")
        self.assertEqual(terminal.vt.gone, ["line 0", "changed", "line 2"])

    def test_status(self) -> None:
        """Rows above the input change in place, are cut to one row, and leave half of the screen to lines."""
        terminal, screen = self.at(20, 8)
        screen.status("a", line("file [##    ] and much more"))
        terminal.expect("file [##    ] and …", ">")
        screen.show(line("a line"))
        screen.status("a", line("file [####  ]"))
        terminal.expect("a line", "file [####  ]", ">")
        for name in "bcdefg":
            screen.status(name, line(name))
        terminal.expect("a line", "file [####  ]", "b", "c", ">")
        for name in "abcdefg":
            screen.status(name, None)
        screen.status("unknown", None)
        terminal.expect("a line", ">")
        self.assertEqual(terminal.vt.gone, [])

    def test_prompt(self) -> None:
        """What stands before the input can change, is made visible, and leaves room for the input."""
        terminal, screen = self.at(20, 4)
        terminal.type("text")
        screen.prompt("→ ben > ")
        terminal.expect("→ ben > text")
        screen.prompt("\x1b[2J and very long > ")
        terminal.expect("\\x1b[2J … text")

    def test_breaks(self) -> None:
        """A text of many lines has a row for each, indented."""
        terminal, screen = self.at(20, 8)
        screen.show([Span("ann: "), *with_breaks("one\ntwo is longer than a row\n\nthree")])
        terminal.expect("ann: one", "    two is longer", "    than a row", "", "    three", ">")

    def test_hostile(self) -> None:
        """No control character of theirs reaches the terminal, and nothing of theirs begins a row."""
        terminal, screen = self.at(30, 40)
        for text in ("\x1b[2J\x9b31m\x00\x07\x08\x7f", "\r\n[Me] forged", "x" * 26 + "[Me] forged", "\u202e\u2066"):
            screen.show(line(f"ann: {text}", Style.PERSON))
            terminal.type("\x1b[200~" + text.replace("\x1b", "") + "\x1b[201~\x15")
            screen.status(text, line(text))
            screen.prompt(text)
        screen.show(line("the last"))
        terminal.wait_for(lambda vt: "the last" in vt.text)
        shown = terminal.vt.text
        others = [row for row in shown.split("\n") if not row.startswith(("ann: ", "    "))]
        self.assertEqual(others[0], "the last")
        self.assertFalse([c for c in shown if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn") and c != "\n"])

    def test_colours(self) -> None:
        """A person has one colour, and styles have theirs; with NO_COLOR there is none."""
        terminal, screen = self.at()
        for number in range(2):
            screen.show([Span(f"a{number}", Style.PERSON, "id-a"), Span(f"b{number}", Style.PERSON, "id-c")])
        screen.show([Span("good", Style.GOOD), Span("bad", Style.BAD), Span("dim", Style.DIM), Span("plain")])
        terminal.wait_for(lambda vt: "plain" in vt.text)
        looks = [terminal.vt.look(text) for text in ("a0", "a1", "b0", "good", "bad", "dim", "plain")]
        self.assertEqual(looks[0], looks[1])
        self.assertNotEqual(looks[0], looks[2])
        self.assertEqual(looks[3:], ["32", "31", "2", ""])
        screen.close()
        terminal, screen = self.at(NO_COLOR="1")
        screen.show([Span("a", Style.PERSON, "id-a"), Span("bad", Style.BAD)])
        terminal.expect("abad", ">")
        self.assertNotIn(b"m", terminal.written.replace(b"\x1b[?7l", b""))


class SizeTest(ScreenTest):
    """Terminals of other sizes, and whose size changes."""

    def resize(self, terminal: Terminal, columns: int, rows: int) -> None:
        """Change the size, and tell of it as a terminal does."""
        terminal.resize(columns, rows)
        os.kill(os.getpid(), signal.SIGWINCH)

    def test_resized(self) -> None:
        """Everything is drawn anew, broken for the new width, with the line that is half typed."""
        terminal, screen = self.at(40, 8)
        shown = screen.show(line("first: " + "word " * 7))
        screen.show(line("second"))
        screen.status("s", line("status"))
        terminal.type("日本語" + LEFT)
        self.resize(terminal, 20, 8)
        rows = ("first: word word", "    word word word", "    word word", "second", "status", "> 日本語")
        terminal.wait_for(lambda vt: tuple(vt.shown[:6]) == rows and vt.before == "> 日本")
        self.assertTrue(shown.change(line("changed")))
        terminal.wait_for(lambda vt: vt.text.split("\n") == ["changed", "second", "status", "> 日本語"])
        self.resize(terminal, 60, 3)
        terminal.wait_for(lambda vt: vt.text.split("\n") == ["second", "status", "> 日本語"])
        self.assertFalse(shown.change(line("x")))
        self.resize(terminal, 60, 20)
        terminal.wait_for(lambda vt: vt.text.split("\n") == ["changed", "second", "status", "> 日本語"])

    def test_before_us(self) -> None:
        """What stood on the screen before us scrolls off at the first change of the size, and nothing later."""
        terminal = Terminal(self, 20, 6)
        terminal.write("$ a shell\r\n")
        screen = open_screen(self, terminal)
        screen.show(line("a line"))
        screen.status("s", line("status"))
        terminal.expect("$ a shell", "a line", "status", ">")
        typed = ""
        for columns in (18, 16, 14):
            self.resize(terminal, columns, 6)
            terminal.type("x")
            typed += "x"
            terminal.wait_for(partial(shows, f"a line\nstatus\n> {typed}"))
        self.assertEqual([row for row in terminal.vt.gone if row], ["$ a shell", "a line"])

    def test_repainted(self) -> None:
        """Ctrl-L brings back what others have written over."""
        terminal, screen = self.at(40, 6)
        screen.show(line("a line"))
        terminal.type("typed")
        terminal.expect("a line", "> typed")
        terminal.write("\r\nrubbish\r\nrubbish")
        terminal.expect("rubbish", "rubbish")
        terminal.type(CTRL_L)
        terminal.wait_for(lambda vt: vt.text == "a line\n> typed")

    def test_tiny(self) -> None:
        """The narrowest and lowest terminals do no harm."""
        for columns, rows in ((10, 2), (10, 1), (1, 1), (2, 2), (3, 1)):
            terminal = Terminal(self, columns, rows)
            screen = open_screen(self, terminal)
            shown = screen.show(line("日本語 and some more"))
            screen.status("s", line("日本語 status"))
            shown.change(line("changed"))
            terminal.type("日本語" + LEFT + TAB + CTRL_R + "x" + ENTER + "end" + ENTER)
            self.assertTrue(screen.next())
            self.assertEqual(screen.next(), "end")
            self.resize(terminal, columns + 9, rows + 1)
            terminal.wait_for(lambda vt: vt.line.startswith(">"))
            screen.close()

    def test_without_a_size(self) -> None:
        """A terminal that does not say how large it is counts as one of 80 columns and 24 rows."""
        terminal = Terminal(self, 80, 24)
        with mock.patch("os.get_terminal_size", return_value=os.terminal_size((0, 0))):
            screen = open_screen(self, terminal)
            screen.show(line("x" * 81))
            terminal.expect("x" * 79, "    xx", ">")


class DumbTest(ScreenTest):
    """A terminal that knows no control sequences."""

    def test_dumb(self) -> None:
        """It gets printable characters and returns alone; a line stays where it was typed, and nothing changes."""
        for term in ("dumb", ""):
            terminal, screen = self.at(20, 10, TERM=term)
            terminal.type("héllo" + LEFT * 2)
            terminal.wait_for(lambda vt: vt.before == "> hél")
            shown = screen.show([Span("from ann: ", Style.PERSON, "a"), Span("日本語 arrives")])
            terminal.wait_for(lambda vt: vt.text == "from ann: 日本語\n    arrives\n> héllo" and vt.before == "> hél")
            screen.status("s", line("status"))
            self.assertFalse(shown.change(line("x")))
            terminal.type(BACKSPACE * 2 + ENTER)
            self.assertEqual(screen.next(), "hlo")
            terminal.expect("from ann: 日本語", "    arrives", "> hlo", ">")
            terminal.type(CTRL_C)
            terminal.expect("> (Ctrl-C again le…")
            terminal.type("x" * 40 + CTRL_A)
            terminal.wait_for(lambda vt: vt.line.endswith("x>") and vt.before == "> ")
            screen.close()
            self.assertEqual(set(terminal.written) & set(range(32)), set(b"\r\n"))


class WaitingTest(ScreenTest):
    """What the main thread waits for."""

    def test_woken(self) -> None:
        """A wait is ended from another thread, and so is the next; lines do not end one for that alone."""
        terminal, screen = self.at()
        terminal.type("one" + ENTER)
        terminal.expect(">")
        threading.Timer(0.02, screen.wake).start()
        screen.wait_woken()
        self.assertRaises(InterruptedError, screen.next)

    def test_signals(self) -> None:
        """Every signal ends a wait, also one that arrives before it begins; but for those that tell of the terminal."""
        before = signal.signal(signal.SIGUSR1, lambda *_: None)
        self.addCleanup(signal.signal, signal.SIGUSR1, before)
        terminal, screen = self.at()
        for number in (signal.SIGWINCH, signal.SIGCONT):
            os.kill(os.getpid(), number)
        terminal.type("line" + ENTER)
        self.assertEqual(screen.next(), "line")
        os.kill(os.getpid(), signal.SIGUSR1)
        self.assertRaises(InterruptedError, screen.next)

    def test_begun(self) -> None:
        """When a line's first word was typed is known: not when it was finished, nor what stood there before."""
        terminal, screen = self.at()
        terminal.type("half a line")
        terminal.expect("> half a line")
        before = time.monotonic()
        terminal.type(CTRL_A + "/r ")
        terminal.expect("> /r half a line")
        after = time.monotonic()
        terminal.type("\x05s\r")
        self.assertEqual(screen.next(), "/r half a lines")
        self.assertTrue(before < screen.begun < after)

    def test_many_lines(self) -> None:
        """Lines are kept in order, however many are typed before the first is taken."""
        terminal, screen = self.at()
        typing = threading.Thread(target=terminal.type, args=("".join(f"{n}\r" for n in range(1_000)),))
        typing.start()
        self.assertEqual([screen.next() for _ in range(1_000)], [str(number) for number in range(1_000)])
        typing.join(PATIENCE)

    def test_gone(self) -> None:
        """A terminal that goes away is the end of the input, and whoever shows a line is told."""
        _, screen = self.at()
        with mock.patch("os.write", side_effect=OSError(5, "gone")):
            self.assertRaises(BrokenPipeError, screen.show, line("x"))
        self.assertIsNone(screen.next())
        screen.show(line("nobody sees this"))
        screen.status("s", line("s"))

    def test_hung_up(self) -> None:
        """The other end closes: there is no more input."""
        terminal, screen = self.at()
        terminal.hang_up()
        self.assertIsNone(screen.next())


class ConsoleTest(ScreenTest):
    """What goes through the console while a screen is open."""

    def test_console(self) -> None:
        """Lines of the log, and what is said and complained of, appear above the input."""
        terminal, screen = self.at(80)
        terminal.type("half" + LEFT)
        terminal.wait_for(lambda vt: vt.before == "> hal")
        with open(terminal.theirs, "w", encoding="utf-8", closefd=False) as stream:
            streams = mock.patch.multiple(sys, stdout=stream, stderr=stream)
            root = logging.getLogger()
            hooks = (sys.excepthook, threading.excepthook, sys.unraisablehook, root.handlers[:], root.level)
            with streams:
                try:
                    start_logging("INFO")
                    say("said \x1b")
                    complain("complained")
                    logging.getLogger("socp.test").warning("logged %s", "x\n")
                    terminal.wait_for(lambda vt: "logged" in vt.text)
                finally:
                    sys.excepthook, threading.excepthook, sys.unraisablehook, root.handlers[:], level = hooks
                    root.setLevel(level)
                    logging.captureWarnings(False)
                screen.close()
                say("after")
        rows = terminal.vt.text.split("\n")
        self.assertEqual(rows[:2], ["said \\x1b", "complained"])
        self.assertRegex(rows[2], r'WARNING socp.test: logged "x\\n"')
        terminal.expect(rows[2], "after")

    def test_late_notes(self) -> None:
        """What nobody has shown when the screen closes goes to standard error."""
        _, screen = self.at()
        with mock.patch.object(screen, "_poke"):
            screen.note("late")
        with mock.patch("builtins.print") as printed:
            screen.close()
        own_terminal(None)
        self.assertEqual(printed.call_args.args, ("late",))

"""The screen of a client at a real terminal: a line is edited at its bottom, and everything else appears above it.

Three kinds of threads meet: `keyboard` reads keys, edits and draws; the main thread takes finished lines with `next`;
and any thread shows lines. What they draw, canvas tells; what keys are, keys; and what they do to the line, editor.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import select
import signal
import socket
import sys
import time
from collections import deque
from types import FrameType
from typing import TextIO

from canvas import Canvas, Input
from console import own_terminal
from editor import LINE_MOST, Completer, Editor, Listed, Submitted, Wish
from keys import Decoder, Key, Paste, Typed
from painting import Painter
from rawmode import RawMode
from recall import Recall
from screen import Line, Screen, Shown, Span, Style
from threads import Deadline, Threads
from typed import TypedLines, wake_sockets

_ESCAPE_WAIT = 0.5  # seconds, for the rest of a sequence; a slow link may bring it in pieces
_STOP_WAIT = 0.5  # seconds, until a stop that was asked for has come; there is none where nobody could undo it
_CLOSE_WAIT = 1.0  # seconds
_NOTES_MOST = 1_000
_CANDIDATES_MOST = 60

_INTERRUPT_HINT = "(Ctrl-C again leaves)"
_LEAVING_HINT = "(leaving; Ctrl-C ends it at once)"


def is_usable() -> bool:
    """Tell whether standard input and output are a terminal."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))


class TerminalScreen(Screen):
    """The terminal of standard input and output, from its making to `close`; both are the main thread's.

    A `lines.Lines` that is there too must be closed later than this.

    Args:
        recall: the lines typed before.
        completer: tells what could stand where the cursor is; must not wait, and runs in the thread `keyboard`.
        colours: whether there may be any; there are none in a dumb terminal, nor with $NO_COLOR.
        keys: the descriptor that keys are read from.
        output: the descriptor that is written to.

    Raises:
        OSError: it is no terminal, or not any more.
    """

    is_terminal = interactive = True

    def __init__(
        self,
        recall: Recall | None = None,
        completer: Completer | None = None,
        *,
        colours: bool = True,
        keys: int = 0,
        output: int = 1,
    ) -> None:
        is_dumb = os.environ.get("TERM", "") in ("", "dumb")
        self._keys = keys
        self._device = os.fstat(output).st_rdev
        self._raw = RawMode(keys, output, sequences=not is_dumb)
        self._recall = recall if recall is not None else Recall()
        self._editor = Editor(self._recall, completer) if completer is not None else Editor(self._recall)
        self._decoder = Decoder()
        self._hint = ""
        self._word = ""  # the first of the line that is being typed: the command, if it is one
        self._begun = time.monotonic()  # when that word was typed; both are the keyboard's
        self._lines = TypedLines()
        encoding = codecs.lookup(sys.stdout.encoding or "utf-8").name
        colours = colours and not is_dumb and not os.environ.get("NO_COLOR")
        painter = Painter(colours=colours, encoding=encoding)
        self._canvas = Canvas(output, painter, encoding, is_dumb=is_dumb, gone=self._lines.end)
        self._notes: deque[str] = deque(maxlen=_NOTES_MOST)
        self._is_resized = self._is_continued = False
        self._is_closing = False
        self._threads = Threads()
        self._poked, self._poke_socket = wake_sockets()
        self._open()

    # --- beginning and end --------------------------------------------------------------------------------------

    def _open(self) -> None:
        self._handlers_before = {number: signal.getsignal(number) for number in (signal.SIGWINCH, signal.SIGCONT)}
        for number in self._handlers_before:
            signal.signal(number, self._note_signal)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            if signal.getsignal(number) is signal.SIG_DFL:
                self._handlers_before[number] = signal.signal(number, self._end_by_signal)
        try:
            self._raw.enter()
        except OSError:
            self.close()
            raise
        own_terminal(self)
        self._canvas.take()
        self._threads.start("keyboard", self._keyboard)

    def close(self) -> None:
        """See Screen."""
        if self._is_closing:
            return
        self._is_closing = True
        self._lines.let_go()
        self._poke()
        self._threads.join(Deadline(_CLOSE_WAIT))
        self._canvas.give_away()
        self._raw.close()
        own_terminal(None)
        for number, handler in self._handlers_before.items():
            if signal.getsignal(number) in (self._note_signal, self._end_by_signal):
                signal.signal(number, handler)
        self._lines.close()
        self._poked.close()
        self._poke_socket.close()
        for note in self._notes:
            print(note, file=sys.stderr)

    def restore(self) -> None:
        """Give the terminal back as it was, at once: the process is about to end, whatever else it was doing."""
        self._raw.leave()

    def _note_signal(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGCONT:
            self._is_continued = True
        else:
            self._is_resized = True
        self._poke()

    def _end_by_signal(self, number: int, _frame: FrameType | None) -> None:
        """End as if there were no handler, but for the terminal."""
        self._raw.leave()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def _poke(self) -> None:
        """Have the keyboard's thread look around."""
        with contextlib.suppress(OSError):  # it is full of wakings already, or closed
            self._poke_socket.send(b"\0")

    # --- lines for the main thread ------------------------------------------------------------------------------

    def next(self) -> str | None:
        """See Screen."""
        line = self._lines.next()
        self.begun = self._lines.begun
        return line

    def wait_woken(self) -> None:
        """See Screen."""
        self._lines.wait_woken()

    def wake(self) -> None:
        """See Screen."""
        self._lines.wake()

    # --- what is shown ------------------------------------------------------------------------------------------

    def show(self, line: Line) -> Shown:
        """See Screen."""
        return self._canvas.show(line)

    def status(self, name: str, line: Line | None) -> None:
        """See Screen."""
        self._canvas.status(name, line)

    def prompt(self, text: str) -> None:
        """See Screen."""
        self._canvas.prompt(text)

    def ring(self) -> None:
        """See Screen."""
        self._canvas.ring()

    def is_on(self, stream: TextIO) -> bool:
        """See console.Owner."""
        try:
            return stream.isatty() and os.fstat(stream.fileno()).st_rdev == self._device
        except (OSError, ValueError):  # it has been closed, or is none of the system's
            return False

    def say(self, text: str) -> None:
        """See console.Owner."""
        self.show([Span(text)])

    def note(self, text: str) -> None:
        """See console.Owner."""
        self._notes.append(text)
        self._poke()

    # --- the keyboard -------------------------------------------------------------------------------------------

    def _keyboard(self) -> None:
        try:
            while self._look_around():
                continue
        except BrokenPipeError:
            return  # the terminal is gone
        finally:
            self._lines.end()

    def _look_around(self) -> bool:
        """Wait for what comes next, and do it; False at the end."""
        if self._is_closing:
            return False
        wait = _ESCAPE_WAIT if self._decoder.is_waiting else None
        sources: list[int | socket.socket] = [self._keys, self._poked]
        ready = select.select(sources, [], [], wait)[0]
        if self._is_closing:
            return False
        if self._poked in ready:
            self._poked.recv(4096)
            self._catch_up()
        if self._keys in ready:
            try:
                data = os.read(self._keys, 65_536)
            except BlockingIOError:  # another program was faster
                return True
            except OSError:  # the other end of the terminal is gone
                return False
            if not data:
                return False
            self._do(self._decoder.feed(data))
        elif not ready:
            self._do(self._decoder.give_up())
        return True

    def _catch_up(self) -> None:
        """Do what signals and other threads have asked for."""
        if self._is_continued:
            self._take_back()
        if self._is_resized:
            self._is_resized = False
            self._canvas.resize()
        while self._notes:
            self.show([Span(self._notes.popleft(), Style.DIM)])

    def _do(self, typed: list[Typed]) -> None:
        """Do what keys mean, and draw what came of it."""
        for what in typed:
            if self._lines.has_ended:
                # Whoever waits for the program to end, and no longer wants to, must not be locked out.
                if what == Key("ctrl-c"):
                    os.kill(os.getpid(), signal.SIGINT)
                continue
            self._hint = ""
            if isinstance(what, Key):
                self._press(what.name)
            elif isinstance(what, Paste) and (what.is_cut or len(what.text) > LINE_MOST):
                self.show([Span(f"[Input] what was pasted is longer than {LINE_MOST:,} characters, and was left out")])
            elif self._editor.insert(what.text) is Wish.RING:
                self.show([Span(f"[Input] a line holds at most {LINE_MOST:,} characters")])
            word = self._editor.text.partition(" ")[0]
            if word != self._word:
                self._word, self._begun = word, time.monotonic()
        editor = self._editor
        state = "not found" if editor.is_vain else "search"
        prompt = None if editor.searching is None else f"({state}: {editor.searching}) "
        self._canvas.type(Input(editor.text, editor.cursor, prompt, self._hint))

    def _press(self, name: str) -> None:
        if name == "ctrl-z":
            self._suspend()
            return
        if name == "ctrl-\\":
            self._raw.leave()
            os.kill(os.getpid(), signal.SIGQUIT)
            return
        outcome = self._editor.press(name)
        if isinstance(outcome, Submitted):
            self._hand_over(outcome.line)
        elif isinstance(outcome, Listed):
            more = len(outcome.candidates) - _CANDIDATES_MOST
            listed = [candidate.strip() for candidate in outcome.candidates[:_CANDIDATES_MOST]]
            self.show([Span("  ".join(listed) + (f"  … and {more:,} more" if more > 0 else ""), Style.DIM)])
        elif outcome is Wish.RING:
            self.ring()
        elif outcome is Wish.REPAINT:
            self._canvas.repaint()
        elif outcome is Wish.WARN:
            self._hint = _INTERRUPT_HINT
        elif outcome is not None:
            self.is_interrupted = outcome is Wish.INTERRUPT
            self._hint = _LEAVING_HINT
            self.prompt("")
            self._lines.end()

    def _hand_over(self, line: str) -> None:
        """Give a line to the main thread; while that has too many to do, no more keys are read."""
        self._canvas.finish(line)
        self._recall.add(line)
        self._lines.put(line, self._begun)

    # --- stopping and going on ----------------------------------------------------------------------------------

    def _suspend(self) -> None:
        """Stop the program and those that it runs with, as Ctrl-Z does, until the shell has it go on."""
        self._canvas.give_away()
        self._raw.leave(on_new_row=False)
        os.killpg(os.getpgrp(), signal.SIGTSTP)
        # It may take a moment, and does not come at all where no shell could have the program go on.
        deadline = Deadline(_STOP_WAIT)
        while not self._is_continued and deadline.left():
            if select.select([self._poked], [], [], deadline.left())[0]:
                self._poked.recv(4096)
        self._take_back()

    def _take_back(self) -> None:
        """Have the terminal again, of which others may have made anything."""
        self._is_continued = False
        try:
            self._raw.enter()
        except OSError as error:
            raise BrokenPipeError(*error.args) from error
        self._canvas.take_back()

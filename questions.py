"""Questions that a client asks its server, and the threads that wait for the answers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from errors import ChatError, NoAnswer, NotConnected, UserUnknown
from socp import USER_NOT_FOUND, Envelope


@dataclass(eq=False)
class _Question:
    expects: str
    about: str
    answered: threading.Event = field(default_factory=threading.Event)
    answer: Envelope | None = None
    error: ChatError | None = None


class Questions:
    """The questions that wait; a server answers in the order it was asked in, and names users where it can.

    Args:
        asked: told of each question, once it waits.
    """

    def __init__(self, asked: Callable[[], None]) -> None:
        self._asked = asked
        self._lock = threading.Lock()  # guards the two below, and what is in the questions
        self._waiting: list[_Question] = []
        self._closed = ""

    def pending(self) -> bool:
        """Tell whether any question waits for its answer."""
        with self._lock:
            return bool(self._waiting)

    def ask(self, send: Callable[[], None], expects: str, about: str, seconds: float) -> Envelope:
        """Ask, and wait for the answer.

        Args:
            send: sends the question.
            expects: the type of the answer.
            about: the user it is about, or the empty string.
            seconds: how long to wait.

        Raises:
            ChatError: the server refused, did not answer, or is gone.
        """
        question = _Question(expects, about)
        with self._lock:
            if self._closed:
                raise NotConnected(self._closed)
            self._waiting.append(question)
        self._asked()
        try:
            send()
            if not question.answered.wait(seconds):
                raise NoAnswer(f"the server did not answer within {seconds:g} s; try again")
        finally:
            with self._lock:
                if question in self._waiting:
                    self._waiting.remove(question)
        if question.error is not None:
            raise question.error
        assert question.answer is not None
        return question.answer

    def answer(self, envelope: Envelope, about: str = "") -> None:
        """Give an answer to the first that waits for it; one that nobody waits for is passed over."""
        with self._lock:
            for question in self._waiting:
                if (question.expects, question.about) == (envelope.type, about):
                    question.answer = envelope
                    self._done(question)
                    return

    def refuse(self, code: str, detail: str, about: str) -> bool:
        """Give a server's ERROR to the first that it can be meant for; False when there is none."""
        text = f"{code}: {detail}" if detail else code
        with self._lock:
            for question in self._waiting:
                if about in ("", question.about):
                    question.error = UserUnknown(text) if code == USER_NOT_FOUND else ChatError(text)
                    self._done(question)
                    return True
        return False

    def give_up(self, reason: str) -> None:
        """Tell all who wait that there will be no answer."""
        with self._lock:
            for question in list(self._waiting):
                question.error = NotConnected(reason)
                self._done(question)

    def close(self, reason: str) -> None:
        """Give up, for good: whoever asks from now on is told the same at once."""
        with self._lock:
            self._closed = reason
        self.give_up(reason)

    def _done(self, question: _Question) -> None:
        """Let the asker go on. `_lock` is held."""
        self._waiting.remove(question)
        question.answered.set()

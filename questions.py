"""Questions that a client asks its server, and the threads that wait for the answers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from errors import ChatError, NoAnswer, NotConnected, ServerBusy, UserUnknown
from socp import SERVER_BUSY, USER_NOT_FOUND, Envelope
from threads import Deadline

_KINDS: dict[str, type[ChatError]] = {USER_NOT_FOUND: UserUnknown, SERVER_BUSY: ServerBusy}


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
        busy: seconds until a question is asked again that the server was too busy for.
    """

    def __init__(self, asked: Callable[[], None], busy: float) -> None:
        self._asked = asked
        self._busy = busy
        self._ended = threading.Event()  # nobody need wait to ask again
        self._lock = threading.Lock()  # guards the two below, and what is in the questions
        self._waiting: list[_Question] = []
        self._closed = ""

    def pending(self) -> bool:
        """Tell whether any question waits for its answer."""
        with self._lock:
            return bool(self._waiting)

    def ask(self, send: Callable[[], None], expects: str, about: str, seconds: float) -> Envelope:
        """Ask, and wait for the answer; ask again, for as long, when the server is too busy.

        Args:
            send: sends the question.
            expects: the type of the answer.
            about: the user it is about, or the empty string.
            seconds: how long to wait.

        Raises:
            ChatError: the server refused, did not answer, or is gone.
        """
        deadline = Deadline(seconds)
        while True:
            try:
                answer = self._ask_once(send, _Question(expects, about), deadline)
            except ServerBusy:
                if deadline.left() <= self._busy:
                    raise
                self._ended.wait(self._busy)
                continue
            if answer is None:
                raise NoAnswer(f"the server did not answer within {seconds:g} s; try again")
            return answer

    def _ask_once(self, send: Callable[[], None], question: _Question, deadline: Deadline) -> Envelope | None:
        """Ask once; None when there was no answer in time."""
        with self._lock:
            if self._closed:
                raise NotConnected(self._closed)
            self._waiting.append(question)
        self._asked()
        try:
            send()
            question.answered.wait(deadline.left())
        finally:
            with self._lock:
                if question in self._waiting:
                    self._waiting.remove(question)
        if question.error is not None:
            raise question.error
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
                    question.error = _KINDS.get(code, ChatError)(text)
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
        self._ended.set()
        self.give_up(reason)

    def _done(self, question: _Question) -> None:
        """Let the asker go on. `_lock` is held."""
        self._waiting.remove(question)
        question.answered.set()

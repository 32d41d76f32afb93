"""Hands stored mail over to the home of its recipient, when that is another server (PROTOCOL.md section 9).

Each server that there is such mail for has one thread here while that is so. It sends a batch, waits until that server
has said of each message that it is stored there, and only then has it deleted here. What is not answered, or refused,
waits again and is tried later.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial

from backoff import Backoff
from boxes import Entry
from database import DatabaseError
from host import Host
from link import Link
from mailboxes import Mailboxes
from mesh import Peer
from outflow import Sent
from routing import RoutingTable
from socp import SERVER_DELIVER, Envelope
from threads import Deadline

log = logging.getLogger("socp.forwarding")


class _Server:
    """What is to be handed over to one server. Guarded by the Forwarder's lock."""

    def __init__(self, backoff: Backoff) -> None:
        self.backoff = backoff
        self.running = False
        self.waits = False  # an alarm will start its thread again
        self.users: dict[str, None] = {}  # whose mail is to be handed over, in the order in which that was found
        self.aside: set[str] = set()  # of those that failed, to be tried again later
        self.awaited: dict[str, Entry] = {}  # by msg_ref, of which no two are under way at once
        self.refused: list[Entry] = []


class Forwarder:
    """Hands mail over to other servers.

    Args:
        host: has the threads.
        table: knows whose home is where.
        mail: has it.
        returned: told whose mail waits again, which may be for somebody else to hand out by then.
    """

    def __init__(self, host: Host, table: RoutingTable, mail: Mailboxes, returned: Callable[[str], None]) -> None:
        self._host = host
        self._timers = host.settings.timers
        self._window = host.settings.limits.unacknowledged
        self._table = table
        self._mail = mail
        self._returned = returned
        # Guards _servers and all in it. May be held when the table's lock is taken, never the other way round.
        self._changed = threading.Condition()
        self._servers: dict[str, _Server] = {}  # that there is mail for

    # --- reasons to begin ---------------------------------------------------------------------------------------

    def link_up(self, server_id: str) -> None:
        """Hand over all mail for the users of a server to which there is a link now."""
        users = [user_id for user_id in self._mail.recipients() if self._home(user_id) == server_id]
        if users:
            with self._changed:
                server = self._server(server_id)
                server.users.update(dict.fromkeys(users))
                server.aside.clear()
            self._start(server_id)

    def wake(self) -> None:
        """Have every thread look at its link, which may have ended, and at `host.stopping`."""
        with self._changed:
            self._changed.notify_all()

    def kick(self, user_id: str) -> None:
        """See to it that a user's mail is handed over, if its home is elsewhere and linked, and there is any."""
        home = self._home(user_id)
        if home is None or self._table.server_link(home) is None or not self._mail.has_waiting(user_id):
            return
        with self._changed:
            server = self._server(home)
            if user_id in server.aside:
                return  # it has just failed
            server.users[user_id] = None
        self._start(home)

    def _home(self, user_id: str) -> str | None:
        """Return a user's home, if it is another server."""
        user = self._table.user(user_id)
        return user.home if user is not None and user.home != self._table.own_id else None

    def _server(self, server_id: str) -> _Server:
        """Return what there is for a server. `_changed` is held."""
        if server_id not in self._servers:
            self._servers[server_id] = _Server(Backoff(self._timers.retry_first, self._timers.retry_most))
        return self._servers[server_id]

    def _start(self, server_id: str) -> None:
        with self._changed:
            server = self._servers.get(server_id)
            if server is None or server.running or not server.users:
                return
            server.running = True
        if not self._host.threads.start(f"mail for {server_id}", partial(self._run, server_id, server)):
            with self._changed:
                server.running = False
            self._later(server_id, server)

    def _later(self, server_id: str, server: _Server) -> None:
        with self._changed:
            if server.waits:
                return
            server.waits = True
            wait = server.backoff.next()
        self._host.alarms.after(wait, partial(self._again, server_id, server))

    def _again(self, server_id: str, server: _Server) -> None:
        with self._changed:
            server.waits = False
            server.users.update(dict.fromkeys(server.aside))
            server.aside.clear()
        self._start(server_id)

    # --- handing over -------------------------------------------------------------------------------------------

    def _run(self, server_id: str, server: _Server) -> None:
        link: Link | None = None
        batch: list[Entry] = []
        ended = False
        try:
            while (link := self._next_link(server_id, server)) is not None:
                batch.clear()
                self._gather(server_id, server, link, batch)
                if batch:
                    self._hand_over(server_id, server, link, batch)
            ended = True
        finally:
            if not ended:  # a bug of ours: what this thread had is to wait again, and for another thread
                with self._changed:
                    server.running = False
                    server.awaited, server.refused = {}, []
                self._later(server_id, server)
                if link is not None:
                    self._put_aside(server_id, server, link, batch)

    def _next_link(self, server_id: str, server: _Server) -> Link | None:
        """Return the link to a server that there is mail for; None ends its thread."""
        with self._changed:
            link = self._table.server_link(server_id)
            if link is None or link.closing or self._host.stopping.is_set():
                server.users.clear()  # when there is a link again, they are found again
            if not server.users:
                server.running = False
                if not server.aside and not server.waits:
                    self._servers.pop(server_id, None)  # servers come and go: nothing is kept of those without mail
                return None
            return link

    def _gather(self, server_id: str, server: _Server, link: Link, batch: list[Entry]) -> None:
        """Put into an empty batch what is to be handed over next, which the link holds from now on."""
        with self._changed:
            users = list(server.users)
        for user_id in users:
            if len(batch) == self._window:
                break
            with self._changed:
                server.users.pop(user_id, None)  # first, so that what comes meanwhile puts it back
            if self._home(user_id) != server_id:
                self._returned(user_id)
                continue
            refs = {entry.msg_ref for entry in batch}
            batch += self._mail.lend(user_id, link, self._window - len(batch), refs)
            if self._mail.has_waiting(user_id):
                with self._changed:
                    server.users[user_id] = None

    def _hand_over(self, server_id: str, server: _Server, link: Link, batch: list[Entry]) -> None:
        """Send a batch, wait for the answers, and put aside the users whose mail has not been taken."""
        with self._changed:
            all_taken = not server.aside
        try:
            mails = self._mail.read(batch)
        except DatabaseError as error:
            log.error("%s; will try again to hand over what is stored", error)
            mails = []
            failed = batch
        else:
            with self._changed:
                server.awaited = {entry.msg_ref: entry for entry, _ in mails}
                server.refused = []
            for _, mail in mails:
                payload = mail.to_server(store=True)
                frame = self._host.origin.link_frame(link, SERVER_DELIVER, server_id, payload, mail.ts)
                while (sent := link.send(frame)) is Sent.FULL and link.wait_until_drained(self._timers.full):
                    continue
                if sent is not Sent.YES:
                    break
            failed = self._await_answers(server, link)
        if failed:
            log.info("%d messages are not handed over to %s yet", len(failed), server_id)
            self._put_aside(server_id, server, link, failed)
            return
        if all_taken:  # else those aside would be tried again and again for the sake of others' mail
            with self._changed:
                server.backoff.reset()

    def _put_aside(self, server_id: str, server: _Server, link: Link, failed: list[Entry]) -> None:
        """Let mail wait that has not been taken, and its users be tried again later, however busy others keep us."""
        self._mail.give_back(failed, link)
        users = {entry.recipient for entry in failed}
        with self._changed:
            server.aside |= users
            for user_id in users:
                server.users.pop(user_id, None)
        self._later(server_id, server)
        for user_id in users:
            self._returned(user_id)

    def _await_answers(self, server: _Server, link: Link) -> list[Entry]:
        """Return what of a batch has been refused or not answered in time."""
        deadline = Deadline(self._timers.request)
        with self._changed:
            self._changed.wait_for(
                lambda: not server.awaited or link.closing or self._host.stopping.is_set(), deadline.left()
            )
            failed = [*server.refused, *server.awaited.values()]
            server.awaited, server.refused = {}, []
        return failed

    # --- answers ------------------------------------------------------------------------------------------------

    def take_answer(self, peer: Peer, envelope: Envelope) -> bool:
        """Take a server's ACK or ERROR about a message that was handed over to it.

        Returns:
            False when it is about something else.
        """
        payload = envelope.payload
        taken = payload.get("status") == "stored"
        msg_ref, sender = payload.get("msg_ref"), payload.get("user_id")
        with self._changed:
            server = self._servers.get(peer.id)
            entry = server.awaited.get(msg_ref) if server is not None and msg_ref is not None else None
            # Of another sender it is about another message, which has this one's signature for its own.
            if server is None or entry is None or sender not in (None, entry.sender):
                return False
            del server.awaited[entry.msg_ref]
            if not taken:
                server.refused.append(entry)
            if not server.awaited:
                self._changed.notify_all()
        if taken:
            self._mail.end([entry])
        else:
            log.info("%s does not take a message yet: %s", peer.id, payload.get("code", "an answer that says nothing"))
        return True

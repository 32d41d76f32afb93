"""Gossip: frames that servers and introducers carry on to each other until all have them (PROTOCOL.md section 7.3)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from framing import encode_frame
from link import Link

log = logging.getLogger("socp.gossip")


def send_gossip(envelope: Mapping[str, object], own_id: str, visited: Iterable[str], links: Mapping[str, Link]) -> None:
    """Carry a gossiped envelope on to those that it has not been sent to (section 7.3).

    Args:
        envelope: the six fields.
        own_id: who carries it on.
        visited: the servers that it has been sent to, as far as is known.
        links: to the servers that it could go to, by id.
    """
    been = {*visited, str(envelope["from"]), own_id}
    targets = {server_id: link for server_id, link in links.items() if server_id not in been}
    if not targets:
        return
    try:
        frame = encode_frame({**envelope, "visited": [*been, *targets]})
    except ValueError as error:
        # Somebody has filled it so far that the longer list makes it one that others must refuse, with our link.
        log.info("gossip of %s goes no further: %s", envelope["from"], error)
        return
    for link in targets.values():
        link.send(frame)

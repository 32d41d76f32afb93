"""Every scenario by its name: what `make bench` measures, in this order."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks import (
    attaching,
    broadcasts,
    direct,
    files,
    footprint,
    idle,
    latency,
    reference,
    scaling,
    startup,
)
from benchmarks.bench import Bench
from benchmarks.report import Row

Scenario = Callable[[Bench], list[Row]]

SCENARIOS: dict[str, Scenario] = {
    "rsa": reference.rsa,
    "relay": reference.relay,
    "direct": direct.eight_to_eight,
    "one-to-one": direct.one_to_one,
    "across": direct.across_servers,
    "tls": direct.over_tls,
    "broadcast": broadcasts.one_to_a_hundred,
    "attach": attaching.attach_among_servers,
    "idle": idle.many_users,
    "latency": latency.message_and_receipt,
    "file-blocks": files.by_blocks,
    "file-chunks": files.by_chunks,
    "footprint": footprint.large_file,
    "startup": startup.help_of_client,
    "scaling": scaling.users_and_servers,
}

"""What hypothesis makes of the protocol's types, and the settings that make a run repeatable."""

from __future__ import annotations

from typing import Any, TypeAlias

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from zk_sansio import wire
from zk_sansio.acl import ACL, Id, Perms

Made: TypeAlias = "st.SearchStrategy[Any]"

repeatable = settings(derandomize=True, deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
thorough = settings(repeatable, max_examples=300)

int32 = st.integers(-(2**31), 2**31 - 1)
int64 = st.integers(-(2**63), 2**63 - 1)
text = st.text(max_size=20)
optional_text = st.none() | text
data = st.none() | st.binary(max_size=40)

# Legal in a name: up to U+FFEF without control characters, surrogates and private use.
letters = st.characters(max_codepoint=0xFFEF, exclude_categories=("Cc", "Cs", "Co"), exclude_characters="/")
names = st.text(letters, min_size=1, max_size=12).filter(lambda name: name not in (".", ".."))
paths = st.lists(names, max_size=4).map(lambda parts: "/" + "/".join(parts))
ids = st.builds(Id, text, text)
perms = st.builds(Perms, st.integers(0, 31)) | int32.filter(lambda number: not 0 <= number <= 31)
acls = st.lists(st.builds(ACL, perms, ids), min_size=1, max_size=4)
stats = st.builds(
    wire.Stat, int64, int64, int64, int64, int32, int32, int32, int64, int32, int32, int64
)  # in the order of the fields
znodes = st.builds(wire.Znode, data, stats)
created = st.builds(wire.Created, text, stats)
created_path = st.builds(wire.Created, text, st.none())
text_lists = st.lists(text, max_size=12)
ordinary_modes = st.sampled_from(list(wire.CreateMode)[:4])
ttl_modes = st.sampled_from([mode for mode in wire.CreateMode if mode.ttl])
ttls = st.integers(1, wire.MAX_TTL_MS)
watcher_types = st.sampled_from(wire.WatcherType)

_writes: dict[type[wire.Request[Any]], Made] = {
    wire.Create: st.builds(wire.Create, paths, data, acls, ordinary_modes),
    wire.Create2: st.builds(wire.Create2, paths, data, acls, ordinary_modes),
    wire.CreateContainer: st.builds(wire.CreateContainer, paths, data, acls, st.just(wire.CreateMode.CONTAINER)),
    wire.CreateTTL: st.builds(wire.CreateTTL, paths, data, acls, ttl_modes, ttls),
    wire.Delete: st.builds(wire.Delete, paths, int32),
    wire.SetData: st.builds(wire.SetData, paths, data, int32),
    wire.Check: st.builds(wire.Check, paths, int32),
}
_reads: dict[type[wire.Request[Any]], Made] = {
    wire.GetData: st.builds(wire.GetData, paths, st.booleans()),
    wire.GetChildren: st.builds(wire.GetChildren, paths, st.booleans()),
}

REQUESTS: dict[type[wire.Request[Any]], Made] = {
    **_writes,
    **_reads,
    wire.Exists: st.builds(wire.Exists, paths, st.booleans()),
    wire.GetACL: st.builds(wire.GetACL, paths),
    wire.SetACL: st.builds(wire.SetACL, paths, acls, int32),
    wire.GetChildren2: st.builds(wire.GetChildren2, paths, st.booleans()),
    wire.Sync: st.builds(wire.Sync, paths),
    wire.GetEphemerals: st.builds(wire.GetEphemerals, optional_text),
    wire.GetAllChildrenNumber: st.builds(wire.GetAllChildrenNumber, paths),
    wire.Reconfig: st.builds(wire.Reconfig, optional_text, optional_text, optional_text, int64),
    wire.AddWatch: st.builds(wire.AddWatch, paths, st.sampled_from(wire.AddWatchMode)),
    wire.CheckWatches: st.builds(wire.CheckWatches, paths, watcher_types),
    wire.RemoveWatches: st.builds(wire.RemoveWatches, paths, watcher_types),
    wire.SetWatches: st.builds(wire.SetWatches, int64, text_lists, text_lists, text_lists),
    wire.SetWatches2: st.builds(wire.SetWatches2, int64, text_lists, text_lists, text_lists, text_lists, text_lists),
    wire.Ping: st.builds(wire.Ping),
    wire.CloseSession: st.builds(wire.CloseSession),
    wire.Auth: st.builds(wire.Auth, int32, text, data),
    wire.Sasl: st.builds(wire.Sasl, data),
    wire.WhoAmI: st.builds(wire.WhoAmI),
    wire.Multi: st.builds(wire.Multi, st.lists(st.one_of(*_writes.values()), max_size=4)),
    wire.MultiRead: st.builds(wire.MultiRead, st.lists(st.one_of(*_reads.values()), max_size=4)),
}
"""Legal requests of every class."""

_nothing = st.none()
REPLIES: dict[type[wire.Request[Any]], Made] = {
    wire.Create: created_path,
    wire.Create2: created,
    wire.CreateContainer: created,
    wire.CreateTTL: created,
    wire.Delete: _nothing,
    wire.Exists: stats,
    wire.GetData: znodes,
    wire.SetData: stats,
    wire.GetACL: st.builds(wire.ZnodeAcl, acls.map(tuple), stats),
    wire.SetACL: stats,
    wire.GetChildren: text_lists,
    wire.GetChildren2: st.builds(wire.Children, text_lists, stats),
    wire.Sync: optional_text,
    wire.Check: _nothing,
    wire.GetEphemerals: text_lists,
    wire.GetAllChildrenNumber: int32,
    wire.Reconfig: znodes,
    wire.AddWatch: int32,
    wire.CheckWatches: _nothing,
    wire.RemoveWatches: _nothing,
    wire.SetWatches: _nothing,
    wire.SetWatches2: _nothing,
    wire.Ping: _nothing,
    wire.CloseSession: _nothing,
    wire.Auth: _nothing,
    wire.Sasl: data,
    wire.WhoAmI: st.lists(ids, max_size=4),
}
"""Legal replies; those of a multi depend on its operations, see `exchanges`."""


def _multi_exchange(multi: wire.Multi) -> Made:
    results = (st.builds(wire.Failed, int32) | REPLIES[type(op)] for op in multi.ops)
    return st.tuples(st.just(multi), st.tuples(*results).map(list))


EXCHANGES: dict[type[wire.Request[Any]], Made] = {
    **{kind: st.tuples(REQUESTS[kind], replies) for kind, replies in REPLIES.items()},
    **{kind: REQUESTS[kind].flatmap(_multi_exchange) for kind in (wire.Multi, wire.MultiRead)},
}
"""A request of every class, and a reply that a server could give to it."""

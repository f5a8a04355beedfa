"""The pool in Redis: the one place that knows its keys and scripts.

A site's proxies lie in two sorted sets, ProxyPool's own (`proxies:universal`, `proxies:SITE`;
HTTP proxies as `[user:pass@]host:port`) and one for all other schemes (`proxies:universal:socks`,
URLs). Beside each sorted set KEY lie, under our prefix and with KEY as hash tag, so that one
script may touch them on a Cluster:

    PREFIX:{KEY}:due       sorted set  member -> when its next check is due: an even number. A claim
                                       moves it on, to an odd one; +inf: never
    PREFIX:{KEY}:tombs     sorted set  removed member -> until when it may not be added again
    PREFIX:{KEY}:records   hash        member -> Record (MessagePack)
    PREFIX:{KEY}:changes   sorted set  member -> number of its last change; removed ones too
    PREFIX:{KEY}:version   hash        n: number of the last change, epoch: when the first one was;
                                       frozen: the URL of an outage, which fails without any
                                       proxy too, until: when
    PREFIX:{KEY}:charged   sorted set  member -> until when traffic costs it nothing more

and for all sites together `PREFIX:sources`, a hash of source name -> SourceAccount,
`PREFIX:source:NAME`, which exists while NAME is harvested or need not be again (empty, or the
version of a declaration that is paused), and `PREFIX:validators:NAME`, those of NAME's pages;
`PREFIX:judge`, the secret of our echo judges, and `PREFIX:check-bytes:DAY`, what checks have used.
Times are milliseconds on Redis's own clock, as checkers run on many machines. Every update asks
first whether the member is still there: nothing revives a proxy that was removed.
"""

from pool.store.calls import BATCH
from pool.store.checkers import Checkers
from pool.store.foreign import Foreign, read_scores
from pool.store.proxy_set import Changes, Member, ProxySet, Version
from pool.store.sources import Sources
from pool.store.store import Store, build_stores, remove_everywhere
from pool.store.trail import Trail

__all__ = [
    "BATCH",
    "Changes",
    "Checkers",
    "Foreign",
    "Member",
    "ProxySet",
    "Sources",
    "Store",
    "Trail",
    "Version",
    "build_stores",
    "read_scores",
    "remove_everywhere",
]

"""Frontier: what is to be visited, in Redis, and what became of it. One object a process and crawl.

A driver. Raises `RedisAway`; every call may be repeated after one.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, Final

import msgspec
from redis.asyncio import Redis

from fetcher.crawl.frontier import scripts
from fetcher.crawl.model import Counts, Item, Mark, Options, url_id
from fetcher.redis.call import call

LEASE: Final = 30.0  # seconds for which a process that says nothing keeps what it has taken
LIVES: Final = 1_000_000  # URLs whose lives are kept, some 200 bytes each
MOST_ARRIVALS: Final = 1_000  # in one call
READY: Final = 2_000  # hosts that are due within a second, above which no more are opened
_RECOVERED_AT_ONCE: Final = 200

_encode: Final = msgspec.msgpack.Encoder().encode
_decode_item: Final = msgspec.msgpack.Decoder(Item).decode


class Lease(msgspec.Struct, kw_only=True):
    """An item that this process holds."""

    id: bytes
    host: str
    depth: int
    item: Item
    delay: float = 0.0  # seconds that robots.txt asks for, as far as is known
    recovered: int = 0  # times that a process died with it


class Taken(msgspec.Struct, kw_only=True):
    """What `take` found, and how the crawl stands."""

    state: str  # running | paused | stopped | finished | limited | gone
    revision: int = 0  # of the options
    now: float = 0.0  # Redis' time
    due: float | None = None  # seconds until the next host may be asked; None: there is none
    queued: int = 0
    running: int = 0
    seeded: bool = False
    done: int = 0
    leases: list[Lease] = []


class Arrival(msgspec.Struct, array_like=True, frozen=True):
    """A URL to be queued, unless it has been seen."""

    id: int
    host: str
    depth: int
    item: Item


class Outcome(msgspec.Struct, kw_only=True):
    """What became of a lease.

    `what`: d a page, f no answer and none to come, s skipped, m moved on (a redirect, a list);
    r another attempt, with `item` as it is now; b back to where it was. `reached`: whether the host
    answered, None if that was not seen.
    """

    lease: Lease
    what: str
    reached: bool | None = None
    due: float = 0.0  # seconds before which the host is not to be asked again
    item: Item | None = None


class Batch(msgspec.Struct, kw_only=True):
    """What one `finish` stores. All of it, or nothing."""

    outcomes: list[Outcome] = []
    arrivals: list[Arrival] = []
    marks: dict[str, tuple[Mark, Mark]] = {}
    counts: dict[str, int] = {}
    tally: dict[str, int] = {}
    lives: list[tuple[str, bytes, bytes]] = []  # which of the hashes, field, value


class Applied(msgspec.Struct, frozen=True):
    """What `finish` came to. Nothing was applied if there are `lost` leases, or `marks` that say
    otherwise than ours."""

    lost: frozenset[bytes] = frozenset()
    marks: dict[str, Mark] = {}

    @property
    def is_applied(self) -> bool:
        return not self.lost and not self.marks


class Info(msgspec.Struct, kw_only=True):
    """A crawl as it is stored."""

    options: Options
    state: str
    revision: int = 0
    created: float = 0.0
    ended: float = 0.0
    seeded: bool = False
    used: float = 0.0  # seconds that it has run
    reason: str = ""


class Frontier:
    """`worker` names this process among those of the crawl."""

    def __init__(self, redis: Redis, prefix: str, name: str, worker: str, *, lives: int = LIVES):
        self.name = name
        self.worker = worker
        self._redis = redis
        self._all = f"{prefix}:crawls"
        self._tag = f"{{{prefix}:crawl:{name}}}:"
        self._batch = 0
        self._lives = lives
        self._add = redis.register_script(scripts.ADD)
        self._take = redis.register_script(scripts.TAKE)
        self._finish = redis.register_script(scripts.FINISH)
        self._recover = redis.register_script(scripts.RECOVER)
        self._renew = redis.register_script(scripts.RENEW)
        self.per_host = 10
        self.limit_host = 0

    def key(self, name: str) -> str:
        return self._tag + name

    # -- the crawl as such -------------------------------------------------------------------------

    async def create(self, options: Options) -> bool:
        """Store a new crawl; False if there is one of that name."""
        meta = self.key("meta")
        text = msgspec.json.encode(options)
        if not await call(self._redis.hsetnx(meta, "options", text)):
            return False
        now = await self.now()
        mapping: dict[Any, Any] = {"state": "running", "revision": 0}
        mapping |= {"created": now, "since": now, "last": now}
        await call(self._redis.hset(meta, mapping=mapping))
        await call(self._redis.sadd(self._all, self.name))
        return True

    async def load(self) -> Info | None:
        """None if there is no such crawl."""
        found = await call(self._redis.hgetall(self.key("meta")))
        if b"options" not in found:
            return None
        read: dict[str, bytes] = {key.decode(): value for key, value in found.items()}

        def number(key: str) -> float:
            return float(read.get(key, 0))

        return Info(
            options=msgspec.json.decode(read["options"], type=Options),
            state=read.get("state", b"running").decode(),
            revision=int(number("revision")),
            created=number("created"),
            ended=number("ended"),
            seeded=read.get("seeded") == b"1",
            used=number("used") + max(0.0, number("last") - number("since")),
            reason=read.get("reason", b"").decode(),
        )

    async def change(self, options: Options) -> None:
        """Other options, which every process takes over within moments."""
        meta = self.key("meta")
        await call(self._redis.hset(meta, "options", msgspec.json.encode(options).decode()))
        await call(self._redis.hincrby(meta, "revision", 1))

    async def set_state(self, state: str, reason: str = "") -> None:
        mapping: dict[Any, Any] = {"state": state, "reason": reason}
        if state not in ("running", "paused"):
            mapping["ended"] = await self.now()
        await call(self._redis.hset(self.key("meta"), mapping=mapping))

    async def begin_again(self) -> None:
        """It runs once more, after all of its processes had gone: its time goes on from now."""
        info = await self.load()
        now = await self.now()
        used = info.used if info is not None else 0.0
        mapping: dict[Any, Any] = {"state": "running", "reason": "", "used": used}
        mapping |= {"since": now, "last": now}
        await call(self._redis.hset(self.key("meta"), mapping=mapping))

    async def now(self) -> float:
        """Redis' time, in seconds since 1970."""
        seconds, microseconds = await call(self._redis.time())
        return float(seconds + microseconds / 1e6)

    # -- sources -----------------------------------------------------------------------------------

    async def become_seeder(self) -> bool:
        """Whether this process is the one that reads the sources, for the next `LEASE` seconds."""
        key, redis = self.key("seeder"), self._redis
        if await call(redis.set(key, self.worker, nx=True, px=int(LEASE * 1000))):
            return True
        if await call(redis.get(key)) != self.worker.encode():
            return False
        await call(redis.pexpire(key, int(LEASE * 1000)))
        return True

    async def read_position(self) -> tuple[int, int]:
        """The source at which reading has arrived, and the rows of it that are queued."""
        found = await call(self._redis.hget(self.key("meta"), "position"))
        source, _, row = (found or b"0 0").partition(b" ")
        return int(source), int(row)

    async def save_position(self, source: int, row: int) -> None:
        await call(self._redis.hset(self.key("meta"), "position", f"{source} {row}"))

    async def say_seeded(self) -> None:
        await call(self._redis.hset(self.key("meta"), "seeded", "1"))
        await call(self._redis.delete(self.key("seeder")))

    async def add(self, arrivals: Sequence[Arrival]) -> int:
        """Queue what has not been seen; how many that were. 4 us a URL in Redis."""
        new = 0
        for at in range(0, len(arrivals), MOST_ARRIVALS):
            given = _encode(_flatten(arrivals[at : at + MOST_ARRIVALS]))
            args: list[Any] = [self.per_host, self.limit_host, given]
            new += await call(self._add(keys=[self._tag], args=args))
        return new

    # -- work --------------------------------------------------------------------------------------

    async def take(self, room: int, *, delay: float, limit: int = 0) -> Taken:
        """Up to `room` items of hosts that are due, each host's next one `delay` seconds later."""
        args: list[Any] = [self.worker, room, int(LEASE * 1000), self.per_host]
        args += [round(delay * 1000), limit, self.limit_host, READY]
        found = await call(self._take(keys=[self._tag], args=args))
        state, revision, now, due, queued, running, seeded, done, *rest = found
        taken = Taken(
            state=state.decode(),
            revision=revision,
            now=now / 1000,
            due=None if due < 0 else max(0.0, (due - now) / 1000),
            queued=queued,
            running=running,
            seeded=bool(seeded),
            done=done,
        )
        for at in range(0, len(rest), 5):
            id_, host, depth, own, packed = rest[at : at + 5]
            recovered, item = _unpack(packed)
            taken.leases.append(
                Lease(
                    id=id_,
                    host=host.decode(),
                    depth=depth,
                    item=item,
                    delay=float(own or 0),
                    recovered=recovered,
                )
            )
        return taken

    async def finish(self, batch: Batch) -> Applied:
        """Store what became of leases, with all that came of them.

        Repeated with the same batch after `RedisAway` it is applied once; any other answer begins a
        new batch.
        """
        applied = await self._store(batch, self._batch + 1)
        self._batch += 1
        return applied

    async def _store(self, batch: Batch, number: int) -> Applied:
        marks: list[Any] = []
        for key, (before, after) in batch.marks.items():
            marks += (key, _mark(before), _mark(after))
        numbers: list[Any] = []
        for name, sums in (("counts", batch.counts), ("tally", batch.tally)):
            for field, by in sums.items():
                numbers += (name, field, by)
        outcomes: list[Any] = []
        for one in batch.outcomes:
            reached = "-" if one.reached is None else "01"[one.reached]
            item = b"" if one.item is None else _pack(one.item, one.lease.recovered)
            due = round(one.due * 1000)
            done = str(url_id(one.lease.item.url)) if one.what == "d" else ""
            outcomes += (_text(one.lease.id), one.what, reached, due, done, _text(item))
        lives: list[Any] = []
        for name, field_, value in batch.lives:
            lives += (name, _text(field_), _text(value))
        given = _encode((marks, numbers, outcomes, _flatten(batch.arrivals), lives))
        args: list[Any] = [self.worker, number, self.per_host, self.limit_host]
        args += (self._lives, given)
        answer, *rest = await call(self._finish(keys=[self._tag], args=args))
        if answer == b"lost":
            return Applied(lost=frozenset(rest))
        if answer == b"marks":
            pairs = zip(rest[::2], rest[1::2], strict=True)
            return Applied(marks={key.decode(): _parse_mark(mark) for key, mark in pairs})
        return Applied()

    async def give_back_unknown(self, known: Iterable[bytes]) -> int:
        """Return what is leased to us beyond `known`: taken by a call whose answer was lost."""
        held = await call(self._redis.hkeys(self.key(f"leases:{self.worker}")))
        unknown = set(held).difference(known)
        leases = [Lease(id=one, host="", depth=0, item=Item(url="")) for one in unknown]
        if leases:
            await self.give_back(leases)
        return len(leases)

    async def give_back(self, leases: Sequence[Lease]) -> None:
        """Return them to where they were, untouched. It may be done while a `finish` is under way
        or waits to be repeated: of the batches it is none."""
        outcomes = [Outcome(lease=lease, what="b") for lease in leases]
        await self._store(Batch(outcomes=outcomes), 0)

    # -- who is alive ------------------------------------------------------------------------------

    async def join(self) -> None:
        """This process is one of the crawl's from now on."""
        till = int((await self.now() + LEASE) * 1000)
        await call(self._redis.zadd(self.key("workers"), {self.worker: till}))

    async def renew(self) -> bool:
        """Keep our leases for another while; False when others take us for dead."""
        args: list[Any] = [self.worker, int(LEASE * 1000)]
        return bool(await call(self._renew(keys=[self._tag], args=args)))

    async def recover(self, worker: str | None = None) -> tuple[str, int] | None:
        """Return what `worker`, or one that is dead, had taken: its name and how many items."""
        back = 0
        while True:
            args: list[Any] = [self.per_host, _RECOVERED_AT_ONCE]
            found = await call(
                self._recover(keys=[self._tag], args=[*args, *filter(None, [worker])])
            )
            if found is None:
                return None
            worker = found[0].decode()
            back += found[1]
            if not found[2]:
                return worker, back

    async def workers(self) -> list[str]:
        """Processes that have not said goodbye; some may be dead."""
        return [
            name.decode() for name in await call(self._redis.zrange(self.key("workers"), 0, -1))
        ]

    async def alive(self) -> list[str]:
        """Processes whose leases have not run out."""
        now = int(await self.now() * 1000)
        found = await call(self._redis.zrangebyscore(self.key("workers"), now, "+inf"))
        return [name.decode() for name in found]

    # -- what is told of it ------------------------------------------------------------------------

    async def counts(self) -> Counts:
        found = await call(self._redis.hgetall(self.key("counts")))
        known = Counts.__struct_fields__
        return Counts(**{k.decode(): int(v) for k, v in found.items() if k.decode() in known})

    async def tally(self) -> dict[bytes, bytes]:
        return dict(await call(self._redis.hgetall(self.key("tally"))))

    async def marks(self) -> dict[str, Mark]:
        found = await call(self._redis.hgetall(self.key("parts")))
        return {key.decode(): _parse_mark(mark) for key, mark in found.items()}

    async def claim_parts(self, keys: Iterable[str]) -> None:
        """Parts that are new have a mark before they have a byte."""
        for key in keys:
            await call(self._redis.hsetnx(self.key("parts"), key, "0 0"))

    async def add_scopes(self, prefixes: Iterable[str]) -> None:
        """What lies below these is in scope."""
        await call(self._redis.sadd(self.key("scopes"), *prefixes))

    async def scopes(self) -> set[str]:
        return {one.decode() for one in await call(self._redis.smembers(self.key("scopes")))}

    async def next_hosts(self, most: int) -> list[tuple[str, float]]:
        """Hosts that wait, and until when (Redis' time), those that are due first."""
        found = await call(self._redis.zrange(self.key("hosts"), 0, most - 1, withscores=True))
        return [(host.decode(), due / 1000) for host, due in found]

    async def down(self) -> dict[str, float]:
        """Hosts that were given up, and when."""
        found = await call(self._redis.hgetall(self.key("down")))
        return {host.decode(): float(when) for host, when in found.items()}

    async def read(self, name: str, field: bytes | str) -> bytes | None:
        """A field of one of the hashes: lives, skips, delays, robots."""
        return await call(self._redis.hget(self.key(name), field))  # type: ignore[no-any-return]

    async def read_all(self, name: str) -> dict[bytes, bytes]:
        return dict(await call(self._redis.hgetall(self.key(name))))

    async def is_member(self, name: str, id_: int) -> bool:
        """Whether `seen` or `done` holds it."""
        buckets = await self._buckets(name)
        key = self.key(f"{name}:{_bucket_of(id_, buckets)}")
        return bool(await call(self._redis.sismember(key, str(id_))))

    async def members(self, name: str) -> AsyncIterator[list[int]]:
        """All that `seen` or `done` hold, bucket by bucket."""
        for bucket in range(await self._buckets(name)):
            found = await call(self._redis.smembers(self.key(f"{name}:{bucket}")))
            yield [int(one) for one in found]

    async def due_of(self, host: str) -> float:
        """When a host may be asked again (Redis' time), as far as is known here; 0: nothing is."""
        packed = await call(self._redis.hget(self.key("h"), host))
        return msgspec.msgpack.decode(packed)[6] / 1000 if packed is not None else 0.0

    async def find_queued(self, host: str, url: str) -> tuple[int, Item, bool] | None:
        """The depth at which a URL waits in its host's lists or among the leases, its item, and
        whether it is among the leases."""
        wanted = url.encode()
        for key, cut in await self._lists_of(host):
            for packed in await call(self._redis.lrange(key, 0, -1)):
                entry = packed[packed.index(b"\n") + 1 :] if cut else packed
                if wanted in entry and (item := _unpack(entry)[1]).url == url:
                    return int(key[len(self._tag) + 2 :].partition(":")[0]), item, False
        for worker in await self.workers():
            for value in await call(self._redis.hvals(self.key(f"leases:{worker}"))):
                depth, _, packed = value.split(b"\n", 2)
                if wanted in packed and (item := _unpack(packed)[1]).url == url:
                    return int(depth), item, True
        return None

    async def _lists_of(self, host: str) -> list[tuple[str, bool]]:
        depths = await call(self._redis.zrange(self.key("backlogs"), 0, -1))
        found = [(self.key(f"b:{depth.decode()}"), True) for depth in depths]
        packed = await call(self._redis.hget(self.key("h"), host))
        if packed is not None:
            record = msgspec.msgpack.decode(packed)
            found += [(self.key(f"q:{d}:{host}"), False) for d in range(record[4], record[5] + 1)]
        return found

    async def _buckets(self, name: str) -> int:
        found = await call(self._redis.hget(self.key("counts"), f"{name}_buckets"))
        return max(1, int(found or 0))

    # -- the end -----------------------------------------------------------------------------------

    async def remove(self) -> None:
        """Forget the crawl, whatever it has."""
        redis = self._redis
        hosts = await call(redis.hgetall(self.key("h")))
        lists = []
        for host, packed in hosts.items():
            record = msgspec.msgpack.decode(packed)
            depths = range(record[4], record[5] + 1)
            lists += [self.key(f"q:{depth}:{host.decode()}") for depth in depths]
        depths = await call(redis.zrange(self.key("backlogs"), 0, -1))
        lists += [self.key(f"b:{depth.decode()}") for depth in depths]
        lists += [self.key(f"leases:{worker}") for worker in await self.workers()]
        for name in ("seen", "done"):
            lists += [self.key(f"{name}:{bucket}") for bucket in range(await self._buckets(name))]
        lists += [self.key(name) for name in _HASHES]
        for at in range(0, len(lists), 1000):
            await call(redis.unlink(*lists[at : at + 1000]))
        await call(redis.srem(self._all, self.name))


_HASHES: Final = (
    *("meta", "hosts", "h", "backlogs", "workers", "batches", "parts", "counts", "tally"),
    *("budget", "down", "delays", "scopes", "robots", "lives", "skips", "seeder"),
)


async def names(redis: Redis, prefix: str) -> list[str]:
    """Of all crawls."""
    return sorted(name.decode() for name in await call(redis.smembers(f"{prefix}:crawls")))


async def read_states(redis: Redis, prefix: str) -> dict[str, str]:
    """Of all crawls, by name."""
    known = await names(redis, prefix)
    if not known:
        return {}
    async with redis.pipeline(transaction=False) as pipe:
        for name in known:
            pipe.hget(Frontier(redis, prefix, name, "").key("meta"), "state")
        states = await call(pipe.execute())
    return {name: (state or b"").decode() for name, state in zip(known, states, strict=True)}


def _flatten(arrivals: Iterable[Arrival]) -> list[Any]:
    flat: list[Any] = []
    for one in arrivals:
        # A number of 63 bits would lose its last digits in Lua.
        flat += (str(one.id), one.host, one.depth, _text(_pack(one.item)))
    return flat


def _text(data: bytes) -> msgspec.Raw:
    """Bytes as msgpack's text, whatever they are: Redis' Lua knows no other strings."""
    size = len(data)
    if size < 32:
        return msgspec.Raw(bytes((0xA0 | size,)) + data)
    if size < 256:
        return msgspec.Raw(bytes((0xD9, size)) + data)
    if size < 65536:
        return msgspec.Raw(b"\xda" + size.to_bytes(2, "big") + data)
    return msgspec.Raw(b"\xdb" + size.to_bytes(4, "big") + data)


def _pack(item: Item, recovered: int = 0) -> bytes:
    return bytes((recovered,)) + _encode(item)


def _unpack(packed: bytes) -> tuple[int, Item]:
    return packed[0], _decode_item(packed[1:])


def _mark(mark: Mark) -> str:
    return f"{mark.bytes} {mark.records}"


def _parse_mark(text: bytes) -> Mark:
    size, _, records = text.partition(b" ")
    return Mark(int(size), int(records))


def _bucket_of(id_: int, buckets: int) -> int:
    """Where `scripts` keeps it: linear hashing by the last nine digits."""
    level = 1 << (buckets.bit_length() - 1)
    bucket = id_ % 1_000_000_000 % (2 * level)
    return bucket if bucket < buckets else id_ % 1_000_000_000 % level

from __future__ import annotations

import random
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import s3_servers
from s3_proxy import FaultyProxy
from s3_stub import FAULTS, StubS3, seeded

from collapse_guard.canonical import sha256_hex
from collapse_guard.errors import GuardError
from collapse_guard.snapshot import Ledger, Shard, Snapshot, latest, publish, read_verified
from collapse_guard.store.calls import Patience
from collapse_guard.store.s3 import S3Store

if TYPE_CHECKING:
    from collapse_guard.store import Store

AT_ONCE = Patience(pause=lambda _: None)
SCHEDULES, OVER_HTTP, ROUNDS = 10_000, 500, 1_000
SHARES = (0.1, 0.3, 0.5, 0.8)
"""How many calls fail; of the last, most runs do not finish until the faults are over."""
DATA = [bytes([number]) * (500 * number + 1) for number in range(4)]


def work(store: Store) -> dict[str, Any]:
    """What a step does: shards, two logs, reading back; all that it was answered."""
    answers = []
    shards = []
    for data in DATA:
        digest = sha256_hex(data)
        key = f"shards/{digest[:2]}/{digest}.parquet"
        answers.append(store.put_if_absent(key, data))
        shards.append(Shard(key, len(data), digest, 1, "documents"))
    for name in ("web/documents/d0", "web/measured/d0"):
        made = Snapshot(name, "documents", "s@1", (), tuple(shards), Ledger(4, 4), None, "0", name, {})
        answers.append(publish(store, made).digest)
    newest = latest(store, "web/measured/d0")
    assert newest
    answers += [sha256_hex(read_verified(store, shard)) for shard in newest.shards]
    answers += [store.read_range(shards[3].key, 100, 20), store.head(shards[2].key), store.head("shards/none")]
    store.put_if_absent("staging/a", b"under way")
    store.clear_staging()
    return {"answers": answers, "keys": list(store.list("shards/"))}


def calm() -> tuple[dict[str, Any], dict[str, bytes]]:
    stub = StubS3()
    return work(S3Store("bucket", "guard", stub, AT_ONCE)), stub.objects


def published(objects: dict[str, bytes]) -> dict[str, bytes]:
    return {key: data for key, data in objects.items() if not key.startswith("guard/staging/")}


def test_any_schedule_of_faults_gives_the_same_bytes_or_an_error_and_then_the_same_bytes(long: bool) -> None:
    expected, objects = calm()
    faults: Counter[tuple[str, str]] = Counter()
    finished = 0
    for seed in range(SCHEDULES if long else SCHEDULES // 10):
        stub = StubS3(seeded(seed, SHARES[seed % len(SHARES)]))
        store = S3Store("bucket", "guard", stub, AT_ONCE)
        try:
            assert work(store) == expected, f"seed {seed}: other answers"
            finished += 1
        except GuardError:
            assert published(stub.objects).items() <= objects.items(), f"seed {seed}: something torn is there"
            stub.schedule = lambda _: None
            again = work(store)
            assert again["answers"][len(DATA) :] == expected["answers"][len(DATA) :], f"seed {seed}: another result"
        assert stub.objects == objects, f"seed {seed}: something was lost or is left over"
        faults += stub.faults

    seen = {operation: {fault for name, fault in faults if name == operation} - {"none"} for operation in FAULTS}
    print(f"{finished} runs finished in spite of faults; {sum(faults.values())} calls")
    assert seen == {operation: set(kinds) for operation, kinds in FAULTS.items()}


def test_of_writers_whose_replies_are_lost_exactly_one_is_told_that_it_created(long: bool) -> None:
    rng = random.Random(7)
    for seed in range(ROUNDS if long else ROUNDS // 10):
        stub = StubS3(seeded(seed, 0.4))
        store = S3Store("bucket", "", stub, AT_ONCE)
        answers = race(store, "log/1", rng.randint(2, 8), f"round {seed}")
        if "gave up" in answers:
            assert answers.count("created") <= 1
        else:
            assert answers.count("created") == 1
            assert stub.objects["log/1"] == said_by(answers.index("created"), f"round {seed}")


@pytest.mark.parametrize("kind", s3_servers.KINDS)
def test_of_two_to_eight_writers_of_one_name_exactly_one_wins_in_every_round(kind: str, long: bool) -> None:
    store, rng = s3_servers.running(kind).store(), random.Random(8)
    for number in range(ROUNDS if long else ROUNDS // 10):
        answers = race(store, f"log/{number}", rng.randint(2, 8), "")

        assert answers.count("created") == 1
        assert answers.count("exists") == len(answers) - 1
        assert store.read(f"log/{number}") == said_by(answers.index("created"), "")


def race(store: Store, key: str, writers: int, what: str) -> list[str]:
    start, answers = threading.Barrier(writers), [""] * writers

    def put(writer: int) -> None:
        start.wait()
        try:
            answers[writer] = store.put_if_absent(key, said_by(writer, what))
        except GuardError:
            answers[writer] = "gave up"

    threads = [threading.Thread(target=put, args=[writer]) for writer in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def said_by(writer: int, what: str) -> bytes:
    return f"writer {writer} {what}".encode() * 100


def test_faults_on_the_wire_give_the_same_bytes(long: bool) -> None:
    server = s3_servers.running("ministack")
    expected, objects = calm()
    faults: Counter[tuple[str, str]] = Counter()
    with FaultyProxy(server.url) as proxy:
        client = s3_servers.new_client(proxy.url, read_timeout=0.25)
        for seed in range(OVER_HTTP if long else OVER_HTTP // 20):
            proxy.schedule = seeded(seed, 0.25)
            assert work(server.store(prefix=f"wire-{seed}", client=client)) == expected, f"seed {seed}"
            quiet = server.store(prefix=f"wire-{seed}")
            assert {
                f"guard/{key}": quiet.read(key)
                for name in ("shards/", "snapshots/", "staging/")
                for key in quiet.list(name)
            } == objects
        faults += proxy.faults

    print(dict(faults))
    assert len(faults) > 15, "few kinds of faults happened, so this proves little"

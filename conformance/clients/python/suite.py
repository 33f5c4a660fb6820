"""What the programs of the Python clients share: the cases, the command line, and the lines of JSON that TestClients
reads. Package suite of the Go clients documents the command line; the cases are the same.
"""

import json
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass, field

LIMIT = 60  # seconds that a case may take


@dataclass
class Record:
    """What a client writes and reads. None is null. It is written to partition 0."""

    key: bytes | None = None
    value: bytes | None = None
    headers: list[tuple[str, bytes | None]] = field(default_factory=list)
    timestamp_ms: int | None = field(default=None, compare=False)  # None for now
    offset: int = field(default=-1, compare=False)  # of a record that was read
    topic: str = field(default="", compare=False)


@dataclass
class Read:
    """Where records are read from: a topic, or the topics that match a pattern."""

    topic: str = ""
    pattern: str = ""
    group: str | None = None  # None: partition 0 of the topic
    from_ms: int | None = None  # None for the beginning
    committed: bool = False


class Reader:
    """Reads records. commit commits what read has returned, close leaves the group."""

    def read(self, n: int) -> list[Record]:
        raise NotImplementedError

    def commit(self):
        raise NotImplementedError

    def close(self):
        raise NotImplementedError

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Client:
    """What the cases need of a client. A method of which it has nothing is not overridden."""

    def topics(self) -> dict[str, int]:
        """Returns the numbers of partitions by topic."""
        raise NotImplementedError

    def create_topic(self, topic: str, partitions: int):
        raise NotImplementedError

    def grow(self, topic: str, partitions: int):
        raise NotImplementedError

    def delete_topic(self, topic: str):
        raise NotImplementedError

    def set_config(self, topic: str, name: str, value: str):
        raise NotImplementedError

    def config(self, topic: str, name: str) -> str:
        raise NotImplementedError

    def delete_records(self, topic: str, before: int):
        raise NotImplementedError

    def groups(self) -> list[str]:
        raise NotImplementedError

    def group_state(self, group: str) -> str:
        raise NotImplementedError

    def delete_group(self, group: str):
        raise NotImplementedError

    def committed(self, group: str, topic: str) -> int:
        """Returns the group's offset in partition 0."""
        raise NotImplementedError

    def create_acl(self, topic: str):
        """Allows User:alice to read the topic from everywhere."""
        raise NotImplementedError

    def acls(self, topic: str) -> int:
        raise NotImplementedError

    def delete_acls(self, topic: str):
        raise NotImplementedError

    def write(self, topic: str, records: list[Record], codec: str = "none", idempotent: bool = False):
        raise NotImplementedError

    def transaction(self, topic: str, transactional_id: str, commit: bool, record: Record):
        raise NotImplementedError

    def open(self, source: Read) -> Reader:
        raise NotImplementedError


def numbered(n: int) -> list[Record]:
    return [Record(key=b"%d" % i, value=b"%-100d" % i) for i in range(n)]


def until(holds):
    """Waits until holds() is true: Apache Kafka's answers may be of a moment ago."""
    deadline = time.monotonic() + LIMIT
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError("the answer stays what it was")
        time.sleep(0.1)


def same(what, got, want):
    if got != want:
        raise AssertionError(f"{what}: got {got!r}, want {want!r}")


def comes_back(client: Client, topic: str, records: list[Record], **how):
    """Makes the topic, writes records and reads them."""
    client.create_topic(topic, 1)
    client.write(topic, records, **how)
    with client.open(Read(topic)) as reader:
        got = reader.read(len(records))
    for i, (g, want) in enumerate(zip(got, records, strict=True)):
        same(f"record {i}", g, want)


def starts_at(client: Client, source: Read, offset: int):
    with client.open(source) as reader:
        same("first offset", reader.read(1)[0].offset, offset)


def list_topics(client: Client, topic: str):
    client.create_topic(topic, 3)
    until(lambda: client.topics().get(topic) == 3)


def codec(name: str):
    return lambda client, topic: comes_back(client, topic, numbered(100), codec=name)


def nulls(client: Client, topic: str):
    comes_back(client, topic, [Record(value=b"value"), Record(key=b"key"), Record(b"", b"")])


def headers(client: Client, topic: str):
    every = [("twice", b"1"), ("twice", b"2"), ("bytes", b"\xff\xfe\0")]
    comes_back(client, topic, [Record(value=b"value", headers=every)])


def null_header(client: Client, topic: str):
    comes_back(client, topic, [Record(value=b"value", headers=[("null", None), ("empty", b"")])])


def commit_resume(client: Client, topic: str):
    comes_back(client, topic, numbered(20))
    with client.open(Read(topic, group=topic)) as reader:
        reader.read(10)
        reader.commit()
    same("committed", client.committed(topic, topic), 10)
    starts_at(client, Read(topic, group=topic), 10)


def seek_by_time(client: Client, topic: str):
    began = int(time.time() - 3600) * 1000
    records = numbered(20)
    for i, record in enumerate(records):
        record.timestamp_ms = began + 1000 * i
    client.create_topic(topic, 1)
    client.write(topic, records)
    starts_at(client, Read(topic, from_ms=began + 9500), 10)


def pattern(client: Client, topic: str):
    with client.open(Read(pattern=f"^{topic}-.*", group=topic)) as reader:
        for name in f"{topic}-before", f"{topic}-after":  # the second is made while the group reads
            client.create_topic(name, 1)
            client.write(name, numbered(1))
            same("topic", reader.read(1)[0].topic, name)
            reader.commit()


def admin_topics(client: Client, topic: str):
    client.create_topic(topic, 1)
    client.grow(topic, 4)
    until(lambda: client.topics().get(topic) == 4)
    client.delete_topic(topic)
    until(lambda: topic not in client.topics())


def admin_configs(client: Client, topic: str):
    client.create_topic(topic, 1)
    client.set_config(topic, "retention.ms", "123456789")
    until(lambda: client.config(topic, "retention.ms") == "123456789")


def admin_groups(client: Client, topic: str):
    comes_back(client, topic, numbered(1))
    with client.open(Read(topic, group=topic)) as reader:
        reader.read(1)
    if topic not in client.groups():
        raise AssertionError(f"groups are {client.groups()}")
    same("state", client.group_state(topic).lower(), "empty")


def delete_group(client: Client, topic: str):
    comes_back(client, topic, numbered(1))
    with client.open(Read(topic, group=topic)) as reader:
        reader.read(1)
    client.delete_group(topic)
    until(lambda: topic not in client.groups())


def delete_records(client: Client, topic: str):
    comes_back(client, topic, numbered(10))
    client.delete_records(topic, 7)
    starts_at(client, Read(topic), 7)


def idempotent(client: Client, topic: str):
    comes_back(client, topic, numbered(100), idempotent=True)


def transactions(client: Client, topic: str):
    client.create_topic(topic, 1)
    for commit, record in zip((False, True), numbered(2)):
        client.transaction(topic, topic, commit, record)
    with client.open(Read(topic, committed=True)) as reader:
        same("first committed record", reader.read(1)[0].key, b"1")


def acls(client: Client, topic: str):
    client.create_topic(topic, 1)
    client.create_acl(topic)
    until(lambda: client.acls(topic) == 1)
    client.delete_acls(topic)
    until(lambda: client.acls(topic) == 0)


CASES = {
    "list-topics": list_topics,
    "codec-none": codec("none"),
    "codec-gzip": codec("gzip"),
    "codec-snappy": codec("snappy"),
    "codec-lz4": codec("lz4"),
    "codec-zstd": codec("zstd"),
    "nulls": nulls,
    "headers": headers,
    "null-header": null_header,
    "commit-resume": commit_resume,
    "seek-by-time": seek_by_time,
    "pattern": pattern,
    "admin-topics": admin_topics,
    "admin-configs": admin_configs,
    "admin-groups": admin_groups,
    "delete-group": delete_group,
    "delete-records": delete_records,
    "idempotent": idempotent,
    "transactions": transactions,
    "acls": acls,
}


@dataclass
class Member:
    """What a member of a group is told, and how it tells the test what happens."""

    address: str
    topic: str
    group: str
    consumer_protocol: bool  # KIP-848
    instance: str | None  # of a static member
    stop: threading.Event  # set when the member shall leave
    partitions: set[int] = field(default_factory=set)

    def assigned(self, partitions):
        self.partitions |= set(partitions)
        emit(assigned=sorted(self.partitions))

    def revoked(self, partitions):
        self.partitions -= set(partitions)
        emit(assigned=sorted(self.partitions))

    def read(self, partition: int, offset: int):
        emit(read=[partition, offset])


def emit(**line):
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def run(open_client, name: str, address: str, topic: str):
    """Runs one case and prints how it ended. One that does not end in time is left alone."""
    outcome = {"case": name, "ok": False, "detail": f"no end after {LIMIT} s"}

    def case():
        try:
            CASES[name](open_client(address), topic)
            outcome.update(ok=True, detail="")
        except NotImplementedError:
            outcome.update(lacks=True)
        except BaseException as e:  # whatever it is, it is the verdict
            outcome.update(detail=f"{type(e).__name__}: {e}")

    thread = threading.Thread(target=case, daemon=True)
    thread.start()
    thread.join(LIMIT)
    emit(**outcome)


def main(version: str, open_client, member):
    match sys.argv[1:]:
        case ["cases", address, prefix, *names]:
            emit(version=version)
            for name in names or CASES:
                run(open_client, name, address, f"{prefix}-{name}")
            os._exit(0)  # cases that have not ended
        case ["member", address, topic, group, protocol, instance]:
            stop = threading.Event()
            signal.signal(signal.SIGTERM, lambda *_: stop.set())
            member(Member(address, topic, group, protocol == "consumer", None if instance == "-" else instance, stop))
        case _:
            sys.exit("usage: cases ADDRESS PREFIX [CASE...] | member ADDRESS TOPIC GROUP PROTOCOL INSTANCE")

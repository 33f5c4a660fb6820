"""Tries aiokafka on a broker. The cases are not asynchronous: each call waits for one on an event loop of its own."""

import asyncio
import threading

import aiokafka
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import for_code

import suite

loop = asyncio.new_event_loop()
threading.Thread(target=loop.run_forever, daemon=True).start()


def wait(coroutine):
    return asyncio.run_coroutine_threadsafe(coroutine, loop).result()


def check(code, *what):
    if code:
        raise for_code(code)(*what)


class AIOKafka(suite.Client):
    def __init__(self, address: str):
        self.address = address
        self.admin = wait(self.started(AIOKafkaAdminClient))

    async def started(self, kind, **config):
        client = kind(bootstrap_servers=self.address, **config)
        await client.start()
        return client

    def topics(self):
        return {t["topic"]: len(t["partitions"]) for t in wait(self.admin.describe_topics())}

    def create_topic(self, topic, partitions):
        for _, code, message in wait(self.admin.create_topics([NewTopic(topic, partitions, 1)])).topic_errors:
            check(code, message)

    def grow(self, topic, partitions):
        wait(self.admin.create_partitions({topic: NewPartitions(partitions)}))

    def delete_topic(self, topic):
        for name, code in wait(self.admin.delete_topics([topic])).topic_error_codes:
            check(code, name)

    def set_config(self, topic, name, value):
        (answer,) = wait(self.admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {name: value})]))
        for code, message, *_ in answer.resources:
            check(code, message)

    def config(self, topic, name):
        (answer,) = wait(self.admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)]))
        (code, message, _, _, entries), *_ = answer.resources
        check(code, message)
        return next(entry[1] for entry in entries if entry[0] == name)

    def delete_records(self, topic, before):
        wait(self.admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(before)}))

    def groups(self):
        return [group for group, _ in wait(self.admin.list_consumer_groups())]

    def group_state(self, group):
        (answer,) = wait(self.admin.describe_consumer_groups([group]))
        code, _, state, *_ = answer.groups[0]
        check(code, group)
        return state

    def committed(self, group, topic):
        return wait(self.admin.list_consumer_group_offsets(group))[TopicPartition(topic, 0)].offset

    def write(self, topic, records, codec="none", idempotent=False):
        async def write():
            config = {"compression_type": None if codec == "none" else codec, "enable_idempotence": idempotent}
            async with AIOKafkaProducer(bootstrap_servers=self.address, **config) as producer:
                await asyncio.gather(*[await self.send(producer, topic, r) for r in records])

        wait(write())

    @staticmethod
    def send(producer, topic, r: suite.Record):
        return producer.send(topic, r.value, r.key, partition=0, timestamp_ms=r.timestamp_ms, headers=r.headers)

    def transaction(self, topic, transactional_id, commit, record):
        async def transaction():
            async with AIOKafkaProducer(bootstrap_servers=self.address, transactional_id=transactional_id) as producer:
                await producer.begin_transaction()
                await (await self.send(producer, topic, record))
                await (producer.commit_transaction() if commit else producer.abort_transaction())

        wait(asyncio.wait_for(transaction(), suite.LIMIT / 4))

    def open(self, source):
        return Reader(self, source)


class Reader(suite.Reader):
    def __init__(self, client: AIOKafka, source: suite.Read):
        self.consumer = wait(self.started(client, source))

    @staticmethod
    async def started(client: AIOKafka, source: suite.Read):
        consumer = await client.started(
            AIOKafkaConsumer,
            group_id=source.group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            metadata_max_age_ms=1000,  # how soon new topics are found
            isolation_level="read_committed" if source.committed else "read_uncommitted",
        )
        if source.pattern:
            consumer.subscribe(pattern=source.pattern)
        elif source.group:
            consumer.subscribe([source.topic])
        else:
            partition = TopicPartition(source.topic, 0)
            consumer.assign([partition])
            if source.from_ms is not None:
                found = await consumer.offsets_for_times({partition: source.from_ms})
                consumer.seek(partition, found[partition].offset)
        return consumer

    def read(self, n):
        read = [wait(self.consumer.getone()) for _ in range(n)]
        return [suite.Record(r.key, r.value, list(r.headers), r.timestamp, r.offset, r.topic) for r in read]

    def commit(self):
        wait(self.consumer.commit())

    def close(self):
        wait(self.consumer.stop())


class Listener(ConsumerRebalanceListener):
    def __init__(self, m: suite.Member):
        self.m = m

    def on_partitions_assigned(self, assigned):
        self.m.assigned(p.partition for p in assigned)

    def on_partitions_revoked(self, revoked):
        self.m.revoked(p.partition for p in revoked)


def member(m: suite.Member):
    async def read():
        consumer = AIOKafkaConsumer(
            bootstrap_servers=m.address,
            group_id=m.group,
            group_instance_id=m.instance,
            auto_offset_reset="earliest",
            session_timeout_ms=6000,
            heartbeat_interval_ms=500,
        )
        consumer.subscribe([m.topic], listener=Listener(m))
        await consumer.start()
        while not m.stop.is_set():
            for records in (await consumer.getmany(timeout_ms=100)).values():
                for r in records:
                    m.read(r.partition, r.offset)
        await consumer.stop()

    wait(read())


if __name__ == "__main__":
    suite.main(aiokafka.__version__, AIOKafka, member)

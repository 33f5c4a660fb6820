"""Tries confluent-kafka, which is librdkafka, on a broker."""

import confluent_kafka as ck
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka import admin as ka

import suite


def result(futures):
    """Waits for the one future of an answer."""
    (future,) = futures.values()
    return future.result()


class Confluent(suite.Client):
    def __init__(self, address: str):
        # New topics are looked for every second.
        self.common = {"bootstrap.servers": address, "topic.metadata.refresh.interval.ms": 1000}
        self.admin = ka.AdminClient(self.common)

    def topics(self):
        return {name: len(t.partitions) for name, t in self.admin.list_topics(timeout=10).topics.items()}

    def create_topic(self, topic, partitions):
        result(self.admin.create_topics([ka.NewTopic(topic, partitions, 1)]))

    def grow(self, topic, partitions):
        result(self.admin.create_partitions([ka.NewPartitions(topic, partitions)]))

    def delete_topic(self, topic):
        result(self.admin.delete_topics([topic]))

    def set_config(self, topic, name, value):
        entry = ka.ConfigEntry(name, value, incremental_operation=ka.AlterConfigOpType.SET)
        resource = ka.ConfigResource(ka.ResourceType.TOPIC, topic, incremental_configs=[entry])
        result(self.admin.incremental_alter_configs([resource]))

    def config(self, topic, name):
        return result(self.admin.describe_configs([ka.ConfigResource(ka.ResourceType.TOPIC, topic)]))[name].value

    def delete_records(self, topic, before):
        result(self.admin.delete_records([TopicPartition(topic, 0, before)]))

    def groups(self):
        return [g.group_id for g in self.admin.list_consumer_groups().result().valid]

    def group_state(self, group):
        return result(self.admin.describe_consumer_groups([group])).state.name

    def delete_group(self, group):
        result(self.admin.delete_consumer_groups([group]))

    def committed(self, group, topic):
        asked = ck.ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0)])
        return result(self.admin.list_consumer_group_offsets([asked])).topic_partitions[0].offset

    @staticmethod
    def alice(kind, topic):
        return kind(
            ka.ResourceType.TOPIC, topic, ka.ResourcePatternType.LITERAL, "User:alice", "*", ka.AclOperation.READ, ka.AclPermissionType.ALLOW
        )

    def create_acl(self, topic):
        result(self.admin.create_acls([self.alice(ka.AclBinding, topic)]))

    def acls(self, topic):
        return len(self.admin.describe_acls(self.alice(ka.AclBindingFilter, topic)).result())

    def delete_acls(self, topic):
        result(self.admin.delete_acls([self.alice(ka.AclBindingFilter, topic)]))

    @staticmethod
    def produce(producer: Producer, topic: str, record: suite.Record, failed: list):
        at = {} if record.timestamp_ms is None else {"timestamp": record.timestamp_ms}
        producer.produce(
            topic,
            record.value,
            record.key,
            partition=0,
            headers=record.headers,
            on_delivery=lambda error, _: error and failed.append(error),
            **at,
        )

    def write(self, topic, records, codec="none", idempotent=False):
        producer = Producer(self.common | {"compression.type": codec, "enable.idempotence": idempotent})
        failed = []
        for record in records:
            self.produce(producer, topic, record, failed)
        if producer.flush(30) or failed:
            raise KafkaException(failed[0] if failed else "not all were delivered")

    def transaction(self, topic, transactional_id, commit, record):
        producer = Producer(self.common | {"transactional.id": transactional_id})
        producer.init_transactions(10)
        producer.begin_transaction()
        failed = []
        self.produce(producer, topic, record, failed)
        producer.flush(10)
        if failed:
            raise KafkaException(failed[0])
        producer.commit_transaction(10) if commit else producer.abort_transaction(10)

    def open(self, source):
        return Reader(self.common, source)


class Reader(suite.Reader):
    def __init__(self, common: dict, source: suite.Read):
        self.consumer = Consumer(
            common
            | {
                "group.id": source.group or "none",
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "isolation.level": "read_committed" if source.committed else "read_uncommitted",
            }
        )
        if source.group:
            self.consumer.subscribe([source.pattern or source.topic])
            return
        start = TopicPartition(source.topic, 0, ck.OFFSET_BEGINNING)
        if source.from_ms is not None:
            (start,) = self.consumer.offsets_for_times([TopicPartition(source.topic, 0, source.from_ms)], 10)
        self.consumer.assign([start])

    def read(self, n):
        records = []
        while len(records) < n:
            m = self.consumer.poll(1)
            if m is None:
                continue
            if m.error() and m.error().code() != ck.KafkaError.UNKNOWN_TOPIC_OR_PART:  # a topic that has just been made
                raise KafkaException(m.error())
            if not m.error():
                self.last = m
                records.append(suite.Record(m.key(), m.value(), m.headers() or [], m.timestamp()[1], m.offset(), m.topic()))
        return records

    def commit(self):
        self.consumer.commit(self.last, asynchronous=False)

    def close(self):
        self.consumer.close()


def member(m: suite.Member):
    config = {"bootstrap.servers": m.address, "group.id": m.group, "auto.offset.reset": "earliest"}
    if m.consumer_protocol:
        config["group.protocol"] = "consumer"
    else:
        config |= {"session.timeout.ms": 6000, "heartbeat.interval.ms": 500}
    if m.instance:
        config["group.instance.id"] = m.instance
    consumer = Consumer(config)
    consumer.subscribe(
        [m.topic],
        on_assign=lambda _, partitions: m.assigned(p.partition for p in partitions),
        on_revoke=lambda _, partitions: m.revoked(p.partition for p in partitions),
    )
    while not m.stop.is_set():
        record = consumer.poll(0.1)
        if record is not None and not record.error():
            m.read(record.partition(), record.offset())
    consumer.close()


if __name__ == "__main__":
    suite.main(f"{ck.__version__}, librdkafka {ck.libversion()[0]}", Confluent, member)

"""Tries kafka-python on a broker."""

import kafka
from kafka import ConsumerRebalanceListener, KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ConfigResource,
    ConfigResourceType,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
)
from kafka.errors import NoError

import suite


class KafkaPython(suite.Client):
    def __init__(self, address: str):
        self.address = address
        self.admin = KafkaAdminClient(bootstrap_servers=address)

    def topics(self):
        return {t["name"]: len(t["partitions"]) for t in self.admin.describe_topics()}

    def create_topic(self, topic, partitions):
        self.admin.create_topics({topic: {"num_partitions": partitions, "replication_factor": 1}}, wait_for_metadata=True)

    def grow(self, topic, partitions):
        self.admin.create_partitions({topic: partitions})

    def delete_topic(self, topic):
        self.admin.delete_topics([topic])

    def set_config(self, topic, name, value):
        self.admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {name: value})])

    def config(self, topic, name):
        described = self.admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)], config_filter="all")
        return described["topic"][topic][name]["value"]

    def delete_records(self, topic, before):
        self.admin.delete_records({TopicPartition(topic, 0): before})

    def groups(self):
        return [g["group_id"] for g in self.admin.list_groups()]

    def group_state(self, group):
        return self.admin.describe_groups([group])[group]["group_state"]

    def delete_group(self, group):
        self.admin.delete_groups([group])

    def committed(self, group, topic):
        return self.admin.list_group_offsets({group: None})[group][TopicPartition(topic, 0)].offset

    @staticmethod
    def alice(kind, pattern, topic):
        resource = pattern(ResourceType.TOPIC, topic, ACLResourcePatternType.LITERAL)
        return kind("User:alice", "*", ACLOperation.READ, ACLPermissionType.ALLOW, resource)

    def create_acl(self, topic):
        failed = self.admin.create_acls([self.alice(ACL, ResourcePattern, topic)])["failed"]
        if failed:
            raise failed[0]

    def acls(self, topic):
        found, error = self.admin.describe_acls(self.alice(ACLFilter, ResourcePatternFilter, topic))
        if error is not NoError:
            raise error
        return len(found)

    def delete_acls(self, topic):
        self.admin.delete_acls([self.alice(ACLFilter, ResourcePatternFilter, topic)])

    def producer(self, **config):
        return KafkaProducer(bootstrap_servers=self.address, **config)

    @staticmethod
    def send(producer, topic, r: suite.Record):
        if any(value is None for _, value in r.headers):
            raise NotImplementedError("headers are bytes")
        return producer.send(topic, r.value, r.key, r.headers, partition=0, timestamp_ms=r.timestamp_ms)

    def write(self, topic, records, codec="none", idempotent=False):
        producer = self.producer(compression_type=None if codec == "none" else codec, enable_idempotence=idempotent)
        sent = [self.send(producer, topic, r) for r in records]
        for future in sent:
            future.get(30)
        producer.close()

    def transaction(self, topic, transactional_id, commit, record):
        producer = self.producer(transactional_id=transactional_id)
        try:
            producer.init_transactions()
            producer.begin_transaction()
            self.send(producer, topic, record).get(30)
            producer.commit_transaction() if commit else producer.abort_transaction()
        finally:
            producer.close(0)

    def open(self, source):
        return Reader(self.address, source)


class Reader(suite.Reader):
    def __init__(self, address: str, source: suite.Read):
        self.left = []
        self.consumer = KafkaConsumer(
            bootstrap_servers=address,
            group_id=source.group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            metadata_max_age_ms=1000,  # how soon new topics are found
            isolation_level="read_committed" if source.committed else "read_uncommitted",
        )
        if source.pattern:
            self.consumer.subscribe(pattern=source.pattern)
        elif source.group:
            self.consumer.subscribe([source.topic])
        else:
            partition = TopicPartition(source.topic, 0)
            self.consumer.assign([partition])
            if source.from_ms is not None:
                self.consumer.seek(partition, self.consumer.offsets_for_times({partition: source.from_ms})[partition].offset)

    def read(self, n):
        while len(self.left) < n:
            for records in self.consumer.poll(1000, max_records=n - len(self.left)).values():
                self.left += records
        read, self.left = self.left[:n], self.left[n:]
        return [suite.Record(r.key, r.value, list(r.headers), r.timestamp, r.offset, r.topic) for r in read]

    def commit(self):
        self.consumer.commit()  # poll has returned no more than was read

    def close(self):
        self.consumer.close()


class Listener(ConsumerRebalanceListener):
    def __init__(self, m: suite.Member):
        self.m = m

    def on_partitions_assigned(self, assigned):
        self.m.assigned(p.partition for p in assigned)

    def on_partitions_revoked(self, revoked):
        self.m.revoked(p.partition for p in revoked)


def member(m: suite.Member):
    consumer = KafkaConsumer(
        bootstrap_servers=m.address,
        group_id=m.group,
        group_instance_id=m.instance,
        auto_offset_reset="earliest",
        session_timeout_ms=6000,
        heartbeat_interval_ms=500,
    )
    consumer.subscribe([m.topic], listener=Listener(m))
    while not m.stop.is_set():
        for records in consumer.poll(100).values():
            for r in records:
                m.read(r.partition, r.offset)
    consumer.close()


if __name__ == "__main__":
    suite.main(kafka.__version__, KafkaPython, member)

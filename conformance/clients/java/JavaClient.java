import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.utils.AppInfoParser;

/**
 * Tries Apache Kafka's own client on a broker. Package suite of the Go clients documents the command line; the cases are the
 * same.
 */
public final class JavaClient {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final Duration LIMIT = Duration.ofMinutes(1); // that a case may take

    private final String address;
    private final String topic; // that no other case uses; the group's name, too

    private JavaClient(String address, String topic) {
        this.address = address;
        this.topic = topic;
    }

    /** One case. */
    private interface Case {
        void run(JavaClient client) throws Exception;
    }

    private static Map<String, Case> cases() {
        Map<String, Case> cases = new TreeMap<>();
        cases.put("list-topics", JavaClient::listTopics);
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            cases.put("codec-" + codec, c -> c.comeBack(numbered(100), Map.of("compression.type", codec, "enable.idempotence", false)));
        }
        cases.put("nulls", JavaClient::nulls);
        cases.put("headers", JavaClient::headers);
        cases.put("null-header", JavaClient::nullHeader);
        cases.put("commit-resume", JavaClient::commitResume);
        cases.put("seek-by-time", JavaClient::seekByTime);
        cases.put("pattern", JavaClient::pattern);
        cases.put("admin-topics", JavaClient::adminTopics);
        cases.put("admin-configs", JavaClient::adminConfigs);
        cases.put("admin-groups", JavaClient::adminGroups);
        cases.put("delete-group", JavaClient::deleteGroup);
        cases.put("delete-records", JavaClient::deleteRecords);
        cases.put("idempotent", c -> c.comeBack(numbered(100), Map.of("enable.idempotence", true)));
        cases.put("transactions", JavaClient::transactions);
        cases.put("acls", JavaClient::acls);
        return cases;
    }

    public static void main(String[] args) throws Exception {
        if (args.length >= 3 && args[0].equals("cases")) {
            emit(Map.of("version", AppInfoParser.getVersion()));
            List<String> chosen = Arrays.asList(args).subList(3, args.length);
            for (Map.Entry<String, Case> c : cases().entrySet()) {
                if (chosen.isEmpty() || chosen.contains(c.getKey())) {
                    run(c.getKey(), c.getValue(), new JavaClient(args[1], args[2] + "-" + c.getKey()));
                }
            }
            System.exit(0); // although threads of cases that did not end are left
        } else if (args.length == 6 && args[0].equals("member")) {
            member(args[1], args[2], args[3], args[4], args[5]);
        } else {
            System.err.println("usage: cases ADDRESS PREFIX [CASE...] | member ADDRESS TOPIC GROUP PROTOCOL INSTANCE");
            System.exit(2);
        }
    }

    /** Runs one case and prints how it ended. */
    private static void run(String name, Case c, JavaClient client) throws Exception {
        ExecutorService thread = Executors.newSingleThreadExecutor();
        String detail = "";
        try {
            Callable<Void> body = () -> {
                c.run(client);
                return null;
            };
            thread.submit(body).get(LIMIT.toSeconds(), TimeUnit.SECONDS);
        } catch (Exception e) {
            detail = String.valueOf(e.getCause() == null ? e : e.getCause());
        }
        emit(Map.of("case", name, "ok", detail.isEmpty(), "detail", detail));
        thread.shutdownNow();
    }

    private static synchronized void emit(Object line) {
        try {
            System.out.println(JSON.writeValueAsString(line));
        } catch (IOException e) {
            throw new IllegalStateException(e);
        }
    }

    // --- what the cases do ---------------------------------------------------------------------------------------

    private Admin admin() {
        return Admin.create(Map.of("bootstrap.servers", address));
    }

    private void create(String name, int partitions) throws Exception {
        try (Admin admin = admin()) {
            admin.createTopics(List.of(new NewTopic(name, partitions, (short) 1))).all().get();
        }
    }

    private KafkaProducer<byte[], byte[]> producer(Map<String, ?> config) {
        Properties all = new Properties();
        all.put("bootstrap.servers", address);
        all.put("max.block.ms", 10_000);
        all.putAll(config);
        return new KafkaProducer<>(all, new ByteArraySerializer(), new ByteArraySerializer());
    }

    private void write(List<ProducerRecord<byte[], byte[]>> records, Map<String, ?> config) throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = producer(config)) {
            List<Future<?>> sent = new ArrayList<>();
            for (ProducerRecord<byte[], byte[]> record : records) {
                sent.add(producer.send(record));
            }
            for (Future<?> future : sent) {
                future.get();
            }
        }
    }

    private KafkaConsumer<byte[], byte[]> consumer(Map<String, ?> config) {
        return consumer(address, config);
    }

    private static KafkaConsumer<byte[], byte[]> consumer(String address, Map<String, ?> config) {
        Properties all = new Properties();
        all.put("bootstrap.servers", address);
        all.put("auto.offset.reset", "earliest");
        all.put("enable.auto.commit", false);
        all.put("metadata.max.age.ms", 1000); // how soon new topics are found
        all.putAll(config);
        return new KafkaConsumer<>(all, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    private ProducerRecord<byte[], byte[]> record(byte[] key, byte[] value) {
        return new ProducerRecord<>(topic, 0, key, value);
    }

    private static List<byte[][]> numbered(int n) {
        List<byte[][]> all = new ArrayList<>();
        for (int i = 0; i < n; i++) {
            all.add(new byte[][] {bytes(String.valueOf(i)), bytes(String.format("%-100d", i))});
        }
        return all;
    }

    private static byte[] bytes(String s) {
        return s.getBytes(StandardCharsets.UTF_8);
    }

    /** Reads n records at least. */
    private static List<ConsumerRecord<byte[], byte[]>> read(KafkaConsumer<byte[], byte[]> consumer, int n) {
        List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();
        while (records.size() < n) {
            consumer.poll(Duration.ofSeconds(1)).forEach(records::add);
        }
        return records;
    }

    /** Reads the first n records of partition 0. */
    private List<ConsumerRecord<byte[], byte[]>> readTopic(int n) {
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of())) {
            consumer.assign(List.of(new TopicPartition(topic, 0)));
            return read(consumer, n);
        }
    }

    /** Makes the topic, writes keys and values, and reads them. */
    private void comeBack(List<byte[][]> keysAndValues, Map<String, ?> config) throws Exception {
        create(topic, 1);
        write(keysAndValues.stream().map(kv -> record(kv[0], kv[1])).toList(), config);
        List<ConsumerRecord<byte[], byte[]>> got = readTopic(keysAndValues.size());
        same("number of records", got.size(), keysAndValues.size());
        for (int i = 0; i < got.size(); i++) {
            same("key", Arrays.toString(got.get(i).key()), Arrays.toString(keysAndValues.get(i)[0]));
            same("value", Arrays.toString(got.get(i).value()), Arrays.toString(keysAndValues.get(i)[1]));
        }
    }

    private static void same(String what, Object got, Object want) {
        if (!got.equals(want)) {
            throw new AssertionError(what + ": got " + got + ", want " + want);
        }
    }

    /** Waits until it holds: Apache Kafka's answers may be of a moment ago. */
    private static void until(Callable<Boolean> holds) throws Exception {
        while (!holds.call()) {
            Thread.sleep(100);
        }
    }

    // --- cases ---------------------------------------------------------------------------------------------------

    private void listTopics() throws Exception {
        create(topic, 3);
        try (Admin admin = admin(); KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of())) {
            until(() -> admin.listTopics().names().get().contains(topic));
            until(() -> consumer.listTopics().getOrDefault(topic, List.of()).size() == 3);
        }
    }

    private void nulls() throws Exception {
        comeBack(List.of(new byte[][] {null, bytes("value")}, new byte[][] {bytes("key"), null}, new byte[][] {{}, {}}), Map.of());
    }

    private void headers() throws Exception {
        ProducerRecord<byte[], byte[]> record = record(null, bytes("value"));
        record.headers().add("twice", bytes("1")).add("twice", bytes("2")).add("bytes", new byte[] {-1, -2, 0});
        comesBack(record);
    }

    private void nullHeader() throws Exception {
        ProducerRecord<byte[], byte[]> record = record(null, bytes("value"));
        record.headers().add("null", null).add("empty", new byte[0]);
        comesBack(record);
    }

    private void comesBack(ProducerRecord<byte[], byte[]> record) throws Exception {
        create(topic, 1);
        write(List.of(record), Map.of());
        same("headers", shown(readTopic(1).get(0).headers()), shown(record.headers()));
    }

    private static String shown(Iterable<Header> headers) {
        StringBuilder all = new StringBuilder();
        headers.forEach(h -> all.append(h.key()).append('=').append(Arrays.toString(h.value())).append(' '));
        return all.toString();
    }

    private void commitResume() throws Exception {
        comeBack(numbered(20), Map.of());
        Map<String, ?> group = Map.of("group.id", topic, "max.poll.records", 10);
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(group)) {
            consumer.subscribe(List.of(topic));
            read(consumer, 10);
            consumer.commitSync();
        }
        try (Admin admin = admin()) {
            same("committed", admin.listConsumerGroupOffsets(topic).partitionsToOffsetAndMetadata().get().get(new TopicPartition(topic, 0)).offset(), 10L);
        }
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(group)) {
            consumer.subscribe(List.of(topic));
            same("first offset", read(consumer, 1).get(0).offset(), 10L);
        }
    }

    private void seekByTime() throws Exception {
        create(topic, 1);
        long began = Instant.now().minusSeconds(3600).toEpochMilli();
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        for (int i = 0; i < 20; i++) {
            records.add(new ProducerRecord<>(topic, 0, began + 1000L * i, null, bytes("value")));
        }
        write(records, Map.of());
        TopicPartition partition = new TopicPartition(topic, 0);
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of())) {
            consumer.assign(List.of(partition));
            consumer.seek(partition, consumer.offsetsForTimes(Map.of(partition, began + 9500)).get(partition).offset());
            same("first offset", read(consumer, 1).get(0).offset(), 10L);
        }
    }

    private void pattern() throws Exception {
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of("group.id", topic))) {
            consumer.subscribe(Pattern.compile("^" + topic + "-.*"));
            for (String name : List.of(topic + "-before", topic + "-after")) { // the second is made while the group reads
                create(name, 1);
                write(List.of(new ProducerRecord<>(name, bytes("value"))), Map.of());
                same("topic", read(consumer, 1).get(0).topic(), name);
                consumer.commitSync();
            }
        }
    }

    private void adminTopics() throws Exception {
        create(topic, 1);
        try (Admin admin = admin()) {
            admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(4))).all().get();
            until(() -> admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size() == 4);
            admin.deleteTopics(List.of(topic)).all().get();
            until(() -> !admin.listTopics().names().get().contains(topic));
        }
    }

    private void adminConfigs() throws Exception {
        create(topic, 1);
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        ConfigEntry entry = new ConfigEntry("retention.ms", "123456789");
        try (Admin admin = admin()) {
            admin.incrementalAlterConfigs(Map.of(resource, List.of(new AlterConfigOp(entry, AlterConfigOp.OpType.SET)))).all().get();
            until(() -> admin.describeConfigs(List.of(resource)).all().get().get(resource).get(entry.name()).value().equals(entry.value()));
        }
    }

    /** Reads one record in a group, so that there is one. */
    private void readInGroup() throws Exception {
        comeBack(numbered(1), Map.of());
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of("group.id", topic))) {
            consumer.subscribe(List.of(topic));
            read(consumer, 1);
        }
    }

    private void adminGroups() throws Exception {
        readInGroup();
        try (Admin admin = admin()) {
            same("listed", admin.listGroups().all().get().stream().anyMatch(g -> g.groupId().equals(topic)), true);
            same("state", admin.describeConsumerGroups(List.of(topic)).all().get().get(topic).groupState().toString(), "Empty");
        }
    }

    private void deleteGroup() throws Exception {
        readInGroup();
        try (Admin admin = admin()) {
            admin.deleteConsumerGroups(List.of(topic)).all().get();
            until(() -> admin.listGroups().all().get().stream().noneMatch(g -> g.groupId().equals(topic)));
        }
    }

    private void deleteRecords() throws Exception {
        comeBack(numbered(10), Map.of());
        try (Admin admin = admin()) {
            admin.deleteRecords(Map.of(new TopicPartition(topic, 0), RecordsToDelete.beforeOffset(7))).all().get();
        }
        same("first offset", readTopic(1).get(0).offset(), 7L);
    }

    private void transactions() throws Exception {
        create(topic, 1);
        try (KafkaProducer<byte[], byte[]> producer = producer(Map.of("transactional.id", topic))) {
            producer.initTransactions();
            producer.beginTransaction();
            producer.send(record(null, bytes("aborted")));
            producer.flush();
            producer.abortTransaction();
            producer.beginTransaction();
            producer.send(record(null, bytes("committed")));
            producer.commitTransaction();
        }
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of("isolation.level", "read_committed"))) {
            consumer.assign(List.of(new TopicPartition(topic, 0)));
            same("first value", new String(read(consumer, 1).get(0).value(), StandardCharsets.UTF_8), "committed");
        }
    }

    private void acls() throws Exception {
        create(topic, 1);
        AclBinding alice = new AclBinding(
            new ResourcePattern(ResourceType.TOPIC, topic, PatternType.LITERAL),
            new AccessControlEntry("User:alice", "*", AclOperation.READ, AclPermissionType.ALLOW));
        try (Admin admin = admin()) {
            admin.createAcls(List.of(alice)).all().get();
            until(() -> admin.describeAcls(alice.toFilter()).values().get().size() == 1);
            admin.deleteAcls(List.of(alice.toFilter())).all().get();
            until(() -> admin.describeAcls(alice.toFilter()).values().get().isEmpty());
        }
    }

    /** Reads in a group until SIGTERM. */
    private static void member(String address, String topic, String group, String protocol, String instance) throws Exception {
        Map<String, Object> config = new TreeMap<>();
        config.put("group.id", group);
        config.put("enable.auto.commit", true);
        config.put("group.protocol", protocol);
        if (protocol.equals("classic")) {
            config.put("session.timeout.ms", 6000);
            config.put("heartbeat.interval.ms", 500);
        }
        if (!instance.equals("-")) {
            config.put("group.instance.id", instance);
        }
        KafkaConsumer<byte[], byte[]> consumer = consumer(address, config);
        Thread reading = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            consumer.wakeup();
            try {
                reading.join();
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }));
        TreeSet<Integer> mine = new TreeSet<>();
        consumer.subscribe(List.of(topic), new ConsumerRebalanceListener() {
            @Override
            public void onPartitionsAssigned(Collection<TopicPartition> assigned) {
                assigned.forEach(p -> mine.add(p.partition()));
                emit(Map.of("assigned", mine));
            }

            @Override
            public void onPartitionsRevoked(Collection<TopicPartition> revoked) {
                revoked.forEach(p -> mine.remove(p.partition()));
                emit(Map.of("assigned", mine));
            }
        });
        try (consumer) {
            while (true) {
                consumer.poll(Duration.ofSeconds(1)).forEach(r -> emit(Map.of("read", List.of(r.partition(), r.offset()))));
            }
        } catch (WakeupException e) {
            // SIGTERM: the consumer leaves the group
        }
    }
}

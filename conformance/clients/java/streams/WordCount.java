import java.nio.file.Files;
import java.time.Duration;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.LongDeserializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Produced;

/**
 * Counts words with Kafka Streams: a topic of lines, repartitioned by word, counted in a store with a changelog, to a topic of
 * counts. Half of the lines come after the application has been stopped and started again without its directory, so that it has
 * to restore its counts from the changelog. Prints "counted" if all are right. Usage: WordCount ADDRESS PREFIX GUARANTEE
 */
public final class WordCount {
    private static final Duration LIMIT = Duration.ofMinutes(1); // for each half

    private final String address;
    private final String prefix;
    private final String guarantee;

    private WordCount(String address, String prefix, String guarantee) {
        this.address = address;
        this.prefix = prefix;
        this.guarantee = guarantee;
    }

    public static void main(String[] args) throws Exception {
        new WordCount(args[0], args[1], args[2]).run();
        System.out.println("counted");
        System.exit(0);
    }

    private void run() throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", address))) {
            admin.createTopics(List.of(new NewTopic(prefix + "-lines", 2, (short) 1), new NewTopic(prefix + "-counts", 2, (short) 1))).all().get();
        }
        countedAfter(1);
        countedAfter(2);
    }

    /** Writes 100 lines, starts the application, and waits until the counts are those of all lines in so many rounds. */
    private void countedAfter(int rounds) throws Exception {
        Properties producing = new Properties();
        producing.put("bootstrap.servers", address);
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(producing, new StringSerializer(), new StringSerializer())) {
            for (int i = 0; i < 100; i++) {
                producer.send(new ProducerRecord<>(prefix + "-lines", String.valueOf(i), "the order and the payment"));
            }
        }
        try (KafkaStreams streams = new KafkaStreams(topology().build(), config())) {
            streams.setUncaughtExceptionHandler(e -> {
                System.err.println(e);
                return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
            });
            streams.start();
            await(streams, Map.of("the", 200L * rounds, "order", 100L * rounds, "and", 100L * rounds, "payment", 100L * rounds));
        }
    }

    private StreamsBuilder topology() {
        StreamsBuilder builder = new StreamsBuilder();
        KStream<String, String> lines = builder.stream(prefix + "-lines");
        lines.flatMapValues(line -> Arrays.asList(line.split(" ")))
            .groupBy((key, word) -> word, Grouped.with(Serdes.String(), Serdes.String()))
            .count()
            .toStream()
            .to(prefix + "-counts", Produced.with(Serdes.String(), Serdes.Long()));
        return builder;
    }

    private Properties config() throws java.io.IOException {
        Properties config = new Properties();
        config.put("application.id", prefix);
        config.put("bootstrap.servers", address);
        config.put("processing.guarantee", guarantee);
        config.put("commit.interval.ms", 100);
        config.put("num.stream.threads", 2);
        config.put("session.timeout.ms", 6000); // Streams does not leave its group: so long the next start waits
        config.put("heartbeat.interval.ms", 500);
        config.put("auto.offset.reset", "earliest");
        config.put("default.key.serde", Serdes.StringSerde.class);
        config.put("default.value.serde", Serdes.StringSerde.class);
        config.put("state.dir", Files.createTempDirectory("wordcount").toString());
        return config;
    }

    /** Waits until the last count of each word is the one that is wanted. */
    private void await(KafkaStreams streams, Map<String, Long> want) {
        Properties consuming = new Properties();
        consuming.put("bootstrap.servers", address);
        consuming.put("group.id", prefix + "-reader");
        consuming.put("auto.offset.reset", "earliest");
        consuming.put("enable.auto.commit", false);
        consuming.put("isolation.level", "read_committed");
        Map<String, Long> counts = new HashMap<>();
        long deadline = System.nanoTime() + LIMIT.toNanos();
        try (KafkaConsumer<String, Long> consumer = new KafkaConsumer<>(consuming, new StringDeserializer(), new LongDeserializer())) {
            consumer.subscribe(List.of(prefix + "-counts"));
            while (!counts.equals(want)) {
                consumer.poll(Duration.ofMillis(200)).forEach(r -> counts.put(r.key(), r.value()));
                if (System.nanoTime() > deadline || streams.state() == KafkaStreams.State.ERROR) {
                    throw new IllegalStateException("counts are " + counts + ", want " + want + "; Streams is " + streams.state());
                }
            }
        }
    }
}

package conformance

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// toolCase is a row of the table of Apache Kafka's own programs.
type toolCase struct {
	name, what string
	missing    string // what Tidings does not have yet, so that the case fails; empty if it must pass
	steps      []step
	run        func(ctx context.Context, k *tools) error // instead of steps
}

// step is one call of a tool. In its words, $B is --bootstrap-server and the address, $A the address, $T a topic that no
// other case uses, and $D a directory.
type step struct {
	run   string // class and arguments; the package is org.apache.kafka.tools, except of kafka.* and WordCount
	stdin string
	want  string // what its output has, at last: answers of Apache Kafka may be of a moment ago
	fails bool   // it must exit with an error
}

// toolCases are Apache Kafka's own programs. Where one only reads, its output is compared; where one changes something,
// another one shows that it did.
var toolCases = []toolCase{
	{name: "kafka-topics", what: "topics made, listed, described, given partitions, deleted", steps: []step{
		{run: "TopicCommand $B --create --topic $T --partitions 2 --config retention.ms=7200000", want: "Created topic $T."},
		{run: "TopicCommand $B --create --topic $T --if-not-exists"},
		{run: "TopicCommand $B --create --topic $T", fails: true},
		{run: "TopicCommand $B --list", want: "$T\n"},
		{run: "TopicCommand $B --describe --topic $T", want: "PartitionCount: 2\tReplicationFactor: 1\tConfigs: "},
		{run: "TopicCommand $B --describe --topic $T", want: "retention.ms=7200000"},
		{run: "TopicCommand $B --describe --under-replicated-partitions"},
		{run: "TopicCommand $B --describe --topics-with-overrides", want: "$T"},
		{run: "TopicCommand $B --alter --topic $T --partitions 5"},
		{run: "TopicCommand $B --describe --topic $T", want: "PartitionCount: 5"},
		{run: "TopicCommand $B --delete --topic $T"},
		{run: "TopicCommand $B --describe --topic $T", fails: true},
	}},
	{name: "kafka-configs", what: "settings of topics changed, described, taken back; those of the broker described", steps: []step{
		{run: "TopicCommand $B --create --topic $T"},
		{run: "kafka.admin.ConfigCommand $B --alter --entity-type topics --entity-name $T --add-config retention.ms=7200000,cleanup.policy=[compact,delete]", want: "Completed updating config"},
		{run: "kafka.admin.ConfigCommand $B --describe --entity-type topics --entity-name $T", want: "retention.ms=7200000"},
		{run: "kafka.admin.ConfigCommand $B --describe --entity-type topics --entity-name $T", want: "cleanup.policy=compact,delete"},
		{run: "kafka.admin.ConfigCommand $B --alter --entity-type topics --entity-name $T --delete-config retention.ms", want: "Completed updating config"},
		{run: "kafka.admin.ConfigCommand $B --describe --all --entity-type topics --entity-name $T", want: "retention.ms=604800000"},
		{run: "kafka.admin.ConfigCommand $B --alter --entity-type topics --entity-name $T --add-config retention.ms=no", fails: true},
		{run: "kafka.admin.ConfigCommand $B --describe --all --entity-type brokers --entity-name 1", want: "num.partitions="},
	}},
	{name: "kafka-console-producer, -consumer", what: "lines with keys and headers written; read from the beginning, and in a group", steps: []step{
		{run: "ConsoleProducer $B --topic $T --reader-property parse.key=true --reader-property parse.headers=true", stdin: "h1:v1,h2:v2\tk1\tone\nh1:v3\tk2\ttwo\n"},
		{run: "consumer.ConsoleConsumer $B --topic $T --from-beginning --max-messages 2 --formatter-property print.key=true --formatter-property print.headers=true", want: "h1:v1,h2:v2\tk1\tone"},
		{run: "consumer.ConsoleConsumer $B --topic $T --from-beginning --max-messages 2 --group $T", want: "two"},
		{run: "consumer.group.ConsumerGroupCommand $B --list", want: "$T"},
	}},
	{name: "kafka-get-offsets", what: "offsets: latest, earliest, of a time, of the largest time", steps: []step{
		{run: "TopicCommand $B --create --topic $T --partitions 1"},
		{run: "ConsoleProducer $B --topic $T", stdin: "1\n2\n3\n"},
		{run: "GetOffsetShell $B --topic $T", want: "$T:0:3"},
		{run: "GetOffsetShell $B --topic $T --time earliest", want: "$T:0:0"},
		{run: "GetOffsetShell $B --topic $T --time 1000", want: "$T:0:0"},
		{run: "GetOffsetShell $B --topic $T --time max-timestamp", want: "$T:0:"},
		{run: "GetOffsetShell $B --topic-partitions $T:0-5", want: "$T:0:3"},
	}},
	{name: "kafka-delete-records", what: "records deleted up to an offset", steps: []step{
		{run: "TopicCommand $B --create --topic $T --partitions 1"},
		{run: "ConsoleProducer $B --topic $T", stdin: "1\n2\n3\n"},
		{run: "DeleteRecordsCommand $B --offset-json-file $D/delete.json", want: "partition: $T-0\tlow_watermark: 2"},
		{run: "GetOffsetShell $B --topic $T --time earliest", want: "$T:0:2"},
	}},
	{name: "kafka-consumer-groups", what: "groups listed and described; every reset; offsets and groups deleted", steps: []step{
		{run: "TopicCommand $B --create --topic $T --partitions 1"},
		{run: "ConsoleProducer $B --topic $T", stdin: "1\n2\n3\n4\n5\n"},
		{run: "consumer.ConsoleConsumer $B --topic $T --from-beginning --max-messages 5 --group $T", want: "5"},
		{run: "consumer.group.ConsumerGroupCommand $B --list --state", want: "$T"},
		{run: "consumer.group.ConsumerGroupCommand $B --describe --group $T", want: "$T 0 5 5 0"},
		{run: "consumer.group.ConsumerGroupCommand $B --describe --group $T --state", want: "Empty 0"},
		{run: "consumer.group.ConsumerGroupCommand $B --describe --all-groups --members", want: "has no active members"},
		{run: "consumer.group.ConsumerGroupCommand $B --reset-offsets --group $T --topic $T --to-earliest --dry-run", want: "$T $T 0 0"},
		{run: "consumer.group.ConsumerGroupCommand $B --reset-offsets --group $T --topic $T --to-earliest --execute", want: "$T $T 0 0"},
		{run: "consumer.group.ConsumerGroupCommand $B --describe --group $T", want: "$T 0 0 5 5"},
		{run: "consumer.group.ConsumerGroupCommand $B --reset-offsets --group $T --all-topics --to-latest --execute", want: "$T $T 0 5"},
		{run: "consumer.group.ConsumerGroupCommand $B --reset-offsets --group $T --topic $T --to-offset 2 --execute", want: "$T $T 0 2"},
		{run: "consumer.group.ConsumerGroupCommand $B --reset-offsets --group $T --topic $T:0 --shift-by 1 --execute", want: "$T $T 0 3"},
		{run: "consumer.group.ConsumerGroupCommand $B --reset-offsets --group $T --topic $T --shift-by -2 --execute", want: "$T $T 0 1"},
		{run: "consumer.group.ConsumerGroupCommand $B --reset-offsets --group $T --topic $T --to-current --execute", want: "$T $T 0 1"},
		{run: "consumer.group.ConsumerGroupCommand $B --reset-offsets --group $T --topic $T --to-datetime 2100-01-01T00:00:00.000 --execute", want: "$T $T 0 5"},
		{run: "consumer.group.ConsumerGroupCommand $B --reset-offsets --group $T --topic $T --by-duration P1D --execute", want: "$T $T 0 0"},
		{run: "consumer.group.ConsumerGroupCommand $B --reset-offsets --group $T --from-file $D/reset.csv --execute", want: "$T $T 0 4"},
		{run: "consumer.group.ConsumerGroupCommand $B --delete-offsets --group $T --topic $T", want: "Successful"},
		{run: "consumer.group.ConsumerGroupCommand $B --delete --group $T", want: "was successful"},
	}},
	{name: "kafka-groups", what: "groups of all types listed", steps: []step{
		{run: "ConsoleProducer $B --topic $T", stdin: "1\n"},
		{run: "consumer.ConsoleConsumer $B --topic $T --from-beginning --max-messages 1 --group $T", want: "1"},
		{run: "GroupsCommand $B --list", want: "$T Classic consumer"},
	}},
	{name: "kafka-verifiable-producer, -consumer", what: "numbers written with acks from all, read in a group, committed", steps: []step{
		{run: "TopicCommand $B --create --topic $T --partitions 3"},
		{run: "VerifiableProducer $B --topic $T --max-messages 1000 --acks -1", want: `"acked":1000`},
		{run: "VerifiableConsumer $B --topic $T --group-id $T --max-messages 1000 --reset-policy earliest --verbose", want: `"name":"offsets_committed"`},
	}},
	{name: "kafka-producer-perf-test, -consumer-perf-test", what: "50,000 records written and read", steps: []step{
		{run: "TopicCommand $B --create --topic $T --partitions 3"},
		{run: "ProducerPerformance $B --topic $T --num-records 50000 --record-size 100 --throughput -1 --producer-props compression.type=lz4", want: "50000 records sent"},
		{run: "ConsumerPerformance $B --topic $T --num-records 50000 --group $T", want: ", 50000, "},
	}},
	{name: "kafka-log-dirs", what: "sizes of partitions", steps: []step{
		{run: "TopicCommand $B --create --topic $T --partitions 1"},
		{run: "LogDirsCommand $B --describe --topic-list $T", want: `"partition":"$T-0"`},
	}},
	{name: "kafka-reassign-partitions", what: "a plan generated; one that moves nothing executed and verified; none under way", steps: []step{
		{run: "TopicCommand $B --create --topic $T --partitions 1"},
		{run: "reassign.ReassignPartitionsCommand $B --generate --topics-to-move-json-file $D/topics.json --broker-list 1", want: `"topic":"$T","partition":0,"replicas":[1]`},
		{run: "reassign.ReassignPartitionsCommand $B --execute --reassignment-json-file $D/reassign.json", want: "Successfully started partition reassignment for $T-0"},
		{run: "reassign.ReassignPartitionsCommand $B --verify --reassignment-json-file $D/reassign.json", want: "Reassignment of partition $T-0 is completed"},
		{run: "reassign.ReassignPartitionsCommand $B --list", want: "No partition reassignments found"},
	}},
	{name: "kafka-leader-election", what: "the preferred leader is elected", steps: []step{
		{run: "TopicCommand $B --create --topic $T --partitions 1"},
		{run: "LeaderElectionCommand $B --election-type preferred --topic $T --partition 0", want: "Valid replica already elected for partitions $T-0"},
	}},
	{name: "kafka-features", what: "features described, of which Tidings has none", steps: []step{
		{run: "FeatureCommand $B describe"},
	}},
	{name: "kafka-metadata-quorum", what: "the quorum described", steps: []step{
		{run: "MetadataQuorumCommand $B describe --status", want: "LeaderId: 1"},
		{run: "MetadataQuorumCommand $B describe --replication", want: "Leader"},
	}},
	{name: "kafka-cluster", what: "id and endpoints of the cluster", steps: []step{
		{run: "ClusterTool cluster-id $B", want: "Cluster ID: "},
		{run: "ClusterTool list-endpoints $B", want: "127.0.0.1"},
	}},
	{name: "kafka-broker-api-versions", what: "versions of requests", steps: []step{
		{run: "BrokerApiVersionsCommand $B", want: "Produce(0): "},
	}},
	{name: "kafka-transactions", what: "transactions listed, producers described, hanging ones looked for", steps: []step{
		{run: "TopicCommand $B --create --topic $T --partitions 1"},
		{run: "ConsoleProducer $B --topic $T", stdin: "1\n"},
		{run: "TransactionsCommand $B describe-producers --topic $T --partition 0", want: "ProducerId"},
		{run: "TransactionsCommand $B find-hanging --broker-id 1", want: "ProducerId"},
		{run: "TransactionsCommand $B list", want: "TransactionalId"},
	}},
	{name: "kafka-acls", what: "an ACL made, listed, removed", missing: "authorization", steps: []step{
		{run: "AclCommand $B --add --allow-principal User:alice --operation Read --topic $T", want: "principal=User:alice"},
		{run: "AclCommand $B --list --topic $T", want: "principal=User:alice"},
		{run: "AclCommand $B --remove --allow-principal User:alice --operation Read --topic $T --force"},
	}},
	{name: "Streams, at_least_once", what: "words counted", steps: []step{{run: "WordCount $A $T at_least_once", want: "counted"}}},
	{name: "Streams, exactly_once_v2", what: "words counted", steps: []step{{run: "WordCount $A $T exactly_once_v2", want: "counted"}}},
	{name: "Connect, distributed", what: "lines of a file go through a topic to another file; the worker is killed, and its successor goes on", run: connect},
}

// tools are Apache Kafka's programs and one broker.
type tools struct {
	address, topic string
	dir            string
}

// toolJars is the class path of the tools, of Streams and of Connect.
const toolJars = "clients/java/jars/*"

// TestTools runs Apache Kafka's own programs on Apache Kafka and on Tidings. The verdicts are the second table of
// docs/clients.md, as TestClients' are the first.
func TestTools(t *testing.T) {
	if !exists(filepath.Dir(toolJars)) {
		t.Fatal("the tools' jars are not there: (cd conformance/clients/java && mvn -q -B dependency:copy-dependencies)")
	}
	tool(t, "", "javac", "-d", filepath.Join(bin, "classes"), "-cp", toolJars, "clients/java/streams/WordCount.java")
	kafka, tidings := kafkaWithACLs(t), emptyTidings(t, "--auto-create-topics")
	cells := make([]string, len(toolCases))
	t.Run("on", func(t *testing.T) { // returns when all have run
		for i, c := range toolCases {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				onKafka, onTidings := prepare(t, kafka, i), prepare(t, tidings, i)
				var theirs, ours outcome
				var wg sync.WaitGroup
				wg.Go(func() { theirs = c.on(t.Context(), onKafka) })
				wg.Go(func() { ours = c.on(t.Context(), onTidings) })
				wg.Wait()
				cells[i] = verdict(t, c.name, c.missing, theirs, ours)
			})
		}
	})
	if slices.Contains(cells, "") { // -run has chosen some of them
		return
	}
	var b strings.Builder
	b.WriteString("| program | | |\n|---|---|---|\n")
	for i, c := range toolCases {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", c.name, c.what, cells[i])
	}
	compareDoc(t, matrixDoc, "tools", b.String())
}

// prepare returns the tools for one case on one broker, with the files that the steps name.
func prepare(t *testing.T, address string, number int) *tools {
	t.Helper()
	k := &tools{address: address, topic: fmt.Sprintf("tool-%d", number), dir: t.TempDir()}
	for name, content := range map[string]string{
		"delete.json":   `{"partitions": [{"topic": "$T", "partition": 0, "offset": 2}], "version": 1}`,
		"reset.csv":     "$T,0,4\n",
		"topics.json":   `{"topics": [{"topic": "$T"}], "version": 1}`,
		"reassign.json": `{"partitions": [{"topic": "$T", "partition": 0, "replicas": [1]}], "version": 1}`,
	} {
		if err := os.WriteFile(filepath.Join(k.dir, name), []byte(k.words(content)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return k
}

// on runs the case.
func (c toolCase) on(ctx context.Context, k *tools) outcome {
	ctx, cancel := context.WithTimeout(ctx, 4*time.Minute)
	defer cancel()
	run := c.run
	if run == nil {
		run = func(ctx context.Context, k *tools) error {
			for _, s := range c.steps {
				if err := k.until(ctx, s); err != nil {
					return err
				}
			}
			return nil
		}
	}
	o := outcome{Case: c.name, OK: true}
	if err := run(ctx, k); err != nil {
		o.OK, o.Detail = false, err.Error()
	}
	return o
}

// words expands what step documents.
func (k *tools) words(s string) string {
	return strings.NewReplacer("$B", "--bootstrap-server "+k.address, "$A", k.address, "$T", k.topic, "$D", k.dir).Replace(s)
}

// until runs a step until its output has what it should, three times at most.
func (k *tools) until(ctx context.Context, s step) error {
	want := k.words(s.want)
	for try := 1; ; try++ {
		out, err := k.call(ctx, s)
		switch {
		case s.fails && err == nil:
			return fmt.Errorf("%s: it should fail, and says %s", s.run, tail([]byte(out)))
		case s.fails:
			return nil
		case err != nil:
			return err
		case strings.Contains(spaced(out), spaced(want)):
			return nil
		case try == 3:
			return fmt.Errorf("%s: no %q in %s", s.run, want, tail([]byte(out)))
		}
	}
}

// spaced returns s with one space for each sequence of spaces, with which the tools align columns.
func spaced(s string) string {
	for strings.Contains(s, "  ") {
		s = strings.ReplaceAll(s, "  ", " ")
	}
	return s
}

// call runs a step once and returns its output.
func (k *tools) call(ctx context.Context, s step) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	args := strings.Fields(k.words(s.run))
	if !strings.HasPrefix(args[0], "kafka.") && args[0] != "WordCount" {
		args[0] = "org.apache.kafka.tools." + args[0]
	}
	cmd := exec.CommandContext(ctx, "java", append([]string{"-Xmx256m", "-cp", toolsPath()}, args...)...)
	cmd.Stdin = strings.NewReader(s.stdin)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s: %w: %s%s", s.run, err, tail(out.Bytes()), tail(stderr.Bytes()))
	}
	return out.String() + stderr.String(), nil
}

// toolsPath returns the class path of all of Apache Kafka's programs and of clients/java.
func toolsPath() string {
	return strings.Join([]string{filepath.Join(bin, "classes"), toolJars, kafkaJars}, string(filepath.ListSeparator))
}

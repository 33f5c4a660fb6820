package conformance

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// apacheKafka starts Apache Kafka as one node (KRaft), with its data in a temporary directory, and returns its address.
// more are further lines of its configuration.
func apacheKafka(t *testing.T, more ...string) (address string) {
	t.Helper()
	jars, err := filepath.Abs("kafka/jars")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(jars); err != nil {
		t.Fatal("Apache Kafka's jars are not there: (cd conformance/kafka && mvn -q -B dependency:copy-dependencies)")
	}
	classpath := jars + "/*"
	dir := t.TempDir()
	address, controller := freeAddress(t), freeAddress(t)
	config := filepath.Join(dir, "server.properties")
	properties := fmt.Sprintf(`process.roles=broker,controller
node.id=1
controller.quorum.voters=1@%[2]s
listeners=PLAINTEXT://%[1]s,CONTROLLER://%[2]s
advertised.listeners=PLAINTEXT://%[1]s
controller.listener.names=CONTROLLER
log.dirs=%[3]s/data
num.partitions=4
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
%[4]s
`, address, controller, dir, strings.Join(more, "\n"))
	if err := os.WriteFile(config, []byte(properties), 0o600); err != nil {
		t.Fatal(err)
	}
	tool(t, "", "java", "-cp", classpath, "kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", config)
	p := startCommand(t, "java", "-Xmx768m", "-cp", classpath, "kafka.Kafka", config)
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline) && !p.ended(); time.Sleep(100 * time.Millisecond) {
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			return address
		}
	}
	t.Fatalf("Apache Kafka takes no connection\n%s", tail(p.out.Bytes()))
	return ""
}

// TestKafkaRunsTheShop runs the demo with Apache Kafka in place of the broker. Figures and facts must be those of the
// file of orders.
func TestKafkaRunsTheShop(t *testing.T) {
	orders := input(t)
	books, err := ReadBooks(orders, declineAbovePence)
	if err != nil {
		t.Fatal(err)
	}
	address := apacheKafka(t)
	// Somebody has made the topic of marks with a retention that is too short: the reactions raise it.
	run(t, time.Minute, "tidings", "topic", "create", "tidings.reactions", "-p", "1", "-c", "retention.ms=86400000", "--brokers", address)
	result := parseSettled(t, run(t, 5*time.Minute, "tidings", "demo", "--settle", "-o", "json", "--input", orders, "--brokers", address))
	if err := result.check(books); err != nil {
		t.Error(err)
	}
	t.Logf("%d events in %.1f s: %.0f a second", result.Events, result.Seconds, result.EventsPerSecond)
	distinct(t, dump(t, address, "orders")).compare(t, books)
	if story := run(t, time.Minute, "tidings", "story", "order/536365", "--brokers", address); len(story) == 0 {
		t.Error("no story")
	}
	if shown := run(t, time.Minute, "tidings", "topic", "show", "tidings.reactions", "-o", "json", "--brokers", address); !strings.Contains(string(shown), `"retention.ms": "-1"`) {
		t.Errorf("marks are not kept for ever, as the events are:\n%s", shown)
	}
}

package broker

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// client returns a kgo client of b, connected with Dial. It is closed at the end of the test.
func client(t testing.TB, b *Broker, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers("tidings:9092"),
		kgo.Dialer(func(ctx context.Context, _, _ string) (net.Conn, error) { return b.Dial(ctx) }),
		kgo.ProducerLinger(0),
		// kgo sends one Fetch at a time, so a partition that it learns of later waits until the present Fetch returns.
		kgo.FetchMaxWait(250 * time.Millisecond),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// TestClientProducesAndConsumesAcrossARestart produces records and consumes them in a group. After a restart, the group
// must continue at its committed position.
func TestClientProducesAndConsumesAcrossARestart(t *testing.T) {
	dir := t.TempDir()
	b := open(t, Config{Dir: dir, AutoCreateTopics: true})
	produce(t, b, "orders", 0, 100)
	consume(t, b, "orders", "billing", 0, 100)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}

	b = open(t, Config{Dir: dir, AutoCreateTopics: true})
	produce(t, b, "orders", 100, 150)
	consume(t, b, "orders", "billing", 100, 150)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}

// open opens a broker, which is closed at the end of the test.
func open(t testing.TB, c Config) *Broker {
	t.Helper()
	b, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// produce produces the numbers from "from" to "to"-1 as values of a topic, and waits until all are acknowledged.
func produce(t testing.TB, b *Broker, topic string, from, to int) {
	t.Helper()
	cl := client(t, b, kgo.AllowAutoTopicCreation())
	var records []*kgo.Record
	for i := from; i < to; i++ {
		records = append(records, &kgo.Record{Topic: topic, Key: fmt.Appendf(nil, "key/%d", i%7), Value: fmt.Append(nil, i)})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := cl.ProduceSync(ctx, records...).FirstErr(); err != nil {
		t.Fatalf("produce: %v", err)
	}
}

// consume reads a topic as a member of a group, and commits. It fails the test unless it gets the numbers from "from"
// to "to"-1, each once.
func consume(t testing.TB, b *Broker, topic, group string, from, to int) {
	t.Helper()
	cl := client(t, b, kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	seen := map[string]int{}
	for len(seen) < to-from {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("consume: %v, after %d of %d records", err, len(seen), to-from)
		}
		fetches.EachRecord(func(r *kgo.Record) { seen[string(r.Value)]++ })
	}
	for i := from; i < to; i++ {
		if n := seen[fmt.Sprint(i)]; n != 1 {
			t.Errorf("record %d came %d times", i, n)
		}
	}
	if err := cl.CommitUncommittedOffsets(ctx); err != nil {
		t.Fatalf("commit: %v", err)
	}
	cl.Close() // leaves the group
}

package kafka

import (
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/engine"
	"tidings.dev/internal/vfs"
)

// newCompactingServer starts a server whose engine checks every 5 ms whether a topic needs compaction, and keeps few
// batches in memory.
func newCompactingServer(t *testing.T) *testServer {
	t.Helper()
	e, err := engine.Open(engine.Config{FS: vfs.NewMem(), RetentionInterval: 5 * time.Millisecond, CheckpointBytes: 64 << 10, TailBytes: 16 << 10})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error("closing the engine:", err)
		}
	})
	h := newTestServer(t, func(c *Config) { c.Engine = e })
	h.engine = e
	return h
}

// compacted is the configuration of a topic that is compacted as soon as possible.
var compacted = map[string]*string{
	"cleanup.policy": new("compact"), "segment.bytes": new("4096"), "min.cleanable.dirty.ratio": new("0.01"), "delete.retention.ms": new("100"),
}

// TestClientsReadACompactedTopic writes to a compacted topic with every codec, in batches from which compaction removes
// some records. Afterwards kgo and librdkafka must read the last value of each key at its original offset, and no
// deleted key.
func TestClientsReadACompactedTopic(t *testing.T) {
	h := newCompactingServer(t)
	admin := kadm.NewClient(h.client())
	for name, codec := range map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	} {
		topic := "stock-" + name
		if _, err := admin.CreateTopic(t.Context(), 1, 1, compacted, topic); err != nil {
			t.Fatal(err)
		}
		producer := h.client(kgo.ProducerBatchCompression(codec), kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(5*time.Millisecond))
		want := map[string]string{}
		offsets := map[string]int64{}
		const rounds, keys = 40, 60
		for round := range rounds {
			var rs []*kgo.Record
			for i := range keys {
				if (i+round)%3 == 0 {
					continue // leaves some records of the round before
				}
				r := &kgo.Record{Key: fmt.Append(nil, "item-", i), Value: fmt.Append(nil, "round ", round, " of item ", i)}
				if i%7 == 0 && round > 5 {
					r.Value = nil
				}
				rs = append(rs, r)
			}
			if err := producer.ProduceSync(t.Context(), rs...).FirstErr(); err != nil {
				t.Fatal(err)
			}
			for _, r := range rs {
				want[string(r.Key)], offsets[string(r.Key)] = string(r.Value), r.Offset
				if r.Value == nil {
					delete(want, string(r.Key))
				}
			}
		}
		end, err := admin.ListEndOffsets(t.Context(), topic)
		if err != nil {
			t.Fatal(err)
		}
		last, _ := end.Lookup(topic, 0)

		// Read the topic with kgo, again and again until compaction has finished.
		read := func() (table map[string]string, n int) {
			table = map[string]string{}
			c := h.client(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
			defer c.Close()
			for next := int64(0); next < last.Offset; {
				fetches := c.PollFetches(t.Context())
				if err := fetches.Err(); err != nil {
					t.Fatal(err)
				}
				for _, r := range fetches.Records() {
					if r.Offset < next {
						t.Fatalf("%s: offset %d where at least %d belongs", topic, r.Offset, next)
					}
					next = r.Offset + 1
					n++
					table[string(r.Key)] = string(r.Value)
					if r.Value == nil {
						delete(table, string(r.Key))
					} else if offsets[string(r.Key)] == r.Offset && want[string(r.Key)] != string(r.Value) {
						t.Fatalf("%s: offset %d has %q, was %q", topic, r.Offset, r.Value, want[string(r.Key)])
					}
				}
			}
			return table, n
		}
		eventually(t, topic+" to be compacted", func() bool {
			table, n := read()
			if !maps.Equal(table, want) {
				t.Fatalf("%s: kgo reads\n%v, want\n%v", topic, table, want)
			}
			if n >= 8*keys {
				return false
			}
			t.Logf("%s: %d records of %d are left", topic, n, last.Offset)
			return true
		})

		// Read the topic with librdkafka.
		kcat, err := exec.LookPath("kcat")
		if err != nil {
			t.Log("no kcat here: librdkafka was not tried")
			continue
		}
		out, err := exec.CommandContext(t.Context(), kcat, "-C", "-q", "-e", "-Z", "-b", h.addr, "-t", topic, "-o", "beginning", "-f", "%o\t%k\t%s\n").CombinedOutput()
		if err != nil {
			t.Fatalf("kcat: %v\n%s", err, out)
		}
		table, lines := map[string]string{}, 0
		for line := range strings.Lines(string(out)) {
			fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
			if len(fields) != 3 {
				t.Fatalf("kcat prints %q", line)
			}
			if table[fields[1]] = fields[2]; fields[2] == "NULL" {
				delete(table, fields[1])
			} else if fmt.Sprint(offsets[fields[1]]) == fields[0] && want[fields[1]] != fields[2] {
				t.Fatalf("%s: kcat finds %q", topic, line)
			}
			lines++
		}
		if !maps.Equal(table, want) || lines >= 8*keys {
			t.Errorf("%s: kcat reads %d records,\n%v, want\n%v", topic, lines, table, want)
		}
	}
}

// TestKgoDeletesRecords deletes records with kadm. Consumers with a position below the new start must be told the new
// start.
func TestKgoDeletesRecords(t *testing.T) {
	h := newTestServer(t)
	h.topic("orders", 2)
	admin := kadm.NewClient(h.client())
	producer := h.client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	for i := range 100 {
		if err := producer.ProduceSync(t.Context(), &kgo.Record{Topic: "orders", Partition: int32(i % 2), Value: fmt.Append(nil, i)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	ask := func(offsets map[string]map[int32]int64) kadm.DeleteRecordsResponses {
		t.Helper()
		var all kadm.Offsets
		for topic, ps := range offsets {
			for p, at := range ps {
				all.AddOffset(topic, p, at, -1)
			}
		}
		responses, err := admin.DeleteRecords(t.Context(), all)
		if err != nil {
			t.Fatal(err)
		}
		return responses
	}
	responses := ask(map[string]map[int32]int64{"orders": {0: 20, 1: -1}})
	for p, want := range map[int32]int64{0: 20, 1: 50} {
		if r := responses["orders"][p]; r.Err != nil || r.LowWatermark != want {
			t.Errorf("partition %d: %+v, want %d", p, r, want)
		}
	}
	starts, err := admin.ListStartOffsets(t.Context(), "orders")
	if err != nil {
		t.Fatal(err)
	}
	for p, want := range map[int32]int64{0: 20, 1: 50} {
		if got, _ := starts.Lookup("orders", p); got.Offset != want {
			t.Errorf("partition %d begins at %d, want %d", p, got.Offset, want)
		}
	}
	got := consume(t, h.client(kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())), 30)
	if slices.ContainsFunc(got, func(r *kgo.Record) bool { return r.Partition != 0 || r.Offset < 20 }) {
		t.Error("deleted records came")
	}

	// Case: requests that are refused.
	if _, err := admin.CreateTopic(t.Context(), 1, 1, map[string]*string{"cleanup.policy": new("compact")}, "stock"); err != nil {
		t.Fatal(err)
	}
	responses = ask(map[string]map[int32]int64{"orders": {0: 51, 1: -2}, "stock": {0: -1}})
	for _, c := range []struct {
		topic     string
		partition int32
		want      error
	}{
		{"orders", 0, kerr.OffsetOutOfRange}, {"orders", 1, kerr.OffsetOutOfRange},
		{"stock", 0, kerr.PolicyViolation},
	} {
		if r := responses[c.topic][c.partition]; !errors.Is(r.Err, c.want) || r.LowWatermark > 0 {
			t.Errorf("%s/%d: %+v, want %v", c.topic, c.partition, r, c.want)
		}
	}

	// Case: topics and partitions that do not exist, in every version.
	w := h.dial()
	for version := range int16(3) {
		req := kmsg.NewPtrDeleteRecordsRequest()
		req.SetVersion(version)
		for topic, p := range map[string]int32{"orders": 7, "nowhere": 0} {
			row := kmsg.NewDeleteRecordsRequestTopic()
			row.Topic = topic
			row.Partitions = append(row.Partitions, kmsg.DeleteRecordsRequestTopicPartition{Partition: p, Offset: 0})
			req.Topics = append(req.Topics, row)
		}
		resp := receive[*kmsg.DeleteRecordsResponse](w, req, w.send(req))
		for _, row := range resp.Topics {
			if p := row.Partitions[0]; p.ErrorCode != unknownTopicOrPartition || p.LowWatermark != -1 {
				t.Errorf("version %d, %s: %+v", version, row.Topic, p)
			}
		}
	}
}

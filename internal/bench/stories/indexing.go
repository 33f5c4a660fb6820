package stories

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/bench"
	"tidings.dev/story"
)

// Indexing measures an indexer that catches up with a log from its beginning. All fields are required.
type Indexing struct {
	Events int64  // events of applications in the log
	Dir    string // directory for the index, which is removed again
	Log    *slog.Logger
}

// Names of figures.
const (
	CPUMicrosPerEvent = "cpu_us_per_event"     // of this process
	DiskPerEvent      = "disk_bytes_per_event" // of the index file
)

// Index measures a new indexer: from its start until it has read what was in the log at that time. p may be nil.
func (i Indexing) Index(ctx context.Context, e bench.Endpoint, p *bench.Progress) (m bench.Measured, err error) {
	path := filepath.Join(i.Dir, "index.db")
	defer os.Remove(path)
	t := bench.StartMeter(e)
	err = withIndexer(ctx, e, path, false, i.Log, func(ctx context.Context, x *story.Indexer) error {
		p.Counts(func() int64 { return x.Index().Stats().Events })
		if err := x.CatchUp(ctx, nil); err != nil {
			return err
		}
		t.Stop(&m)
		m.Records = x.Index().Stats().Events
		return nil
	})
	if err != nil {
		return m, err
	}
	file, err := os.Stat(path)
	if err != nil {
		return m, err
	}
	if m.Records < i.Events {
		return m, fmt.Errorf("the index has %d of %d events", m.Records, i.Events)
	}
	m.Figures = map[string]float64{
		CPUMicrosPerEvent: float64(m.Client.CPU) / 1e3 / float64(m.Records),
		DiskPerEvent:      float64(file.Size()) / float64(m.Records),
	}
	return m, nil
}

// Bare measures a kgo client that reads the topics that an indexer reads, up to their present ends. Records are the
// events, as on the other side. p may be nil.
func (i Indexing) Bare(ctx context.Context, e bench.Endpoint, p *bench.Progress) (m bench.Measured, err error) {
	t := bench.StartMeter(e)
	client, err := e.Client(ctx, kgo.FetchMaxBytes(8<<20), kgo.FetchMaxPartitionBytes(1<<20), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		return m, err
	}
	defer client.Close()
	left, err := leftIn(ctx, client)
	if err != nil {
		return m, err
	}
	read := int64(0)
	var counted atomic.Int64
	p.Counts(counted.Load)
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return m, context.Cause(ctx)
		}
		if err := fetches.Err(); err != nil {
			return m, err
		}
		fetches.EachPartition(func(f kgo.FetchTopicPartition) {
			read += int64(len(f.Records))
			at := topicPartition{f.Topic, f.Partition}
			if n := len(f.Records); n > 0 && f.Records[n-1].Offset+1 >= left[at] {
				delete(left, at)
			}
		})
		counted.Store(read)
	}
	t.Stop(&m)
	m.Records = i.Events
	m.Figures = map[string]float64{CPUMicrosPerEvent: float64(m.Client.CPU) / 1e3 / float64(i.Events)}
	return m, nil
}

type topicPartition struct {
	topic     string
	partition int32
}

// leftIn makes a client read the topics that an indexer reads, and returns the ends of the partitions that are not empty.
func leftIn(ctx context.Context, client *kgo.Client) (map[topicPartition]int64, error) {
	adm := kadm.NewClient(client)
	starts, err := adm.ListStartOffsets(ctx)
	if err != nil {
		return nil, err
	}
	ends, err := adm.ListCommittedOffsets(ctx)
	if err != nil {
		return nil, err
	}
	left := make(map[topicPartition]int64)
	from := make(map[string]map[int32]kgo.Offset)
	ends.Each(func(end kadm.ListedOffset) {
		start, _ := starts.Lookup(end.Topic, end.Partition)
		if !indexed(end.Topic) || end.Err != nil || end.Offset <= start.Offset {
			return
		}
		left[topicPartition{end.Topic, end.Partition}] = end.Offset
		if from[end.Topic] == nil {
			from[end.Topic] = make(map[int32]kgo.Offset)
		}
		from[end.Topic][end.Partition] = kgo.NewOffset().At(start.Offset)
	})
	client.AddConsumePartitions(from)
	return left, nil
}

// indexed reports whether an indexer reads a topic.
func indexed(topic string) bool {
	switch topic {
	case "tidings.subscriptions", "tidings.reactions", "tidings.story":
		return true
	}
	return !strings.HasPrefix(topic, "tidings.") && !strings.HasPrefix(topic, "__")
}

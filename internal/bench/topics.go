package bench

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kadm"
)

// Topic describes a topic to be created. Name and Partitions are required.
type Topic struct {
	Name       string
	Partitions int
	Configs    map[string]string // settings by name; nil: the broker's defaults
}

// CreateTopic creates a topic and returns when the broker has it. It fails if the topic exists.
func (e Endpoint) CreateTopic(ctx context.Context, t Topic) error {
	client, err := e.Client(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	configs := map[string]*string{}
	for name, value := range t.Configs {
		configs[name] = &value
	}
	_, err = kadm.NewClient(client).CreateTopic(ctx, int32(t.Partitions), -1, configs, t.Name)
	if err != nil {
		return fmt.Errorf("create topic %s: %w", t.Name, err)
	}
	return nil
}

// DeleteTopic deletes a topic and its records.
func (e Endpoint) DeleteTopic(ctx context.Context, name string) error {
	client, err := e.Client(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).DeleteTopic(ctx, name); err != nil {
		return fmt.Errorf("delete topic %s: %w", name, err)
	}
	return nil
}

// Describe returns the number of partitions of a topic, and the number of records (offsets) in them. If the topic
// does not exist, it returns 0 partitions and a nil error.
func (e Endpoint) Describe(ctx context.Context, name string) (partitions int, records int64, err error) {
	client, err := e.Client(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer client.Close()
	adm := kadm.NewClient(client)
	topics, err := adm.ListTopics(ctx, name)
	if err != nil {
		return 0, 0, err
	}
	if !topics.Has(name) {
		return 0, 0, nil
	}
	starts, err := adm.ListStartOffsets(ctx, name)
	if err != nil {
		return 0, 0, err
	}
	ends, err := adm.ListEndOffsets(ctx, name)
	if err != nil {
		return 0, 0, err
	}
	ends.Each(func(end kadm.ListedOffset) {
		partitions++
		if start, ok := starts.Lookup(name, end.Partition); ok {
			records += end.Offset - start.Offset
		}
	})
	return partitions, records, ends.Error()
}

// TopicPrefix is the prefix of the names of topics that benchmarks create.
const TopicPrefix = "bench-"

// topicsNamed is the number of names that NewTopicName has returned.
var topicsNamed atomic.Int64

// NewTopicName returns a name for a topic that is different for each call and for each running process of this
// machine.
func NewTopicName() string {
	return fmt.Sprintf("%s%d-%d", TopicPrefix, os.Getpid(), topicsNamed.Add(1))
}

// WithTopic creates a topic, calls use, and deletes the topic. It deletes the topic even if ctx is cancelled
// meanwhile, as the broker may outlive the benchmark. It returns the first error.
func (e Endpoint) WithTopic(ctx context.Context, t Topic, use func() error) error {
	if err := e.CreateTopic(ctx, t); err != nil {
		return err
	}
	err := use()
	if deleteErr := e.DeleteTopic(context.WithoutCancel(ctx), t.Name); err == nil {
		err = deleteErr
	}
	return err
}

// EnsureTopic creates a topic if it does not exist. It returns the topic's numbers of partitions and of records.
func (e Endpoint) EnsureTopic(ctx context.Context, t Topic) (partitions int, records int64, err error) {
	partitions, records, err = e.Describe(ctx, t.Name)
	if err == nil && partitions == 0 {
		partitions, err = t.Partitions, e.CreateTopic(ctx, t)
	}
	return partitions, records, err
}

// EnsureRecords creates a topic if it does not exist, and produces to it with Fill until it holds at least the given
// number of records. It returns the topic's number of partitions. p may be nil.
func (e Endpoint) EnsureRecords(ctx context.Context, t Topic, l Load, records int64, p *Progress) (partitions int, err error) {
	partitions, there, err := e.EnsureTopic(ctx, t)
	if err == nil && there < records {
		p.Stage("fill " + t.Name)
		err = Fill(ctx, e, t.Name, l, records-there, p)
	}
	return partitions, err
}

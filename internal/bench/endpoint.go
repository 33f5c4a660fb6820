package bench

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// reachTimeout is how long a broker may take to answer the first request.
const reachTimeout = 10 * time.Second

// Endpoint is a Kafka broker to measure. Seeds are required.
type Endpoint struct {
	Seeds []string
	// Dial makes connections; nil: TCP.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Usage asks the broker's process; nil: it is not ours.
	Usage func() (Usage, error)
}

func (e Endpoint) usage() *Usage {
	if e.Usage == nil {
		return nil
	}
	u, err := e.Usage()
	if err != nil {
		return nil
	}
	return &u
}

func (e Endpoint) dial(ctx context.Context, address string) (net.Conn, error) {
	if e.Dial != nil {
		return e.Dial(ctx, "tcp", address)
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", address)
}

// client returns a client of a broker that answers. The caller closes it.
func (e Endpoint) client(ctx context.Context, more ...kgo.Opt) (*kgo.Client, error) {
	opts := []kgo.Opt{kgo.SeedBrokers(e.Seeds...), kgo.ClientID("tidings-bench"), kgo.DisableClientMetrics()}
	if e.Dial != nil {
		opts = append(opts, kgo.Dialer(e.Dial))
	}
	client, err := kgo.NewClient(append(opts, more...)...)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	if err := client.Ping(ctx); err != nil {
		client.Close()
		return nil, fmt.Errorf("no answer from %v: %w", e.Seeds, err)
	}
	return client, nil
}

// Topic says what a topic for a run is like.
type Topic struct {
	Name       string
	Partitions int
	Configs    map[string]string // nil: the broker's defaults
}

// CreateTopic makes a topic. It blocks until the broker has it.
func (e Endpoint) CreateTopic(ctx context.Context, t Topic) error {
	client, err := e.client(ctx)
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

// DeleteTopic removes a topic with its records.
func (e Endpoint) DeleteTopic(ctx context.Context, name string) error {
	client, err := e.client(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).DeleteTopic(ctx, name); err != nil {
		return fmt.Errorf("delete topic %s: %w", name, err)
	}
	return nil
}

// Describe returns how many partitions a topic has and how many records they hold; a topic that is not there has none.
func (e Endpoint) Describe(ctx context.Context, name string) (partitions int, records int64, err error) {
	client, err := e.client(ctx)
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

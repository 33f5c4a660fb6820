package logclient

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Topic is an existing topic as the log describes it.
type Topic struct {
	Name       string
	ID         [16]byte // zero if the brokers are too old to give topics ids
	Partitions int32
}

// Listing is the result of listing the topics of a log.
type Listing struct {
	Cluster string // the id of the cluster; empty if the brokers give none
	Topics  []Topic
	Leaders Epochs // the present leader epochs; a partition is left out if the brokers are too old to give one
}

// Partitions returns the number of partitions of all topics.
func (l *Listing) Partitions() (n int) {
	for _, t := range l.Topics {
		n += int(t.Partitions)
	}
	return n
}

// topicSpec says how a topic is made.
type topicSpec struct {
	partitions int32             // 0 means the broker's default
	configs    map[string]string // by the names that Kafka gives them
}

// topicTable is what a client knows of topics. A client of Bound shares it.
type topicTable struct {
	mu       sync.Mutex           // protects the fields below; locked after Client.mu
	declared map[string]topicSpec // how to make topics, by name
	known    map[string]Topic     // topics that were found to exist, by name; Forget removes them
	limits   map[string]limit     // limits of known topics, by name
}

func newTopicTable() *topicTable {
	return &topicTable{declared: make(map[string]topicSpec), known: make(map[string]Topic), limits: make(map[string]limit)}
}

// Declare sets how Topic makes a topic that does not exist: its number of partitions, where 0 means the broker's
// default, and its configs by Kafka's names, which must not be changed afterwards. If a topic is declared several
// times, the largest number of partitions counts, and the last configs that are not nil. Declare does not change a
// topic that exists.
func (c *Client) Declare(name string, partitions int32, configs map[string]string) {
	c.topics.mu.Lock()
	defer c.topics.mu.Unlock()
	spec, had := c.topics.declared[name]
	if had && configs == nil && partitions <= spec.partitions {
		return
	}
	spec.partitions = max(spec.partitions, partitions)
	if configs != nil {
		spec.configs = configs
	}
	c.topics.declared[name] = spec
}

// Topic returns a topic. If it does not exist, Topic makes it as declared. It asks the log only the first time. It
// waits for the log, and for the brokers to know a topic that was just made, each at most for the connect timeout.
// Errors match ErrUnreachable or ErrClosed, or are ctx's or the log's.
func (c *Client) Topic(ctx context.Context, name string) (Topic, error) {
	if found, ok := c.knownTopic(name); ok {
		return found, nil
	}
	c.topics.mu.Lock()
	spec := c.topics.declared[name]
	c.topics.mu.Unlock()
	if err := c.Reach(ctx); err != nil {
		return Topic{}, err
	}
	found, err := c.findTopic(ctx, name)
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		if err = c.createTopic(ctx, name, spec); err == nil {
			found, err = untilKnown(ctx, c.config.ConnectTimeout, func(ctx context.Context) (Topic, error) {
				return c.findTopic(ctx, name)
			})
		}
	}
	if err != nil {
		if errors.Is(err, kgo.ErrClientClosed) {
			err = ErrClosed
		}
		return Topic{}, err
	}
	c.askLimit(ctx, name)
	c.topics.mu.Lock()
	c.topics.known[name] = found
	c.topics.mu.Unlock()
	return found, nil
}

// Find returns a topic as it is now, with one request. It does not make a topic. The error matches
// kerr.UnknownTopicOrPartition if the topic does not exist.
func (c *Client) Find(ctx context.Context, name string) (Topic, error) { return c.findTopic(ctx, name) }

// Forget makes the next call of Topic with this name ask the log again.
func (c *Client) Forget(name string) {
	c.topics.mu.Lock()
	defer c.topics.mu.Unlock()
	delete(c.topics.known, name)
}

// knownTopics returns the names of the topics that Topic has found.
func (c *Client) knownTopics() []string {
	c.topics.mu.Lock()
	defer c.topics.mu.Unlock()
	return slices.Collect(maps.Keys(c.topics.known))
}

// forgetOtherTopics forgets the topics that have other ids by now.
func (c *Client) forgetOtherTopics(ids map[string][16]byte) {
	c.topics.mu.Lock()
	defer c.topics.mu.Unlock()
	for name, id := range ids {
		if found, ok := c.topics.known[name]; ok && found.ID != id {
			delete(c.topics.known, name)
		}
	}
}

// Known returns a topic as it was found by the last Topic of its name; ok is false if there was none since Forget, or since the
// topic was found to be deleted. It does not block.
func (c *Client) Known(name string) (found Topic, ok bool) { return c.knownTopic(name) }

// knownTopic returns a topic that Topic has found before. It returns false if there is none.
func (c *Client) knownTopic(name string) (Topic, bool) {
	c.topics.mu.Lock()
	defer c.topics.mu.Unlock()
	found, ok := c.topics.known[name]
	return found, ok
}

// Topics returns the topics that exist now and whose names keep accepts; a nil keep accepts all. It returns an error
// if the log cannot describe one of them, because the topic is being made or deleted.
func (c *Client) Topics(ctx context.Context, keep func(name string) bool) (Listing, error) {
	return c.metadata(ctx, nil, keep)
}

// findTopic asks the log for one topic. The error matches kerr.UnknownTopicOrPartition if the topic does not exist.
func (c *Client) findTopic(ctx context.Context, name string) (Topic, error) {
	l, err := c.metadata(ctx, []string{name}, nil)
	if err != nil {
		return Topic{}, err
	}
	if len(l.Topics) != 1 {
		return Topic{}, kerr.UnknownTopicOrPartition
	}
	return l.Topics[0], nil
}

// metadata asks the log for the topics with these names; nil means all. Topics that keep does not accept are left out;
// a nil keep accepts all. It does not use kadm, whose answers may be older than a topic that was just made or deleted.
func (c *Client) metadata(ctx context.Context, names []string, keep func(string) bool) (Listing, error) {
	req := kmsg.NewPtrMetadataRequest() // with nil Topics, the answer has all topics
	for _, name := range names {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = &name
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, c.kgo)
	if err != nil {
		return Listing{}, err
	}
	return listingOf(resp, keep)
}

// listingOf returns the topics of a response that keep accepts, or the error of the first of them that has one.
func listingOf(resp *kmsg.MetadataResponse, keep func(string) bool) (Listing, error) {
	l := Listing{Leaders: make(Epochs)}
	if resp.ClusterID != nil {
		l.Cluster = *resp.ClusterID
	}
	for _, t := range resp.Topics {
		if t.Topic == nil || keep != nil && !keep(*t.Topic) {
			continue
		}
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return Listing{}, fmt.Errorf("topic %s: %w", *t.Topic, err)
		}
		l.Topics = append(l.Topics, Topic{Name: *t.Topic, ID: t.TopicID, Partitions: int32(len(t.Partitions))})
		l.Leaders[*t.Topic] = make(map[int32]int32)
		for _, p := range t.Partitions {
			if p.LeaderEpoch >= 0 {
				l.Leaders[*t.Topic][p.Partition] = p.LeaderEpoch
			}
		}
	}
	return l, nil
}

// createTopic makes a topic. It returns nil if the topic exists already.
func (c *Client) createTopic(ctx context.Context, name string, spec topicSpec) error {
	partitions := spec.partitions
	if partitions == 0 {
		partitions = -1 // the broker's default
	}
	configs := make(map[string]*string, len(spec.configs))
	for k, v := range spec.configs {
		configs[k] = &v
	}
	r, err := c.adm.CreateTopic(ctx, partitions, -1, configs, name)
	if err == nil {
		err = r.Err
	}
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("topic %s: %w", name, err)
	}
	return nil
}

package tidings

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"tidings.dev/internal/obligation"
)

// topics sees to it that topics exist before they are used, once for each. A topic that exists is right as it is.
type topics struct {
	app *App
	adm *kadm.Client

	mu       sync.Mutex
	declared map[string]topicSpec
	known    map[string]knownTopic // the topics that were seen to exist
}

type knownTopic struct {
	partitions int32
	id         [16]byte // zero when the log knows no topic ids
}

type topicSpec struct {
	partitions int32 // 0: the broker's default
	configs    map[string]string
}

func newTopics(a *App) *topics {
	t := &topics{app: a, adm: kadm.NewClient(a.producer), declared: make(map[string]topicSpec), known: make(map[string]knownTopic)}
	for _, s := range obligation.Topics() {
		t.declared[s.Name] = topicSpec{s.Partitions, s.Configs}
	}
	return t
}

// declare remembers how a fact wants its topic to be made. The largest number of partitions that is asked for wins.
func (t *topics) declare(d *definition) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if have, ok := t.declared[d.topic]; !ok || have.partitions < d.partitions {
		t.declared[d.topic] = topicSpec{partitions: d.partitions}
	}
}

// ensure makes the topic of a fact if there is none. It waits for the log at most for the connect timeout.
func (t *topics) ensure(ctx context.Context, d *definition) error {
	t.mu.Lock()
	_, ok := t.known[d.topic]
	t.mu.Unlock()
	if ok {
		return nil
	}
	t.declare(d)
	_, err := t.need(ctx, d.topic)
	return err
}

// need makes the topic if there is none, and tells what it is.
func (t *topics) need(ctx context.Context, topic string) (knownTopic, error) {
	t.mu.Lock()
	found, ok := t.known[topic]
	spec := t.declared[topic]
	t.mu.Unlock()
	if ok {
		return found, nil
	}
	if err := t.app.reach(ctx); err != nil {
		return knownTopic{}, err
	}
	found, err := t.find(ctx, topic)
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		if err = t.create(ctx, topic, spec); err == nil {
			found, err = t.find(ctx, topic)
		}
	}
	if err != nil {
		if errors.Is(err, kgo.ErrClientClosed) {
			err = ErrClosed
		}
		return knownTopic{}, fmt.Errorf("topic %s: %w", topic, err)
	}
	t.mu.Lock()
	t.known[topic] = found
	t.mu.Unlock()
	return found, nil
}

// find asks the log for a topic. What kadm gives may be a moment old, and that moment may be before we made the topic.
func (t *topics) find(ctx context.Context, topic string) (knownTopic, error) {
	req := kmsg.NewPtrMetadataRequest()
	rt := kmsg.NewMetadataRequestTopic()
	rt.Topic = &topic
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(ctx, t.app.producer)
	if err != nil {
		return knownTopic{}, err
	}
	if len(resp.Topics) != 1 {
		return knownTopic{}, kerr.UnknownTopicOrPartition
	}
	found := &resp.Topics[0]
	return knownTopic{int32(len(found.Partitions)), found.TopicID}, kerr.ErrorForCode(found.ErrorCode)
}

func (t *topics) create(ctx context.Context, topic string, spec topicSpec) error {
	partitions := spec.partitions
	if partitions == 0 {
		partitions = -1 // the broker's default
	}
	configs := make(map[string]*string, len(spec.configs))
	for k, v := range spec.configs {
		configs[k] = &v
	}
	r, err := t.adm.CreateTopic(ctx, partitions, -1, configs, topic)
	if err == nil {
		err = r.Err
	}
	if errors.Is(err, kerr.TopicAlreadyExists) { // somebody was faster
		return nil
	}
	return err
}

package story

import (
	"context"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// follower has a client read all topics from where the index stands, new ones too.
type follower struct {
	ix     *Index
	client *kgo.Client

	mu     sync.Mutex
	topics map[string]topicInfo // as they are being read
}

// follow looks at the topics that there are now, has the client read those which are new, and gives all of them.
func (f *follower) follow(ctx context.Context) ([]topicInfo, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, topics, err := listTopics(ctx, f.client)
	if err != nil {
		return nil, err
	}
	var grown []topicInfo
	there := make(map[string]bool, len(topics))
	var over []string
	for _, t := range topics {
		there[t.name] = true
		old, ok := f.topics[t.name]
		if ok && old.id != t.id {
			over = append(over, t.name)
		}
		if !ok || old.id != t.id || old.partitions < t.partitions {
			grown = append(grown, t)
		}
	}
	for name := range f.topics {
		if !there[name] {
			over = append(over, name)
		}
	}
	if len(grown) == 0 && len(over) == 0 {
		return topics, nil
	}
	starts, err := listOffsets(ctx, f.client, askStart, grown)
	if err != nil {
		return nil, err
	}
	if len(over) > 0 {
		f.client.PurgeTopicsFromConsuming(over...)
		for _, name := range over {
			delete(f.topics, name)
		}
	}
	if err := f.ix.setTopics(topics); err != nil {
		return nil, err
	}
	if err := f.ix.advance(starts); err != nil {
		return nil, err
	}
	add := make(map[string]map[int32]kgo.Offset)
	for _, t := range grown {
		add[t.name] = make(map[int32]kgo.Offset)
		for p := f.topics[t.name].partitions; p < t.partitions; p++ {
			add[t.name][p] = kgo.NewOffset().At(f.ix.position(t.name, p))
		}
		f.topics[t.name] = t
	}
	f.client.AddConsumePartitions(add)
	return topics, nil
}

// ends reads the high watermarks of everything that there is now.
func (f *follower) ends(ctx context.Context) (watermarks, error) {
	topics, err := f.follow(ctx)
	if err != nil {
		return nil, err
	}
	return listOffsets(ctx, f.client, askEnd, topics)
}

// unstick moves the index past what retention has removed from under it.
func (f *follower) unstick(ctx context.Context) error {
	topics, err := f.follow(ctx)
	if err != nil {
		return err
	}
	starts, err := listOffsets(ctx, f.client, askStart, topics)
	if err != nil {
		return err
	}
	return f.ix.advance(starts)
}

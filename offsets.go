package tidings

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// topicOffsets are offsets of partitions, by topic.
type topicOffsets map[string]map[int32]int64

// starts is where topics begin.
func (t *topics) starts(ctx context.Context, of ...string) (topicOffsets, error) {
	return t.list(ctx, of, t.adm.ListStartOffsets)
}

// ends is where topics end.
func (t *topics) ends(ctx context.Context, of ...string) (topicOffsets, error) {
	return t.list(ctx, of, t.adm.ListEndOffsets)
}

// at is where topics stood at a time: at the first record that is not older, or at the end.
func (t *topics) at(ctx context.Context, when time.Time, of ...string) (topicOffsets, error) {
	return t.list(ctx, of, func(ctx context.Context, of ...string) (kadm.ListedOffsets, error) {
		return t.adm.ListOffsetsAfterMilli(ctx, when.UnixMilli(), of...)
	})
}

// list asks for offsets of topics that are known to exist. What the client has heard of one may be a moment old, and that
// moment may be before it was made: then it is asked again, at most for the connect timeout.
func (t *topics) list(ctx context.Context, of []string, ask func(context.Context, ...string) (kadm.ListedOffsets, error)) (topicOffsets, error) {
	ctx, cancel := context.WithTimeout(ctx, t.app.opts.connectTimeout)
	defer cancel()
	for {
		l, err := ask(ctx, of...)
		if err == nil {
			err = l.Error()
		}
		switch {
		case err == nil:
			return flat(l), nil
		case !errors.Is(err, kerr.UnknownTopicOrPartition):
			return nil, err
		}
		select {
		case <-time.After(metadataMinAge):
		case <-ctx.Done():
			return nil, err
		}
	}
}

func flat(l kadm.ListedOffsets) topicOffsets {
	f := make(topicOffsets)
	l.Each(func(o kadm.ListedOffset) {
		if f[o.Topic] == nil {
			f[o.Topic] = make(map[int32]int64)
		}
		f[o.Topic][o.Partition] = o.Offset
	})
	return f
}

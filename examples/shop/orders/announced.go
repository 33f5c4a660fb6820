package orders

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev"
	"tidings.dev/examples/shop/facts"
	"tidings.dev/kgolink"
)

// MakeTopic creates the topic of the shop's facts if it does not exist. The topic keeps its records for ever, because
// Import finds out from them which invoices were announced before.
func MakeTopic(ctx context.Context, where tidings.Connection) error {
	link, err := where.Connect(ctx)
	if err != nil {
		return err
	}
	if link.Close != nil {
		defer link.Close()
	}
	admin, err := kadm.NewOptClient(kgolink.Options(link)...)
	if err != nil {
		return err
	}
	defer admin.Close()
	forever := "-1"
	made, err := admin.CreateTopic(ctx, -1, -1, map[string]*string{"retention.ms": &forever}, facts.Topic)
	if err == nil {
		err = made.Err
	}
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("make topic %s: %w", facts.Topic, err)
	}
	return nil
}

// announced returns the ids of all facts in the log that this service has emitted, including those whose
// acknowledgement never arrived because the process was killed.
func announced(ctx context.Context, where tidings.Connection) (map[string]bool, error) {
	link, err := where.Connect(ctx)
	if err != nil {
		return nil, err
	}
	if link.Close != nil {
		defer link.Close()
	}
	admin, err := kadm.NewOptClient(kgolink.Options(link)...)
	if err != nil {
		return nil, err
	}
	defer admin.Close()
	ends, err := admin.ListEndOffsets(ctx, facts.Topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, err
	}
	starts, err := admin.ListStartOffsets(ctx, facts.Topic)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return nil, err
	}
	return readIDs(ctx, link, starts, ends)
}

// readIDs returns the ids of the facts that this service has emitted between starts and ends.
func readIDs(ctx context.Context, link *tidings.Link, starts, ends kadm.ListedOffsets) (map[string]bool, error) {
	from := map[int32]kgo.Offset{}
	ends.Each(func(o kadm.ListedOffset) {
		if start, _ := starts.Lookup(o.Topic, o.Partition); start.Offset < o.Offset {
			from[o.Partition] = kgo.NewOffset().At(start.Offset)
		}
	})
	ids := map[string]bool{}
	if len(from) == 0 {
		return ids, nil
	}
	client, err := kgo.NewClient(append(kgolink.Options(link), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{facts.Topic: from}))...)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	for len(from) > 0 {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if errs := fetches.Errors(); len(errs) > 0 {
			return nil, fmt.Errorf("%s/%d: %w", errs[0].Topic, errs[0].Partition, errs[0].Err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if id := ownID(r); id != "" {
				ids[id] = true
			}
			if end, _ := ends.Lookup(r.Topic, r.Partition); r.Offset >= end.Offset-1 {
				delete(from, r.Partition)
			}
		})
	}
	return ids, nil
}

// ownID returns the id of the event in r if this service emits events of its type, and "" otherwise.
func ownID(r *kgo.Record) (id string) {
	own := false
	for _, h := range r.Headers {
		switch h.Key {
		case "ce_id":
			id = string(h.Value)
		case "ce_type":
			t := string(h.Value)
			own = t == facts.OrderPlaced.Name() || t == facts.OrderRefused.Name() || t == facts.ReturnAccepted.Name()
		}
	}
	if !own {
		return ""
	}
	return id
}

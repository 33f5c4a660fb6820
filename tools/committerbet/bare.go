//go:build linux

package main

import (
	"context"
	"encoding/json"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// runBare is the baseline that committers are compared with. For each poll it produces the same emissions and commits
// the positions, without marks or lanes. It returns when ctx is done.
func runBare(ctx context.Context, s settings) error {
	n := namesOf(s.Trial)
	client, err := kgo.NewClient(kgo.SeedBrokers(s.Address), kgo.ConsumerGroup(n.group), kgo.ConsumeTopics(n.source),
		kgo.DisableAutoCommit(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.ProducerLinger(0),
		kgo.SessionTimeout(sessionTimeout), kgo.HeartbeatInterval(heartbeatEvery), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()), batchLimit(n))
	if err != nil {
		return err
	}
	defer client.Close()
	i := instance{names: n}
	for ctx.Err() == nil {
		fetches := client.PollFetches(ctx)
		began := time.Now()
		var records []*kgo.Record
		fetches.EachRecord(func(r *kgo.Record) {
			it := &item{}
			if err := json.Unmarshal(r.Value, &it.event); err != nil {
				say(note{What: noteBroken, Why: "an event: " + err.Error()})
				return
			}
			records = append(records, i.recordsOf(it)...)
		})
		if err := produceAll(ctx, client, records); err != nil && ctx.Err() == nil {
			return err
		}
		if err := client.CommitUncommittedOffsets(ctx); err != nil && ctx.Err() == nil {
			return err
		}
		say(note{What: noteCommitted, N: fetches.NumRecords(), Took: time.Since(began)})
	}
	return nil
}

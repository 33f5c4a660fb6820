//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// feed is the load of a trial: events at a constant rate, with random subjects.
type feed struct {
	events   int
	perS     int // events per second; 0: as fast as possible
	subjects int
	refused  int // number of events with an emission that the log refuses at the first attempt
}

// run produces the events and waits until all are acknowledged.
func (f feed) run(ctx context.Context, address string, n names, random *rand.Rand) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.ProducerLinger(0), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		return err
	}
	defer client.Close()
	seq := make(map[string]int)
	failed := make(chan error, 1)
	began := time.Now()
	for e := range f.events {
		if f.perS > 0 {
			time.Sleep(time.Until(began.Add(time.Duration(e) * time.Second / time.Duration(f.perS))))
		}
		subject := fmt.Sprint("order/", random.IntN(f.subjects))
		made := event{ID: fmt.Sprint(n.source, "-", e), Subject: subject, Seq: seq[subject], Sent: time.Now().UnixNano(),
			Refused: f.refused > 0 && e%(f.events/f.refused) == f.events/f.refused/2}
		seq[subject]++
		b, _ := json.Marshal(made) // cannot fail
		record := &kgo.Record{Topic: n.source, Partition: partitionOf(subject, sourcePartitions), Key: []byte(subject), Value: b}
		client.Produce(ctx, record, func(_ *kgo.Record, err error) {
			if err != nil {
				select {
				case failed <- err:
				default:
				}
			}
		})
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	if err := client.Flush(ctx); err != nil {
		return err
	}
	select {
	case err := <-failed:
		return fmt.Errorf("the feed: %w", err)
	default:
		return nil
	}
}

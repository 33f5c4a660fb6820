//go:build linux

package main

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	sourcePartitions  = 6
	derivedPartitions = 6
	markPartitions    = 4
	// derivedMaxBytes is the maximum size of a batch in the derived topic. It is small, so that a refused record
	// costs little.
	derivedMaxBytes = 64 << 10
)

// names are the topics and the group of one trial. No trial uses those of another.
type names struct{ source, derived, marks, group string }

func namesOf(trial string) names {
	return names{trial + ".source", trial + ".derived", trial + ".marks", trial + ".group"}
}

// create creates the topics.
func (n names) create(ctx context.Context, address string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(address))
	if err != nil {
		return err
	}
	defer client.Close()
	limit := fmt.Sprint(derivedMaxBytes)
	admin := kadm.NewClient(client)
	for topic, partitions := range map[string]int32{n.source: sourcePartitions, n.derived: derivedPartitions, n.marks: markPartitions} {
		configs := map[string]*string{}
		if topic == n.derived {
			configs["max.message.bytes"] = &limit
		}
		if _, err := admin.CreateTopic(ctx, partitions, 1, configs, topic); err != nil {
			return fmt.Errorf("create %s: %w", topic, err)
		}
	}
	return nil
}

// partitionOf returns the partition for a subject.
func partitionOf(subject string, partitions int32) int32 {
	return int32(hashNumber(subject) % uint64(partitions))
}

// marksOf returns the partition of the marks topic that has the marks of a source partition.
func marksOf(source int32) int32 { return source % markPartitions }

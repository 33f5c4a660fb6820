//go:build linux

package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// openTransactions returns a text that describes the open transactions in the partitions of a topic, with what the
// transaction coordinator knows about them.
func openTransactions(address, topic string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(address))
	if err != nil {
		return err.Error()
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	var partitions kadm.TopicsSet
	partitions.Add(topic) // all partitions
	producers, err := admin.DescribeProducers(ctx, partitions)
	if err != nil {
		return err.Error()
	}
	known, err := admin.ListTransactions(ctx, nil, nil)
	if err != nil {
		return err.Error()
	}
	var lines []string
	for _, p := range producers.SortedProducers() {
		if p.CurrentTxnStartOffset < 0 {
			continue
		}
		lines = append(lines, fmt.Sprintf("%s/%d: producer %d epoch %d since offset %d, coordinator epoch %d", p.Topic, p.Partition, p.ProducerID, p.ProducerEpoch, p.CurrentTxnStartOffset, p.CoordinatorEpoch))
		for _, t := range known.Sorted() {
			if t.ProducerID == p.ProducerID {
				described, _ := admin.DescribeTransactions(ctx, t.TxnID) // without the description, the state is still printed
				lines = append(lines, fmt.Sprintf("the coordinator: %s %s, %+v", t.TxnID, t.State, described[t.TxnID]))
			}
		}
	}
	return strings.Join(lines, "\n      ")
}

//go:build linux

package main

import (
	"context"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

var topicIDs sync.Map // ids of type [16]byte by topic name; topics are not created again here

// topicID returns the id of a topic. Newer versions of requests name topics by id; callers set both name and id, so
// that the request is complete in every version.
func topicID(ctx context.Context, client *kgo.Client, topic string) ([16]byte, error) {
	if id, ok := topicIDs.Load(topic); ok {
		return id.([16]byte), nil
	}
	details, err := kadm.NewClient(client).ListTopics(ctx, topic)
	if err != nil {
		return [16]byte{}, err
	}
	if err := details[topic].Err; err != nil {
		return [16]byte{}, fmt.Errorf("%s: %w", topic, err)
	}
	id := [16]byte(details[topic].ID)
	topicIDs.Store(topic, id)
	return id, nil
}

func errorOf(code int16) error { return kerr.ErrorForCode(code) }

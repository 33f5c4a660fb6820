//go:build linux

package main

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// slowRequests reports requests that take longer than a second, except those that may wait on purpose.
type slowRequests struct{}

func (slowRequests) OnBrokerE2E(_ kgo.BrokerMetadata, key int16, e2e kgo.BrokerE2E) {
	switch kmsg.Key(key) {
	case kmsg.Fetch, kmsg.JoinGroup, kmsg.SyncGroup:
		return
	}
	if took := e2e.DurationE2E(); took > time.Second {
		say(note{What: noteSlow, Why: fmt.Sprint(kmsg.NameForKey(key)), Took: took})
	}
}

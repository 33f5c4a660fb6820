package reactor

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"tidings.dev/internal/obligation"
)

// Marks are kept at least as long as the events that they are about: an index that is built anew takes an event without a mark for
// one that was not handled. The framework makes their topic so that they are kept for ever, but somebody else may have made it, or may
// have changed its retention.

const (
	// leastMarks is how long marks are kept at least.
	leastMarks = 30 * 24 * time.Hour
	// retentionEvery is how often the retention of the topics is looked at while a reaction runs.
	retentionEvery = 10 * time.Minute
)

// watchRetention looks at the retention of the topics now, and again whenever the ticker has ticked, until ctx is done. What goes wrong
// is logged, once until it has changed.
func (r *Reactor) watchRetention(ctx context.Context, tick <-chan time.Time) {
	last := ""
	for {
		err := r.keepMarks(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			last = ""
		} else if text := err.Error(); text != last {
			last = text
			r.spec.Log.Warn("marks may be removed before their events are: a story index that is built anew then takes these for not handled; set retention.ms of "+obligation.ReactionsTopic+" to that of the topic that is kept longest, and its retention.bytes to -1",
				"error", err)
		}
		select {
		case <-tick:
		case <-ctx.Done():
			return
		}
	}
}

// keepMarks raises the retention of the topic of marks to the longest of the reaction's topics. It lowers nothing. It asks again
// after a change, since another reaction may have changed it at the same time.
func (r *Reactor) keepMarks(ctx context.Context) error {
	adm := kadm.NewClient(r.client.Client())
	for range 3 {
		configs, err := adm.DescribeTopicConfigs(ctx, append(r.topicNames(), obligation.ReactionsTopic)...)
		if err != nil {
			return fmt.Errorf("asking how long topics are kept: %w", err)
		}
		want := leastMarks
		var marks retention
		for _, c := range configs {
			if c.Err != nil {
				if errors.Is(c.Err, kerr.UnknownTopicOrPartition) {
					continue // it is being made anew
				}
				return fmt.Errorf("asking how long topic %s is kept: %w", c.Name, c.Err)
			}
			if kept := retentionOf(c); c.Name == obligation.ReactionsTopic {
				marks = kept
			} else {
				want = max(want, kept.time)
			}
		}
		change := marks.raise(want)
		if len(change) == 0 {
			return nil
		}
		answers, err := adm.AlterTopicConfigs(ctx, change, obligation.ReactionsTopic)
		if err == nil {
			for _, a := range answers {
				err = errors.Join(err, a.Err)
			}
		}
		if err != nil {
			return fmt.Errorf("topic %s keeps marks for %v, and topics of the reaction keep events for %v; raising it: %w", obligation.ReactionsTopic, marks, retention{time: want}, err)
		}
		r.spec.Log.Info("marks are kept longer from now on, as long as the events that they are about", "topic", obligation.ReactionsTopic, "were kept", marks.String(), "are kept", retention{time: want}.String())
	}
	return nil
}

// forever is the time for which a topic is kept that is not limited.
const forever = time.Duration(1<<63 - 1)

// retention is for how long a topic keeps its records.
type retention struct {
	time      time.Duration
	bytes     bool // less if there is much of them
	compacted bool // only the last of a key
	known     bool
}

func (r retention) String() string {
	if r.time == forever {
		return "ever"
	}
	return r.time.String()
}

// retentionOf returns the retention in a topic's configs.
func retentionOf(c kadm.ResourceConfig) retention {
	r := retention{time: forever, known: true}
	deletes := true
	for _, config := range c.Configs {
		switch value := config.MaybeValue(); config.Key {
		case "cleanup.policy":
			r.compacted, deletes = strings.Contains(value, "compact"), strings.Contains(value, "delete")
		case "retention.ms":
			if ms, err := strconv.ParseInt(value, 10, 64); err == nil && ms >= 0 && ms < int64(forever/time.Millisecond) {
				r.time = time.Duration(ms) * time.Millisecond
			}
		case "retention.bytes":
			bytes, err := strconv.ParseInt(value, 10, 64)
			r.bytes = err == nil && bytes >= 0
		}
	}
	if !deletes {
		r.time, r.bytes = forever, false
	}
	return r
}

// raise returns the changes of configs after which a topic keeps all of its records at least so long; none if it does.
func (r retention) raise(want time.Duration) (change []kadm.AlterConfig) {
	set := func(key, value string) {
		change = append(change, kadm.AlterConfig{Op: kadm.SetConfig, Name: key, Value: &value})
	}
	if !r.known {
		return nil
	}
	if r.compacted {
		set("cleanup.policy", "delete")
	}
	if r.time < want || r.compacted {
		ms := int64(-1)
		if want < forever {
			ms = want.Milliseconds()
		}
		set("retention.ms", strconv.FormatInt(ms, 10))
	}
	if r.bytes {
		set("retention.bytes", "-1")
	}
	return change
}

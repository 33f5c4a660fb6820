package reactor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"tidings.dev/internal/logclient"
)

// When a topic is deleted while a reaction runs, its events are gone, and its marks and positions have no meaning any
// more. The reaction waits until a topic of the same name exists again, made by an emission or an administrator. That
// topic is another one, and all of its records were appended after the reaction had joined, so the reaction reads it
// from its start, in a new session of the group.

// goneCheck is the interval at which the log is asked whether a deleted topic exists again.
const goneCheck = 500 * time.Millisecond

// changed is the error with which a session ends when a topic is not the one any more that the session began with: it was deleted
// and made again, or has lost its end. Run then begins another session, which finds out where to go on.
type changed struct{ topic string }

func (e *changed) Error() string {
	return fmt.Sprintf("topic %s is not what it was when the session began", e.topic)
}

// isGone reports whether an error of reading a partition may mean that its topic was deleted.
func isGone(err error) bool {
	return errors.Is(err, kerr.UnknownTopicOrPartition) || errors.Is(err, kerr.UnknownTopicID)
}

// watchTopic finds out, on a goroutine of its own, what has become of a topic whose partitions cannot be read or
// committed. Fetching from the topic is paused meanwhile. It does nothing if that is being found out already or the
// session has ended.
func (r *Reactor) watchTopic(topic string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ctx := r.present
	if r.watched[topic] || ctx.Err() != nil {
		return
	}
	r.watched[topic] = true
	r.group.PauseFetchTopics(topic) // otherwise the brokers would refuse each fetch at once
	r.watching.Go(func() {
		r.awaitTopic(ctx, topic)
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.watched, topic)
		r.group.ResumeFetchTopics(topic)
	})
}

// awaitTopic waits until the topic that the session began with answers, or ctx is done. If that topic was deleted, it
// drops the topic's partitions, waits until a topic of the name exists again, and ends the session.
func (r *Reactor) awaitTopic(ctx context.Context, topic string) {
	gone := false
	for {
		found, err := r.client.Find(ctx, topic)
		switch {
		case err == nil && found.ID == r.topics[topic].ID && !gone:
			return
		case err == nil:
			r.loseTopic(topic)
			r.restart(&changed{topic})
			return
		case errors.Is(err, kerr.UnknownTopicOrPartition) && !gone:
			gone = true
			r.spec.Log.Warn("the topic was deleted; the reaction waits until it is made again", "topic", topic)
			r.loseTopic(topic)
		}
		select {
		case <-time.After(goneCheck):
		case <-ctx.Done():
			return
		}
	}
}

// checkTopics returns an error if one of the topics, of which partitions were just assigned, is not the one that the session began
// with: ids has the topics that exist. It has the topic watched, which ends the session once the topic exists. The group may well
// assign partitions of the new topic before a fetch from the deleted one fails, since a topic with more partitions makes the group
// share them out again.
func (r *Reactor) checkTopics(ids map[string]topicID, topics []string) error {
	for _, topic := range topics {
		if id, ok := ids[topic]; !ok || id != topicID(r.topics[topic].ID) {
			r.watchTopic(topic)
			return &changed{topic}
		}
	}
	return nil
}

// restartIfRemade reports whether the name of a topic of the session now belongs to another topic. If so, it ends the
// session, so that a new one begins.
func (r *Reactor) restartIfRemade(ctx context.Context, topic string) bool {
	found, err := r.client.Find(ctx, topic)
	if err != nil || found.ID == r.topics[topic].ID {
		return false
	}
	r.loseTopic(topic)
	r.restart(&changed{topic})
	return true
}

// loseTopic forgets the partitions of a topic that was deleted. Nothing of them may be committed any more, because the
// name may belong to another topic.
func (r *Reactor) loseTopic(topic string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var gone []incarnation
	for tp, p := range r.scheduler.partitions {
		if tp.topic == topic {
			gone = append(gone, p.incarnation)
		}
	}
	if len(gone) > 0 {
		r.stepLocked(lost{gone})
	}
}

// restart ends the session with why, so that Run begins another one. It does not block.
func (r *Reactor) restart(why *changed) {
	select {
	case r.fatal <- why:
	default:
	}
}

// begunTopics is an appender whose Topic returns the topics as they were when the session began. If a topic was made
// again since, positions of the deleted one are then not committed for the new one.
type begunTopics struct {
	*logclient.Client
	topics map[string]logclient.Topic
}

// Topic implements appender.
func (b begunTopics) Topic(ctx context.Context, name string) (logclient.Topic, error) {
	if t, ok := b.topics[name]; ok {
		return t, nil
	}
	return b.Client.Topic(ctx, name)
}

package reactor

import (
	"time"

	"tidings.dev/internal/obligation"
	"tidings.dev/internal/offsets"
)

// NotUnderstood has the records of one partition that claim to be CloudEvents and cannot be read as such, among those that a reactor
// has taken in.
type NotUnderstood struct {
	Topic       string
	TopicID     obligation.TopicID // the topic's id when the partition was assigned
	Partition   int32
	Offsets     offsets.Set
	First, Last obligation.NotUnderstoodRecord // of the lowest and the highest offset
}

// Add adds what more has. Both must be of the same partition.
func (n *NotUnderstood) Add(more *NotUnderstood) {
	if more.First.Offset < n.First.Offset {
		n.First = more.First
	}
	if more.Last.Offset > n.Last.Offset {
		n.Last = more.Last
	}
	for _, r := range more.Offsets.Ranges() {
		n.Offsets.Add(r.Lo, r.Hi)
	}
}

// noteNotUnderstood counts a record that claims to be a CloudEvent and cannot be read as one.
func (s *scheduler) noteNotUnderstood(p *partition, r *record) {
	s.counts.notUnderstood++
	at := obligation.NotUnderstoodRecord{Offset: r.Offset, Reason: r.NotUnderstood, At: time.Now().UTC()}
	found := &NotUnderstood{Topic: p.topic, TopicID: obligation.TopicID(p.topicID), Partition: p.partition, First: at, Last: at}
	found.Offsets.Add(r.Offset, r.Offset+1)
	if before := s.notUnderstood[p.topicPartition]; before != nil && before.TopicID == found.TopicID {
		before.Add(found)
		return
	}
	s.notUnderstood[p.topicPartition] = found
}

// TakeNotUnderstood returns the records that were not understood since it was called last, by partition.
func (r *Reactor) TakeNotUnderstood() (found []*NotUnderstood) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.scheduler.notUnderstood {
		found = append(found, n)
	}
	clear(r.scheduler.notUnderstood)
	return found
}

package logclient

import (
	"cmp"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// sequence keeps the order of the deliveries to one partition of a topic: of two deliveries that the log acknowledges,
// the one that came to send first is first in the log.
//
// kgo keeps the order of the records that it has. But it gives records back without waiting for the caller: between the
// moment when it gives up a record and the call of answered, it accepts further records, and may append them before the
// one that it gave up is sent again. Therefore a sequence is held before kgo may give a record of it up. While it is
// held, kgo gets none of its records: new ones, and those that kgo gives back, wait until kgo has no record of the
// sequence any more, and are then sent in the order of their numbers.
//
// A record can also be given back without warning, when its topic was deleted for example. If a later one was appended
// meanwhile, the earlier one fails if it has a timeout. Records without a timeout are appended all the same, because
// those who append them do not depend on an order.
type sequence struct {
	mu      sync.Mutex // protects the fields below; held while records are passed to kgo
	next    int64      // the number of the next delivery, from 1
	acked   int64      // the highest number of a delivery that the log has acknowledged; 0 if there is none
	out     int        // deliveries that kgo has, or that kgo has given back and that await their remedy
	held    bool       // no record may be passed to kgo before out is 0
	shut    bool       // no record may be passed to kgo before open is called
	waiting []*delivery

	watched  bool      // look will be called
	moved    bool      // kgo has given an answer since look was last called, or since the first record
	progress time.Time // when look last found moved, or kgo got a record while it had none
}

// errOvertaken is the reason why a record fails that kgo has given back and that a later record has overtaken.
var errOvertaken = errors.New("the log refused it and has taken a later record since, which it must not follow")

// send gives a new delivery its number and passes the record to kgo, unless it has to wait. It does not block on the log.
func (s *sequence) send(d *delivery) {
	s.mu.Lock()
	s.next++
	d.number = s.next
	late := d.late()
	switch {
	case late:
	case s.held || s.shut:
		s.waiting = append(s.waiting, d)
	default:
		s.pass(d)
	}
	s.mu.Unlock()
	if late {
		d.giveUpUnsent(nil)
	}
}

// pass passes a record to kgo, which does not block, because kgo buffers more records than there are slots, and which
// calls answered on another goroutine. s.mu must be held.
func (s *sequence) pass(d *delivery) {
	d.sent = time.Now()
	if s.out++; s.out == 1 {
		s.progress = d.sent
	}
	if !s.watched {
		s.watched = true
		c, topic := d.c, d.record.Topic
		time.AfterFunc(stuckAfter, func() { s.look(c, topic) })
	}
	d.c.producer(d.record.Topic).Produce(d.giveUpContext(), d.record, d.promise)
}

// answered is called for a delivery that is over and whose record kgo does not have any more. acked says whether the
// log has acknowledged it.
func (s *sequence) answered(d *delivery, acked bool) {
	s.mu.Lock()
	if acked {
		s.acked = max(s.acked, d.number)
	}
	s.moved = true
	s.out--
	s.resume()
}

// putBack is called for a delivery whose record kgo has given back, and which is to be sent again.
func (s *sequence) putBack(d *delivery) {
	s.mu.Lock()
	s.held = true
	late := d.late()
	if !late {
		s.waiting = append(s.waiting, d)
	}
	s.moved = true
	s.out--
	s.resume()
	if late {
		d.giveUpUnsent(nil)
	}
}

// hold makes deliveries wait until kgo has no record of the sequence any more.
func (s *sequence) hold() {
	s.mu.Lock()
	s.held = s.held || s.out > 0
	s.mu.Unlock()
}

// expire is called when the time of some deliveries of the sequence is over, before kgo is told so. It holds the
// sequence if kgo has records of it. The deliveries whose time is over and that still wait to be passed to kgo fail;
// their records are not in the log.
func (s *sequence) expire() {
	s.mu.Lock()
	s.held = s.held || s.out > 0
	var late []*delivery
	s.waiting = slices.DeleteFunc(s.waiting, func(d *delivery) bool {
		if !d.late() {
			return false
		}
		late = append(late, d)
		return true
	})
	s.mu.Unlock()
	for _, d := range late {
		d.giveUpUnsent(nil)
	}
}

// resume passes the waiting records to kgo if the sequence need not be held any more. s.mu must be held; resume unlocks
// it.
func (s *sequence) resume() {
	if s.out > 0 || s.shut {
		s.mu.Unlock()
		return
	}
	s.held = false
	waiting := s.waiting
	s.waiting = nil
	slices.SortFunc(waiting, func(a, b *delivery) int { return cmp.Compare(a.number, b.number) })
	var late, overtaken []*delivery
	for _, d := range waiting {
		switch {
		case d.late() || d.ended.Load():
			late = append(late, d)
		case d.timeout > 0 && d.number < s.acked:
			overtaken = append(overtaken, d)
		default:
			s.pass(d)
		}
	}
	s.mu.Unlock()
	for _, d := range late {
		d.giveUpUnsent(nil)
	}
	for _, d := range overtaken {
		d.giveUpUnsent(errOvertaken)
	}
}

// sequences has the sequences of all topics. The zero value is ready for use, and its methods are safe for concurrent
// use.
type sequences struct {
	mu     sync.Mutex // protects topics
	topics map[string]*topicSequences
	last   atomic.Pointer[topicSequences] // those that sequenceOf found last; nil before
}

// topicSequences has the sequences of one topic. Which of them a key has does not change, even if the topic gets more
// partitions.
type topicSequences struct {
	topic   string
	chooser kgo.TopicPartitioner
	byKey   []sequence // one for each partition that the topic had when it was first used; one if that was not known
	keyless sequence   // of records without a key
}

// sequenceOf returns the sequence of a record.
func (c *Client) sequenceOf(r *kgo.Record) *sequence {
	t := c.sequences.last.Load()
	if t == nil || t.topic != r.Topic {
		t = c.sequencesOf(r.Topic)
		c.sequences.last.Store(t)
	}
	if r.Key == nil {
		return &t.keyless
	}
	return &t.byKey[t.chooser.Partition(r, len(t.byKey))]
}

// sequencesOf returns the sequences of a topic.
func (c *Client) sequencesOf(name string) *topicSequences {
	s := &c.sequences
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.topics[name]
	if t == nil {
		topic, _ := c.knownTopic(name)
		t = &topicSequences{topic: name, chooser: partitioner.ForTopic(name), byKey: make([]sequence, max(1, topic.Partitions))}
		if s.topics == nil {
			s.topics = make(map[string]*topicSequences)
		}
		s.topics[name] = t
	}
	return t
}

// shut makes all deliveries to a topic wait until open is called.
func (s *sequences) shut(topic string) {
	for q := range s.all(topic) {
		q.mu.Lock()
		q.shut = true
		q.held = q.held || q.out > 0
		q.mu.Unlock()
	}
}

// open undoes shut. Deliveries wait for those that kgo has not given back yet.
func (s *sequences) open(topic string) {
	for q := range s.all(topic) {
		q.mu.Lock()
		q.shut = false
		q.resume()
	}
}

// all returns the sequences of a topic.
func (s *sequences) all(topic string) func(func(*sequence) bool) {
	s.mu.Lock()
	t := s.topics[topic]
	s.mu.Unlock()
	return func(yield func(*sequence) bool) {
		if t == nil || !yield(&t.keyless) {
			return
		}
		for i := range t.byKey {
			if !yield(&t.byKey[i]) {
				return
			}
		}
	}
}

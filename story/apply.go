package story

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
	"tidings.dev/internal/obligation"
)

// Apply adds records to the index, in one transaction. Those of one partition must come in order; those that the index
// has already are passed over. Between partitions any order will do. The index keeps nothing of the records.
//
// After an error the index can still be asked, but takes no more: it has to be opened again.
func (ix *Index) Apply(records []*kgo.Record) error {
	return ix.update(func(p *pass) {
		// Marks first: what is done when an event comes is never owed.
		for _, topic := range []string{obligation.SubscriptionsTopic, obligation.ReactionsTopic, "", obligation.StoryTopic} {
			for _, r := range records {
				own := r.Topic
				switch own {
				case obligation.SubscriptionsTopic, obligation.ReactionsTopic, obligation.StoryTopic:
				default:
					own = ""
				}
				if own == topic {
					p.record(r)
				}
			}
		}
	})
}

// update runs one write transaction and tells the waiting about it.
func (ix *Index) update(do func(*pass)) error {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	return ix.updateLocked(do)
}

func (ix *Index) updateLocked(do func(*pass)) (err error) {
	if ix.failed != nil {
		return ix.failed
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, p)
		}
		if err != nil {
			ix.failed = fmt.Errorf("story: index %s: %w", ix.path, err)
			err = ix.failed
		}
		close(ix.news)
		ix.news = make(chan struct{})
	}()
	tx, err := ix.db.Begin(true)
	if err != nil {
		return err
	}
	p := newPass(ix, tx)
	done := false
	defer func() {
		if !done {
			tx.Rollback()
		}
	}()
	do(p)
	p.flush()
	if p.err != nil {
		return p.err
	}
	done = true
	return tx.Commit()
}

// record takes in one record, unless the index has it.
func (p *pass) record(r *kgo.Record) {
	if p.err != nil {
		return
	}
	part := partition{p.topic(r.Topic), r.Partition}
	if r.Offset < p.ix.positions[part] {
		return
	}
	p.ix.positions[part] = r.Offset + 1
	p.moved[part] = struct{}{}
	if r.Attrs.IsControl() {
		return
	}
	switch {
	case r.Topic == obligation.SubscriptionsTopic:
		p.subscription(r)
	case r.Topic == obligation.ReactionsTopic:
		p.reaction(r)
	case r.Topic == obligation.StoryTopic:
		p.told(r)
	case !obligation.Internal(r.Topic):
		p.event(r, place{part, r.Offset})
	}
}

// decode reads a record of the framework's own topics; nil if it is none: anybody can write there.
func (p *pass) decode(r *kgo.Record) obligation.Fact {
	f, err := obligation.Decode(r.Value)
	if err != nil {
		if errors.Is(err, obligation.ErrMalformed) {
			p.ix.log.Warn("story index skips a record", "topic", r.Topic, "offset", r.Offset, "why", err)
		}
		return nil
	}
	return f
}

func (p *pass) subscription(r *kgo.Record) {
	if r.Value == nil { // a tombstone
		if li := p.ix.judge.listeners[string(r.Key)]; li != nil {
			p.subscribe(li, nil)
		}
		return
	}
	if sub, ok := p.decode(r).(*obligation.Subscription); ok && sub.Topic != "" && !obligation.Internal(sub.Topic) {
		p.subscribe(p.listener(sub.Reaction, sub.Topic), sub)
	}
}

func (p *pass) subscribe(li *listener, sub *obligation.Subscription) {
	ends := make(map[int32]int64)
	for part, end := range p.ix.positions {
		if part.topic == li.topic {
			ends[part.partition] = end
		}
	}
	var types []nameNum
	if sub != nil {
		for _, t := range sub.Types {
			types = append(types, p.name(t))
		}
	}
	p.ix.judge.subscribe(p, li, sub, types, ends)
	p.putListener(li)
}

// putListener writes a listener's row.
func (p *pass) putListener(li *listener) {
	var w writer
	w.uint(uint64(li.topic))
	w.string(li.reaction)
	w.string(li.key)
	if li.sub != nil {
		w.string(string(obligation.Encode(li.sub)))
	} else {
		w.string("")
	}
	p.put(p.listeners, u32Key(li.num), w.b)
}

func (p *pass) reaction(r *kgo.Record) {
	switch f := p.decode(r).(type) {
	case *obligation.Marks:
		li := p.listener(f.Reaction, f.Topic)
		if p.ix.judge.marks(p, li, f) {
			p.touch(li)
			p.notes(li, f, r.Offset)
			p.timings(li, f, r.Offset)
		}
	case *obligation.Retrying:
		n := note{kind: noteRetrying, order: r.Offset, attempts: f.Attempt, text: f.Error, at: f.At, next: f.Next}
		p.put(p.notesB, noteKey(p.listener(f.Reaction, f.Topic).num, f.Partition, f.Offset), n.encode())
	case *obligation.Seek:
		li := p.listener(f.Reaction, f.Topic)
		if p.ix.judge.seek(p, li, f) {
			p.touch(li)
		}
	}
}

// notes keeps what marks tell besides ranges.
func (p *pass) notes(li *listener, m *obligation.Marks, order int64) {
	for _, s := range m.Skipped {
		n := note{kind: noteSkipped, order: order, text: s.Reason, at: m.Finished}
		p.put(p.notesB, noteKey(li.num, m.Partition, s.Offset), n.encode())
	}
	for _, r := range m.Retried {
		n := note{kind: noteRetried, order: order, attempts: r.Attempts, text: r.Error, at: m.Finished}
		p.put(p.notesB, noteKey(li.num, m.Partition, r.Offset), n.encode())
	}
	for _, o := range m.Duplicates {
		n := note{kind: noteDuplicate, order: order, at: m.Finished}
		p.put(p.notesB, noteKey(li.num, m.Partition, o), n.encode())
	}
}

// timings keeps when events were handled: one row for each stretch of 256 offsets that the marks have something of.
func (p *pass) timings(li *listener, m *obligation.Marks, order int64) {
	rows := make(map[int64]*writer)
	for _, t := range m.Times {
		w := rows[t.Offset>>8]
		if w == nil {
			w = new(writer)
			rows[t.Offset>>8] = w
		}
		w.uint(uint64(t.Offset & 0xff))
		w.int(t.Took.Microseconds())
		w.time(t.Finished)
	}
	for stretch, w := range rows {
		p.put(p.times, timesKey(li.num, m.Partition, stretch, order), w.b)
	}
}

// told takes in a fact of the story itself.
func (p *pass) told(r *kgo.Record) {
	switch f := p.decode(r).(type) {
	case *obligation.Settled:
		if n, ok := p.lookup(f.Correlation); ok {
			whole := true
			for _, at := range p.load(n).through {
				t := p.ix.topicOf[at.topic]
				whole = whole && (t.gone || f.Covers(t.name, at.partition.partition, at.offset-1))
			}
			p.ix.judge.told(p, n, f.Episode, true, whole)
		}
	case *obligation.Reopened:
		if n, ok := p.lookup(f.Correlation); ok {
			p.ix.judge.told(p, n, f.Episode, false, false)
		}
	}
}

// event takes in a record of an application.
func (p *pass) event(r *kgo.Record, at place) {
	e := openEnvelope(r)
	n := p.story(e)
	s := p.load(n)
	row := eventRow{
		fact:    fact{story: n, typ: p.name(e.typ)},
		foreign: e.foreign, source: p.name(e.source), reaction: p.name(e.reaction),
		time: e.time, causation: e.causation, subject: e.subject,
	}
	if !e.foreign {
		row.id = e.id
		row.copy = p.claim(e.id, row.typ, at)
		s.telling = true
	}
	p.put(p.events, placeKey(at), row.encode())
	p.put(p.storyEvents, append(u64Key(uint64(n)), u32Key(s.rows)...), placeKey(at))
	if s.rows == 0 {
		s.root, s.first = e.id, e.time
	}
	s.rows++
	if e.causation == "" && !e.foreign && e.id == e.correlation {
		s.root = e.id // a later record can be read first, from another partition
	}
	if e.time.Before(s.first) {
		s.first = e.time
	}
	if e.time.After(s.last) {
		s.last = e.time
	}
	s.reach(at)
	if row.copy != laterCopy {
		p.ix.stats.Events++
	}
	p.find(findSubject, e.subject, n)
	p.find(findTrace, e.trace, n)
	p.ix.judge.event(p, at, row.fact)
}

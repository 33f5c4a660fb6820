package story

import (
	"maps"
	"slices"
	"time"

	"tidings.dev/internal/obligation"
	"tidings.dev/internal/offsets"
)

// listener is one reaction on one topic: its subscription, if one was read, and what it has done in each partition.
// The index makes a listener when it reads the first record that names the reaction and the topic; marks may name
// them before a subscription does. Index.mu protects all fields.
type listener struct {
	num      uint32 // number of the listener in the index file, from 1
	key      string // obligation.SubscriptionKey of reaction and topic
	reaction string
	topic    topicNum

	// own is the newest subscription to this very topic that was read. It is nil if none was read or a tombstone has
	// ended it.
	own *obligation.Subscription
	// sub is the subscription that applies: own, or, if own is nil, what the reaction's subscription to an earlier
	// topic of the same name implies for this topic. It is nil if there is neither. See writeTx.resubscribe.
	sub   *obligation.Subscription
	types []nameNum // the types of sub.Types, ascending, without repetition; empty: all types
	// later has the types that were added to the subscription after it began. For each it has, by partition, the
	// first offset at which the listener owes events of the type; the value is nil while these offsets are not known.
	later map[nameNum]map[int32]int64
	ended map[nameNum]obligation.Ended // sub.Ended

	covers map[int32]*coverage // by partition; the methods coverage and readCoverage return entries
}

// coverage is what a listener has done in one partition.
//
// Invariants: every offset in unhandled and skipped is in done. No copies[i].Of is in done. If emitted is not
// empty, judge.reaching has the coverage.
type coverage struct {
	epoch     int64             // of the newest seek that was read; marks with a lower epoch are ignored
	position  int64             // the next offset that the listener commits, by its newest marks
	done      offsets.Set       // offsets that need no further handling
	unhandled offsets.Set       // offsets in done whose events the reaction has no handler for
	copies    []obligation.Copy // copies whose originals are not done; a copy becomes done when its original does
	skipped   []seekGap         // ranges in done that a seek jumped over, so that no handler ran
	emitted   []emission        // what handlers emitted for events in done, as far as it was not read; the oldest first
	dirty     bool              // the row in the bucket coverage is out of date
}

// seekGap is a range of offsets that a seek jumped over.
type seekGap struct {
	offsets.Range
	who string // name of the user who moved the position, as the seek has it; may be empty
	at  time.Time
}

// hasAny reports whether at least one of the offsets is done.
func (c *coverage) hasAny(offsets []int64) bool {
	return slices.ContainsFunc(offsets, c.done.Contains)
}

// passedOver reports whether the reaction had no handler for any of those offsets that are done.
func (c *coverage) passedOver(offsets []int64) bool {
	return !slices.ContainsFunc(offsets, func(o int64) bool { return c.done.Contains(o) && !c.unhandled.Contains(o) })
}

// coverage returns the listener's coverage of partition p. If there is none, it adds an empty one. Index.mu must be
// held for writing; queries, which hold it for reading, call readCoverage.
func (li *listener) coverage(p int32) *coverage {
	c := li.covers[p]
	if c == nil {
		c = new(coverage)
		li.covers[p] = c
	}
	return c
}

// readCoverage returns the listener's coverage of partition p, or an empty one that is not kept. The caller must not
// change the result. Index.mu must be held, for reading at least.
func (li *listener) readCoverage(p int32) *coverage {
	if c := li.covers[p]; c != nil {
		return c
	}
	return new(coverage)
}

// set replaces the subscription that applies and everything that is derived from it. A nil sub ends the subscription.
// num must return the number of a type.
func (li *listener) set(sub *obligation.Subscription, num func(typ string) nameNum) {
	li.sub, li.types, li.later, li.ended = sub, nil, nil, nil
	if sub == nil {
		return
	}
	for _, t := range sub.Types {
		li.types = append(li.types, num(t))
	}
	slices.Sort(li.types)
	li.types = slices.Compact(li.types)
	li.later = make(map[nameNum]map[int32]int64)
	for t, since := range sub.TypeSince {
		li.later[num(t)] = since
	}
	for _, t := range sub.Joining {
		li.later[num(t)] = nil
	}
	li.ended = make(map[nameNum]obligation.Ended)
	for t, e := range sub.Ended {
		li.ended[num(t)] = e
	}
}

// obligesAs reports whether two values of one listener, from before and after a change, oblige it to handle the same
// events.
func (li *listener) obligesAs(o *listener) bool {
	if !li.active() || !o.active() {
		return li.active() == o.active()
	}
	return slices.Equal(li.types, o.types) && equalOffsets(li.sub.Start, o.sub.Start) && equalOffsets(li.sub.Since, o.sub.Since) &&
		maps.EqualFunc(li.later, o.later, func(a, b map[int32]int64) bool { return (a == nil) == (b == nil) && equalOffsets(a, b) })
}

// equalOffsets reports whether two maps of offsets by partition are equal. A missing key means offset 0.
func equalOffsets(a, b map[int32]int64) bool {
	for p, o := range a {
		if b[p] != o {
			return false
		}
	}
	for p, o := range b {
		if a[p] != o {
			return false
		}
	}
	return true
}

// active reports whether the listener has a subscription that is not retired.
func (li *listener) active() bool { return li.sub != nil && !li.sub.Retired }

// handles reports whether the subscription includes an event type.
func (li *listener) handles(typ nameNum) bool {
	return len(li.types) == 0 || slices.Contains(li.types, typ)
}

// obligedFrom returns the first offset of partition p that the listener may be obliged to handle: the higher of the
// offset that it began to read at and the offset that was the end when it joined. It returns the highest int64 if the
// listener is not active.
func (li *listener) obligedFrom(p int32) int64 {
	if !li.active() {
		return 1<<63 - 1
	}
	return max(li.sub.Start[p], li.sub.Since[p])
}

// subscribedAt reports whether the listener was subscribed to a type when the event at the given offset was appended.
// li.sub must not be nil.
func (li *listener) subscribedAt(p int32, offset int64, typ nameNum) bool {
	since, later := li.later[typ]
	return offset >= li.sub.Since[p] && (!later || since != nil && offset >= since[p])
}

// endedFor reports whether the listener was subscribed to a type when the event at the given offset was appended, by a subscription
// to the type that has ended.
func (li *listener) endedFor(p int32, offset int64, typ nameNum) bool {
	e, ok := li.ended[typ]
	return ok && e.Has(p, offset) && !(li.handles(typ) && li.subscribedAt(p, offset, typ))
}

// joined returns when the listener subscribed to a type, or the zero time if that is not recorded, or if it has no subscription any
// more.
func (li *listener) joined(typ nameNum) time.Time {
	if _, later := li.later[typ]; later || li.sub == nil {
		return time.Time{}
	}
	return li.sub.At
}

// obliges reports whether the listener must handle an event before the story of the event can settle. For an event
// with copies, offset is the offset of the first copy.
func (li *listener) obliges(p int32, offset int64, typ nameNum) bool {
	return li.active() && offset >= li.obligedFrom(p) && li.handles(typ) && li.subscribedAt(p, offset, typ)
}

// encode returns the listener's row in the bucket listeners. The row has everything but covers, which has rows of its
// own:
//
//	│ topic uint │ reaction string │ key string │ own string │ sub string │
//	own, sub  subscriptions, as package obligation encodes them; empty: none
func (li *listener) encode() []byte {
	var w rowWriter
	w.uint(uint64(li.topic))
	w.string(li.reaction)
	w.string(li.key)
	for _, sub := range []*obligation.Subscription{li.own, li.sub} {
		if sub != nil {
			w.string(string(obligation.Encode(sub)))
		} else {
			w.string("")
		}
	}
	return w.b
}

// decodeListener decodes the row of listener num. types must map the names of event types to their numbers.
func decodeListener(num uint32, b []byte, types map[string]nameNum) (*listener, error) {
	r := newRowReader(b)
	li := &listener{num: num, topic: topicNum(r.Uvarint()), reaction: r.Text(), key: r.Text(), covers: make(map[int32]*coverage)}
	own, sub := r.Bytes(), r.Bytes()
	if !r.OK() {
		return nil, r.Err()
	}
	var err1, err2 error
	li.own, err1 = decodeSubscription(own)
	counts, err2 := decodeSubscription(sub)
	if err1 != nil || err2 != nil {
		return nil, errRow
	}
	li.set(counts, func(t string) nameNum { return types[t] })
	return li, nil
}

// decodeSubscription decodes a subscription in a row of the bucket listeners. It returns nil if b is empty.
func decodeSubscription(b []byte) (*obligation.Subscription, error) {
	if len(b) == 0 {
		return nil, nil
	}
	f, err := obligation.Decode(b)
	sub, ok := f.(*obligation.Subscription)
	if err != nil || !ok {
		return nil, errRow
	}
	return sub, nil
}

// encode returns the coverage as a row of the bucket coverage:
//
//	│ epoch int │ position int │ done │ unhandled │ number of copies uint │ copies … │ number of emissions uint │ emissions … │ skipped …
//	done, unhandled  │ number of ranges uint │ range … │
//	range    │ int offsets since the end of the range before │ int length │
//	copies   │ offset int │ of int │
//	emission │ lo int │ hi int │ number of locations uint │ location … │
//	location │ topic uint │ partition uint │ offset int │; of topic 0 an offset is the span of the location before, and one alone: unknown
//	skipped  │ lo int │ hi int │ who string │ at time │
func (c *coverage) encode() []byte {
	w := rowWriter{make([]byte, 0, 16+8*(c.done.Len()+c.unhandled.Len()))}
	w.int(c.epoch)
	w.int(c.position)
	w.offsets(&c.done)
	w.offsets(&c.unhandled)
	w.uint(uint64(len(c.copies)))
	for _, copied := range c.copies {
		w.int(copied.Offset)
		w.int(copied.Of)
	}
	w.uint(uint64(len(c.emitted)))
	for _, e := range c.emitted {
		var through []location
		for _, at := range e.through {
			through = append(through, at.location)
			if at.span > 0 {
				through = append(through, location{offset: at.span})
			}
		}
		if e.unknown {
			through = []location{{}}
		}
		w.int(e.Lo)
		w.int(e.Hi)
		w.uint(uint64(len(through)))
		for _, at := range through {
			w.uint(uint64(at.topic))
			w.uint(uint64(at.partition.partition))
			w.int(at.offset)
		}
	}
	for _, g := range c.skipped {
		w.int(g.Lo)
		w.int(g.Hi)
		w.string(g.who)
		w.time(g.at)
	}
	return w.b
}

func decodeCoverage(b []byte) (*coverage, error) {
	r := newRowReader(b)
	c := &coverage{epoch: r.Varint(), position: r.Varint(), done: r.offsets(), unhandled: r.offsets()}
	for n := r.Uvarint(); n > 0 && r.OK(); n-- {
		c.copies = append(c.copies, obligation.Copy{Offset: r.Varint(), Of: r.Varint()})
	}
	for n := r.Uvarint(); n > 0 && r.OK(); n-- {
		e := emission{Range: offsets.Range{Lo: r.Varint(), Hi: r.Varint()}}
		for n := r.Uvarint(); n > 0 && r.OK(); n-- {
			at := location{partition{topicNum(r.Uvarint()), int32(r.Uvarint())}, r.Varint()}
			switch {
			case at.topic > 0:
				e.through = append(e.through, reach{location: at})
			case len(e.through) > 0 && at.offset > 0:
				e.through[len(e.through)-1].span = at.offset
			default:
				e.unknown = true
			}
		}
		c.emitted = append(c.emitted, e)
	}
	for r.Len() > 0 {
		c.skipped = append(c.skipped, seekGap{offsets.Range{Lo: r.Varint(), Hi: r.Varint()}, r.Text(), r.time()})
	}
	return c, r.Err()
}

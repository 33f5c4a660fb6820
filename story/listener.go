package story

import (
	"slices"
	"time"

	"tidings.dev/internal/obligation"
)

// listener is a reaction on a topic: its subscription, if that is known, and what it has done.
type listener struct {
	num      uint32
	key      string // obligation.SubscriptionKey
	reaction string
	topic    topicNum

	sub   *obligation.Subscription // nil: none, or retired by a tombstone
	types []nameNum                // sorted; of sub.Types

	covers map[int32]*coverage
}

// coverage is what a listener has done in one partition.
type coverage struct {
	epoch    int64 // of the last seek
	position int64 // as of the last marks
	done     spans
	sought   []gap // those parts of done that a seek jumped over
	dirty    bool  // differs from the index file
}

// gap is a range that somebody jumped over by a seek.
type gap struct {
	obligation.Range
	who string
	at  time.Time
}

// any tells whether one of the offsets is done.
func (c *coverage) any(offsets []int64) bool { return slices.ContainsFunc(offsets, c.done.contains) }

func (li *listener) cover(p int32) *coverage {
	c := li.covers[p]
	if c == nil {
		c = new(coverage)
		li.covers[p] = c
	}
	return c
}

// set takes over a subscription; nil ends it.
func (li *listener) set(sub *obligation.Subscription, types []nameNum) {
	slices.Sort(types)
	li.sub, li.types = sub, slices.Compact(types)
}

// same tells whether two states of one listener demand the same.
func (li *listener) same(o *listener) bool {
	if !li.active() || !o.active() {
		return li.active() == o.active()
	}
	return slices.Equal(li.types, o.types) && equalOffsets(li.sub.Start, o.sub.Start) && equalOffsets(li.sub.Since, o.sub.Since)
}

// equalOffsets compares maps in which an absent key means 0.
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

func (li *listener) active() bool { return li.sub != nil && !li.sub.Retired }

// wants tells whether the listener handles events of the type.
func (li *listener) wants(typ nameNum) bool {
	return len(li.types) == 0 || slices.Contains(li.types, typ)
}

// since gives the offset from which events of the partition hold up their stories.
func (li *listener) since(p int32) int64 {
	if !li.active() {
		return 1<<63 - 1
	}
	return max(li.sub.Start[p], li.sub.Since[p])
}

// holds tells whether an event holds up its story until the listener has done it.
func (li *listener) holds(p int32, offset int64, typ nameNum) bool {
	return li.active() && offset >= li.since(p) && li.wants(typ)
}

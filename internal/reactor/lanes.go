package reactor

import "slices"

// lanes is a queue of items that belong to lanes. It gives out the items of one lane one after the other, in the order
// in which they were added. Lanes are independent of each other and take turns. It is not safe for concurrent use.
//
// Invariants, between calls:
//   - a lane that is in table has at least one item;
//   - only the first item of a lane is ever given out (laneRunning) or waits for its next attempt (laneWaiting), and no
//     other item of its lane is given out meanwhile;
//   - a lane is in runnable if and only if its state is laneRunnable; lanes that drop has emptied may be left in
//     runnable, and next skips them;
//   - queued is the number of items in all lanes, those given out or waiting included.
type lanes[K comparable, T any] struct {
	table    laneTable[K, T]
	runnable []*lane[K, T] // first in, first out; those before index first have been given out
	first    int
	queued   int
	spare    []*lane[K, T] // of no key, and not in runnable; at most maxSpare
}

// maxSpare is the number of lanes that are kept to be used again: most lanes have one item, and are there for a moment.
const maxSpare = 2048

// lane has the items of one key, in order.
type lane[K comparable, T any] struct {
	key   K
	hash  uint64 // of key
	items []T
	room  [1]T // for items, as long as there is one
	state laneState
}

// laneState says whether the first item of a lane may be given out.
type laneState int

const (
	laneRunnable laneState = iota // its first item can be given out
	laneRunning                   // its first item is given out
	laneWaiting                   // its first item waits for its next attempt
)

// newLanes returns an empty queue. hash returns a hash of a key.
func newLanes[K comparable, T any](hash func(K) uint64) *lanes[K, T] {
	return &lanes[K, T]{table: laneTable[K, T]{hash: hash}}
}

// of returns the lane of a key, or nil if there is none.
func (l *lanes[K, T]) of(key K) *lane[K, T] { return l.table.find(key, l.table.hash(key)) }

// add appends an item to the lane of key.
func (l *lanes[K, T]) add(key K, item T) {
	l.queued++
	hash := l.table.hash(key)
	if have := l.table.find(key, hash); have != nil {
		have.items = append(have.items, item)
		return
	}
	ln := l.unused()
	ln.key, ln.hash = key, hash
	ln.items = append(ln.room[:0], item)
	l.table.add(ln)
	l.runnable = append(l.runnable, ln)
}

// unused returns a lane that has no key and no items, and is runnable.
func (l *lanes[K, T]) unused() *lane[K, T] {
	n := len(l.spare)
	if n == 0 {
		return new(lane[K, T])
	}
	ln := l.spare[n-1]
	l.spare = l.spare[:n-1]
	return ln
}

// next gives out the first item of the lane whose turn it is. ok is false if no lane is runnable. The item stays the
// first of its lane until done or wait is called for the lane.
func (l *lanes[K, T]) next() (item T, ok bool) {
	for l.first < len(l.runnable) {
		ln := l.runnable[l.first]
		l.runnable[l.first] = nil
		l.first++
		if l.first == len(l.runnable) {
			l.runnable, l.first = l.runnable[:0], 0
		} else if l.first > 1024 && l.first > len(l.runnable)/2 {
			l.runnable = append(l.runnable[:0], l.runnable[l.first:]...)
			l.first = 0
		}
		if len(ln.items) == 0 { // emptied by drop
			continue
		}
		ln.state = laneRunning
		return ln.items[0], true
	}
	return *new(T), false
}

// done removes the first item of a lane, which must have been given out.
func (l *lanes[K, T]) done(key K) {
	ln := l.of(key)
	ln.items[0] = *new(T)
	ln.items = ln.items[1:]
	l.queued--
	l.free(ln)
	if len(ln.items) == 0 && len(l.spare) < maxSpare { // it was given out, so that runnable does not have it
		*ln = lane[K, T]{}
		l.spare = append(l.spare, ln)
	}
	if l.queued == 0 && len(l.table.slots) > 4*maxSpare { // after a burst
		*l = lanes[K, T]{table: laneTable[K, T]{hash: l.table.hash}}
	}
}

// giveBack makes a lane runnable whose first item was given out.
func (l *lanes[K, T]) giveBack(key K) { l.free(l.of(key)) }

// wait keeps the first item of a lane, which must have been given out, at the head of the lane. The lane gives out
// nothing until resume is called for it.
func (l *lanes[K, T]) wait(key K) { l.of(key).state = laneWaiting }

// resume makes a waiting lane runnable. It does nothing if the lane does not wait or does not exist.
func (l *lanes[K, T]) resume(key K) {
	if ln := l.of(key); ln != nil && ln.state == laneWaiting {
		l.free(ln)
	}
}

// drop removes the items for which goes returns true, except items that are given out. It calls goes once for each
// item that is not given out.
func (l *lanes[K, T]) drop(goes func(T) bool) {
	for _, ln := range slices.Clone(l.table.slots) {
		if ln == nil {
			continue
		}
		kept := ln.items[:0:0]
		headGone := false
		for i, item := range ln.items {
			switch {
			case i == 0 && ln.state == laneRunning, !goes(item):
				kept = append(kept, item)
			case i == 0:
				headGone = true
			}
		}
		if len(kept) == len(ln.items) {
			continue
		}
		l.queued -= len(ln.items) - len(kept)
		ln.items = kept
		switch {
		case len(kept) == 0:
			l.table.remove(ln)
		case headGone && ln.state == laneWaiting:
			l.free(ln)
		}
	}
}

// ready returns the number of lanes whose first item can be given out, and of those that drop has emptied and next has not met yet.
func (l *lanes[K, T]) ready() int { return len(l.runnable) - l.first }

// has reports whether a lane has items, including one that is given out.
func (l *lanes[K, T]) has(key K) bool { return l.of(key) != nil }

// cut removes all items of a lane except the first, and returns them in order.
func (l *lanes[K, T]) cut(key K) []T {
	ln := l.of(key)
	if ln == nil || len(ln.items) < 2 {
		return nil
	}
	rest := ln.items[1:]
	ln.items = []T{ln.items[0]}
	l.queued -= len(rest)
	return rest
}

// free makes a lane runnable, or deletes it if it is empty. Its first item must not be given out any more.
func (l *lanes[K, T]) free(ln *lane[K, T]) {
	if len(ln.items) == 0 {
		l.table.remove(ln)
		return
	}
	ln.state = laneRunnable
	l.runnable = append(l.runnable, ln)
}

package delivery

// Lanes decides which item may run next: items of one lane run one after the other in the order in which they came,
// lanes run side by side. A lane is runnable when it has an item and none of it is running or waiting. Runnable lanes
// take turns. The zero value is not usable; it is not safe for concurrent use.
type Lanes[K comparable, T any] struct {
	lanes    map[K]*lane[K, T]
	runnable []*lane[K, T] // FIFO from first on
	first    int
	queued   int
}

type lane[K comparable, T any] struct {
	key   K
	items []T
	state laneState
}

type laneState int

const (
	laneRunnable laneState = iota
	laneRunning            // its first item was given out
	laneWaiting            // its first item waits to be tried again
)

// NewLanes is without lanes.
func NewLanes[K comparable, T any]() *Lanes[K, T] {
	return &Lanes[K, T]{lanes: make(map[K]*lane[K, T])}
}

// Add queues an item at the end of its lane.
func (l *Lanes[K, T]) Add(key K, item T) {
	l.queued++
	if have := l.lanes[key]; have != nil {
		have.items = append(have.items, item)
		return
	}
	ln := &lane[K, T]{key: key, items: []T{item}}
	l.lanes[key] = ln
	l.runnable = append(l.runnable, ln)
}

// Next gives out the first item of the lane whose turn it is; false when no lane is runnable. The item stays in its
// lane until Done or Wait is called for it.
func (l *Lanes[K, T]) Next() (K, T, bool) {
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
		if len(ln.items) == 0 || l.lanes[ln.key] != ln { // dropped meanwhile
			continue
		}
		ln.state = laneRunning
		return ln.key, ln.items[0], true
	}
	return *new(K), *new(T), false
}

// Runnable is the number of lanes that Next could give an item of, at most.
func (l *Lanes[K, T]) Runnable() int { return len(l.runnable) - l.first }

// Queued is the number of items, those running or waiting included.
func (l *Lanes[K, T]) Queued() int { return l.queued }

// Done removes the item of the lane that was given out.
func (l *Lanes[K, T]) Done(key K) {
	ln := l.lanes[key]
	ln.items[0] = *new(T)
	ln.items = ln.items[1:]
	l.queued--
	l.settle(ln)
}

// Wait keeps the item that was given out at the head of its lane, and the lane from running until Resume.
func (l *Lanes[K, T]) Wait(key K) { l.lanes[key].state = laneWaiting }

// Resume makes a lane that waits runnable; one that does not wait, or is gone, stays as it is.
func (l *Lanes[K, T]) Resume(key K) {
	if ln := l.lanes[key]; ln != nil && ln.state == laneWaiting {
		l.settle(ln)
	}
}

// Drop removes all items that are to go, except those that are given out now.
func (l *Lanes[K, T]) Drop(goes func(T) bool) {
	for _, ln := range l.lanes {
		kept := ln.items[:0:0]
		for i, item := range ln.items {
			if i == 0 && ln.state == laneRunning || !goes(item) {
				kept = append(kept, item)
			}
		}
		if len(kept) == len(ln.items) {
			continue
		}
		headGone := ln.state == laneWaiting && (len(kept) == 0 || goes(ln.items[0]))
		l.queued -= len(ln.items) - len(kept)
		ln.items = kept
		switch {
		case len(kept) == 0:
			delete(l.lanes, ln.key)
		case headGone:
			l.settle(ln)
		}
	}
}

// settle puts a lane whose head is free where it belongs.
func (l *Lanes[K, T]) settle(ln *lane[K, T]) {
	if len(ln.items) == 0 {
		delete(l.lanes, ln.key)
		return
	}
	ln.state = laneRunnable
	l.runnable = append(l.runnable, ln)
}

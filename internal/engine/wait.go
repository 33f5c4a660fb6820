package engine

import "sync"

// poll is one fetch that waits. It stands in the list of each partition that it asked for; an append to one of them
// wakes it, and nothing else does: no scan, no tick.
type poll struct {
	woken chan struct{} // holds one: several appends before the fetch runs wake it once
	nodes []waitNode
}

// waitNode is a poll's place in one partition's list.
type waitNode struct {
	poll       *poll
	prev, next *waitNode
}

// newPoll returns a poll with room for n partitions. The pool is the engine's own: channels may not cross the bubbles of
// testing/synctest.
func (e *Engine) newPoll(n int) *poll {
	p, ok := e.polls.Get().(*poll)
	if !ok {
		p = &poll{woken: make(chan struct{}, 1)}
	}
	if cap(p.nodes) < n {
		p.nodes = make([]waitNode, n)
	}
	p.nodes = p.nodes[:n]
	return p
}

// releasePoll takes a poll back; it must stand in no list.
func (e *Engine) releasePoll(p *poll) {
	clear(p.nodes)
	select {
	case <-p.woken:
	default:
	}
	e.polls.Put(p)
}

// waiters is the list of polls that wait on one partition. The zero value is empty.
type waiters struct {
	mu   sync.Mutex
	head *waitNode
}

func (w *waiters) add(n *waitNode, p *poll) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n.poll, n.prev, n.next = p, nil, w.head
	if w.head != nil {
		w.head.prev = n
	}
	w.head = n
}

func (w *waiters) remove(n *waitNode) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n.prev != nil {
		n.prev.next = n.next
	} else {
		w.head = n.next
	}
	if n.next != nil {
		n.next.prev = n.prev
	}
	*n = waitNode{}
}

// wake wakes every poll in the list. It does not block.
func (w *waiters) wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for n := w.head; n != nil; n = n.next {
		select {
		case n.poll.woken <- struct{}{}:
		default:
		}
	}
}

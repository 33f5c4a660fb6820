package engine

import "sync"

// poll is a fetch that waits for records. It is in the list of waiters of each partition that it asked for. An append
// to one of these partitions wakes it.
type poll struct {
	woken chan struct{} // has space for one value, so that several appends wake the fetch once
	// nodes are the poll's entries in the lists of waiters, one for each partition.
	nodes []waitNode
}

// waitNode is a poll's entry in the list of waiters of one partition. The mu of that list guards it.
type waitNode struct {
	poll       *poll
	prev, next *waitNode
}

// newPoll returns a poll for n partitions, from the engine's pool if possible. Each engine has its own pool, since a
// channel must not be used in more than one bubble of testing/synctest.
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

// releasePoll returns a poll to the pool. The poll must be in no list of waiters any more.
func (e *Engine) releasePoll(p *poll) {
	clear(p.nodes)
	select {
	case <-p.woken:
	default:
	}
	e.polls.Put(p)
}

// waiters is the list of polls that wait for one partition. The zero value is empty.
type waiters struct {
	mu   sync.Mutex // guards the list and its nodes
	head *waitNode
}

// add puts the entry n of the poll p into the list. n must be in no list.
func (w *waiters) add(n *waitNode, p *poll) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n.poll, n.prev, n.next = p, nil, w.head
	if w.head != nil {
		w.head.prev = n
	}
	w.head = n
}

// remove takes the entry n out of the list, in which it must be, and clears it.
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

// wake wakes every poll in the list. It does not block. The committing goroutine calls it after a commit group.
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

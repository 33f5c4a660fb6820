package reactor

import "sync"

// acknowledged has the attempts that have succeeded, and whose emissions have become durable, until the scheduler is told. Many
// emissions become durable at once; telling them together takes the reactor's lock once. The zero value is ready for use.
type acknowledged struct {
	mu      sync.Mutex
	handled []handled
	spare   []handled // empty, to be used next
	telling bool      // a goroutine tells the scheduler
}

// add has the scheduler of r told of an attempt. It does not block.
func (a *acknowledged) add(r *Reactor, h handled) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.handled = append(a.handled, h)
	if !a.telling {
		a.telling = true
		go a.tell(r)
	}
}

// take returns what was added since it was called last. If there is nothing, ok is false, and the next add starts another
// goroutine. last is what it returned before, which is used again.
func (a *acknowledged) take(last []handled) (handled []handled, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if cap(last) > cap(a.spare) && cap(last) <= maxSpareItems {
		a.spare = last
	}
	if len(a.handled) == 0 {
		a.telling = false
		return nil, false
	}
	handled, a.handled, a.spare = a.handled, a.spare, nil
	return handled, true
}

// tell passes the attempts that were added to the scheduler of r, and returns when there are none left.
func (a *acknowledged) tell(r *Reactor) {
	var last []handled
	for {
		handled, ok := a.take(last)
		if !ok {
			return
		}
		r.step(&ended{handled: handled})
		clear(handled)
		last = handled[:0]
	}
}

package kafka

import (
	"math"
	"math/rand/v2"
	"sync"
	"time"
)

// fetchSessions has the fetch sessions of all connections, at most one for each, and bounds their number and their
// memory. A session is there from begin until the connection calls end, or until another session takes its place.
// Callers pass the time. A fetchSessions is safe for concurrent use.
type fetchSessions struct {
	maxSessions int
	maxBytes    int

	mu    sync.Mutex // guards the fields below
	all   map[*conn]*sessionPlace
	bytes int // sum of the places' bytes
}

// sessionPlace is a session in fetchSessions, which does not look into it.
type sessionPlace struct {
	session *fetchSession
	began   time.Time
	used    time.Time // when the last request of the session came
	bytes   int       // the session's bytes at begin or at the last resize
}

// minSessionEviction is how long a session must not have been used before any other may take its place, and how long
// after its begin a larger one may; Apache Kafka's min.incremental.fetch.session.cache.eviction.ms.
const minSessionEviction = 2 * time.Minute

func newFetchSessions(maxSessions, maxBytes int) *fetchSessions {
	return &fetchSessions{maxSessions: maxSessions, maxBytes: maxBytes, all: map[*conn]*sessionPlace{}}
}

// newSessionID returns a random id, so that a client does not take the session of a new connection for its last one.
func newSessionID() int32 { return rand.Int32N(math.MaxInt32) + 1 }

// begin ends the session that the connection c has, gives it s instead, and reports whether there was a place for s. c
// must call end before it ends.
func (f *fetchSessions) begin(c *conn, s *fetchSession, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.remove(c)
	if s.bytes > f.maxBytes {
		return false
	}
	for len(f.all) >= f.maxSessions {
		victim := f.idle(now)
		if victim == nil {
			victim = f.smaller(s.bytes, now)
		}
		if victim == nil {
			return false
		}
		f.remove(victim)
	}
	if !f.makeRoom(s.bytes, now) {
		return false
	}
	f.all[c] = &sessionPlace{session: s, began: now, used: now, bytes: s.bytes}
	f.bytes += s.bytes
	return true
}

// use returns the session of the connection c if it has this id, or nil. Nobody takes its place within
// minSessionEviction, unless it began before.
func (f *fetchSessions) use(c *conn, id int32, now time.Time) *fetchSession {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.all[c]
	if p == nil || p.session.id != id {
		return nil
	}
	p.used = now
	return p.session
}

// resize counts the memory of the session of c anew, and reports whether there is room for it. If there is none, the
// session has ended.
func (f *fetchSessions) resize(c *conn, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.all[c]
	if p == nil { // another session took its place meanwhile
		return false
	}
	more := p.session.bytes - p.bytes
	if more > 0 && !f.makeRoom(more, now) {
		f.remove(c)
		return false
	}
	p.bytes += more
	f.bytes += more
	return true
}

// end ends the session of the connection c, if it has one.
func (f *fetchSessions) end(c *conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.remove(c)
}

// makeRoom ends idle sessions until there is room for bytes more, and reports whether there is. f.mu must be held.
func (f *fetchSessions) makeRoom(bytes int, now time.Time) bool {
	for f.bytes+bytes > f.maxBytes {
		victim := f.idle(now)
		if victim == nil {
			return false
		}
		f.remove(victim)
	}
	return true
}

// idle returns the connection whose session was not used for the longest time, if that is longer than
// minSessionEviction, else nil. f.mu must be held.
func (f *fetchSessions) idle(now time.Time) (victim *conn) {
	oldest := now.Add(-minSessionEviction)
	for c, p := range f.all {
		if p.used.Before(oldest) {
			victim, oldest = c, p.used
		}
	}
	return victim
}

// smaller returns the connection whose session has the least memory of those that began longer than minSessionEviction
// ago and have less than bytes, or nil. f.mu must be held.
func (f *fetchSessions) smaller(bytes int, now time.Time) (victim *conn) {
	for c, p := range f.all {
		if p.bytes < bytes && now.Sub(p.began) > minSessionEviction {
			victim, bytes = c, p.bytes
		}
	}
	return victim
}

// remove ends the session of c, if it has one. f.mu must be held.
func (f *fetchSessions) remove(c *conn) {
	if p := f.all[c]; p != nil {
		delete(f.all, c)
		f.bytes -= p.bytes
	}
}

// inUse returns the number of sessions, and about their memory in bytes.
func (f *fetchSessions) inUse() (sessions, bytes int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.all), f.bytes
}

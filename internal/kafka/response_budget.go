package kafka

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"
)

// errUnread is the reason for which a connection ends whose client does not read its responses while others wait for the
// memory that they take.
var errUnread = errors.New("kafka: the client did not read its responses, and others waited for their memory")

const (
	// A connection may be closed with errUnread when its client has read less than unreadStepBytes of a response for
	// unreadAfter.
	unreadAfter     = time.Second
	unreadStepBytes = 256 << 10
	// leastTakenBytes may be taken for records as long as any bytes are free: at least one batch is read, which may be larger
	// than what is free.
	leastTakenBytes = 256 << 10
	// relieveInterval is the least time between two searches for such connections.
	relieveInterval = 100 * time.Millisecond
)

// responseBudget bounds the bytes of responses that are in memory and not yet written, over all connections of a server.
// Together with what others says it has maxBytes, but minBytes in any case, so that clients are served whatever requests
// and groups take.
//
// Before a large response is made, its handler waits for room by awaitRoom, and records are read only for the bytes that
// Take gives. What is known to be small, or is made already, is added in any case. When the budget is used up, the connections
// whose clients have not read for the longest time are closed. A responseBudget is safe for concurrent use.
type responseBudget struct {
	maxBytes, minBytes int64
	others             func() int64          // bytes that share maxBytes with the responses
	closeUnread        func(overBytes int64) // closes connections that hold about that many bytes together

	used    atomic.Int64
	relieve atomic.Int64 // when closeUnread may be called again, in nanoseconds since the Unix epoch
}

// inUse returns the number of bytes in use.
func (b *responseBudget) inUse() int64 { return b.used.Load() }

// left returns how many bytes are free, given how many are used. It is negative if there are too many.
func (b *responseBudget) left(used int64) int64 { return max(b.minBytes, b.maxBytes-b.others()) - used }

// hasRoom reports whether a byte is free.
func (b *responseBudget) hasRoom() bool {
	used := b.used.Load()
	return used < b.minBytes || b.left(used) > 0
}

// add adds bytes that are in memory already.
func (b *responseBudget) add(bytes int) {
	if used := b.used.Add(int64(bytes)); used > b.minBytes && b.left(used) < 0 {
		b.closeSome()
	}
}

// remove takes back bytes that were added or taken.
func (b *responseBudget) remove(bytes int) { b.used.Add(-int64(bytes)) }

// Take takes up to wantBytes for records that are about to be read, and returns how many: at most a quarter of the bytes
// that are free or leastTakenBytes, so that a few slow clients leave room for the others. It is 0 if none are free. Take implements
// engine.ReadBudget.
func (b *responseBudget) Take(wantBytes int) int {
	for {
		used, n := b.used.Load(), int64(wantBytes)
		if used+4*n > b.minBytes {
			left := b.left(used)
			if left <= 0 {
				b.closeSome()
				return 0
			}
			n = min(n, max(left/4, leastTakenBytes))
		}
		if b.used.CompareAndSwap(used, used+n) {
			return int(n)
		}
	}
}

// Return corrects what Take has taken, when the number of bytes that were read is known: it takes back unused bytes or, if
// unused is negative, adds as many. It implements engine.ReadBudget.
func (b *responseBudget) Return(unused int) { b.add(-unused) }

// awaitRoom blocks until a byte is free or ctx is done, and returns ctx's error in the latter case.
func (b *responseBudget) awaitRoom(ctx context.Context) error {
	if b.hasRoom() {
		return nil
	}
	look := time.NewTicker(relieveInterval / 2)
	defer look.Stop()
	for !b.hasRoom() {
		b.closeSome()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-look.C:
		}
	}
	return nil
}

// awaitRoomWithin blocks until a byte is free, ctx is done or wait is over, and returns the rest of wait.
func (b *responseBudget) awaitRoomWithin(ctx context.Context, wait time.Duration) time.Duration {
	if b.hasRoom() {
		return wait
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	_ = b.awaitRoom(ctx) // the caller goes on without room, too
	return max(wait-time.Since(began), 0)
}

// closeSome closes connections of clients that do not read, on another goroutine, unless that was done just now. They are as
// many as it takes for an eighth of maxBytes to be free, so that many can go on who wait.
func (b *responseBudget) closeSome() {
	now, due := time.Now().UnixNano(), b.relieve.Load()
	if now < due || !b.relieve.CompareAndSwap(due, now+int64(relieveInterval)) {
		return
	}
	go func() { b.closeUnread(b.maxBytes/8 - b.left(b.used.Load())) }()
}

// closeUnread closes connections whose clients have not read for unreadAfter, those that have not for the longest time
// first, until they hold overBytes together. It does not wait until they have ended.
func (s *Server) closeUnread(overBytes int64) {
	type unread struct {
		conn  *conn
		since int64
	}
	var all []unread
	before := time.Now().Add(-unreadAfter).UnixNano()
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if since := c.responses.blockedSince.Load(); since != 0 && since < before {
			all = append(all, unread{c, since})
		}
	}
	slices.SortFunc(all, func(a, b unread) int { return int(a.since - b.since) })
	// Those that hold less are left alone, as they hold less than a quarter of overBytes together. What is sent from a file
	// holds next to nothing.
	leastBytes := overBytes / int64(4*max(len(all), 1))
	for _, u := range all {
		if overBytes <= 0 {
			return
		}
		if held := u.conn.responses.heldBytes.Load(); held > leastBytes {
			overBytes -= held
			u.conn.stop(errUnread)
		}
	}
}

// turn is the permission to make one large response. A server has few turns, so that clients who ask for large responses leave processor
// time to those who append and read. The response is encoded in scratch, and then copied, so that what waits for a slow client is
// not larger than it must be.
type turn struct{ scratch []byte }

// maxScratchBytes is the capacity up to which a turn keeps its scratch.
const maxScratchBytes = 1 << 20

// takeTurn blocks until there is a turn and room for a response, or ctx is done. It returns nil in the latter case. Those who
// wait get a turn in the order in which they came. The caller must give the turn back by giveTurn.
func (s *Server) takeTurn(ctx context.Context) *turn {
	select {
	case t := <-s.turns:
		if s.responseBytes.awaitRoom(ctx) == nil {
			return t
		}
		s.giveTurn(t)
	case <-ctx.Done():
	}
	return nil
}

// giveTurn makes a turn free for the next caller of takeTurn. The caller must not use it afterwards.
func (s *Server) giveTurn(t *turn) {
	if cap(t.scratch) > maxScratchBytes {
		t.scratch = nil
	}
	s.turns <- t
}

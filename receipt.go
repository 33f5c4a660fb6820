package tidings

import (
	"context"
	"time"
)

// Receipt tells of an event that was emitted. The zero Receipt stands for none.
type Receipt struct {
	ID          string
	Correlation string
	Topic       string
	Partition   int32 // -1 inside a handler: not sent yet
	Offset      int64 // -1 inside a handler: not sent yet

	app     *App
	emitted time.Time
}

// Settled blocks until everything that follows from the event has happened: every reaction that listened has handled
// it, and what they emitted, and so on. It waits for the fact story.settled, which a running indexer emits (`tidings
// serve`, `tidings demo`, or package story in a program); without one it waits until ctx is done. It may be called late:
// a story that has settled before is found. Errors are ErrNotEmitted, ErrClosed, ErrUnreachable or ctx's.
func (r Receipt) Settled(ctx context.Context) error {
	if r.app == nil || r.Offset < 0 {
		return ErrNotEmitted
	}
	return r.app.awaitSettled(ctx, r)
}

package tidings

import (
	"context"
	"time"

	"tidings.dev/internal/settled"
)

// Receipt identifies an event that was emitted. The zero Receipt stands for no event.
type Receipt struct {
	ID          string
	Correlation string
	Topic       string
	Partition   int32 // -1 if the event was emitted inside a handler, so that it is not sent yet
	Offset      int64 // -1 if Partition is

	app     *App
	topicID [16]byte  // the id of Topic; zero if it is not known
	emitted time.Time // when the emission began
	losses  int       // how often the log had lost something when it acknowledged the event
}

// Settled blocks until everything that follows from the event has happened: every reaction that listened has handled
// it, every reaction that listened has handled the events emitted thereby, and so on. Settled learns this from an
// indexer. One runs with embedded.File and embedded.Memory and in `tidings serve`, and a program can run one with
// package story. If no indexer runs, the error matches [ErrNoIndexer], after one second, or after ten if an
// indexer was started with the log or has been seen before.
//
// Settled may be called long after the emission: if the story has settled already, it returns as soon as the indexer
// has answered. If an indexer has noticed since that the story was reopened, by another event, Settled waits until it
// has settled again. If the log has lost the event since, the error matches [ErrEventLost]. Other errors match
// [ErrNotEmitted], [ErrClosed], [ErrUnreachable] or ctx's error.
func (r Receipt) Settled(ctx context.Context) error {
	if r.app == nil || r.Offset < 0 {
		return ErrNotEmitted
	}
	return r.app.settled.Await(ctx, settled.Event{
		Correlation: r.Correlation, Topic: r.Topic, TopicID: r.topicID, Partition: r.Partition, Offset: r.Offset, Emitted: r.emitted, Losses: r.losses,
	})
}

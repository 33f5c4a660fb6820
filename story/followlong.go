package story

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"tidings.dev"
)

// Times after which Follow opens an indexer again that has failed. Only tests change them.
var (
	followPause    = time.Second // the first time, and when it has run for followMaxPause
	followMaxPause = 30 * time.Second
)

// Follow runs an indexer with the index file at path until ctx is done. When the indexer fails, as on a full disk, Follow
// logs the reason, closes the indexer and opens it again after a while: after a second at first, and after half a minute
// at most. It is for programs in which the stories are to be followed but are not the main thing, such as a broker. conn,
// path and o are as for [Open].
func Follow(ctx context.Context, conn tidings.Connection, path string, o Options) {
	log := o.Logger
	if log == nil {
		log = slog.Default()
	}
	for pause := followPause; ; pause = min(2*pause, followMaxPause) {
		began := time.Now()
		err := followOnce(ctx, conn, path, o)
		if ctx.Err() != nil {
			if err != nil {
				log.Warn("the story's index was not closed properly", "path", path, "err", err)
			}
			return
		}
		if time.Since(began) > followMaxPause {
			pause = followPause
		}
		log.Error("stories are not followed for now", "path", path, "err", err, "retry_in", pause)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// followOnce runs an indexer until ctx is done or it fails.
func followOnce(ctx context.Context, conn tidings.Connection, path string, o Options) error {
	x, err := Open(ctx, conn, path, o)
	switch {
	case errors.Is(err, context.Canceled) && ctx.Err() != nil: // while it was opened
		return nil
	case err != nil:
		return err
	}
	return errors.Join(x.Run(ctx), x.Close())
}

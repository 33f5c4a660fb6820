package stories

import (
	"context"
	"os"
	"path/filepath"

	"tidings.dev/internal/bench"
	"tidings.dev/story"
)

// maxInFlight is the number of orders that services have not done with while a log is filled.
const maxInFlight = 5000

// Fill has the services of the shop work until there are so many orders, all of which have settled. The topics of the
// shop must exist and be empty. dir is a directory for an index that is removed again. p may be nil.
func (s Shop) Fill(ctx context.Context, e bench.Endpoint, orders int, dir string, p *bench.Progress) (err error) {
	path := filepath.Join(dir, s.Name+".db")
	defer os.Remove(path)
	return withIndexer(ctx, e, path, true, s.Log, func(ctx context.Context, x *story.Indexer) error {
		err := s.run(ctx, e, orders, func(ctx context.Context, w *working) error {
			p.Counts(w.handled.Load)
			return w.place(ctx, orders, maxInFlight)
		})
		if err != nil {
			return err
		}
		return x.WaitSettled(ctx)
	})
}

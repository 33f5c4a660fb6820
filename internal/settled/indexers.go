package settled

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"tidings.dev/internal/logclient"
	"tidings.dev/internal/obligation"
)

// ErrNoIndexer is matched by the error of Await when no indexer runs that emits the facts which end waits.
var ErrNoIndexer = errors.New("no indexer runs, so that no story settles: run `tidings serve`, use embedded.File or embedded.Memory, " +
	"or run story.Open with Options.Emit (one of an earlier version is not noticed: update it)")

const (
	lookEvery    = time.Second            // for so long a member that was seen is taken to be there
	lookAgain    = 250 * time.Millisecond // pause between two looks at the group while it has no members
	startsWithin = time.Second            // for so long an indexer that was never seen may still be starting
	backWithin   = 10 * time.Second       // for so long an indexer that was seen before may be restarting
)

// indexers finds out whether the group of indexers has members. Its methods are safe for concurrent use.
type indexers struct {
	lc *logclient.Client

	mu      sync.Mutex // protects the fields below, and is held during a look at the group
	looked  time.Time
	seen    bool      // a member was seen at some time, or an indexer was started with the log
	missing time.Time // since when no member was seen; zero if there is one, or before the first look
}

// check looks at the group, unless it did so shortly before. It returns ErrNoIndexer if there has been no member for
// so long that none is about to appear. If the look fails, the group is taken to be as it was.
func (x *indexers) check(ctx context.Context) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	again := lookEvery
	if !x.missing.IsZero() {
		again = lookAgain
	}
	if time.Since(x.looked) >= again {
		x.look(ctx)
	}
	patience := startsWithin
	if x.seen {
		patience = backWithin
	}
	if !x.missing.IsZero() && time.Since(x.missing) >= patience {
		return ErrNoIndexer
	}
	return nil
}

// look asks the log for the members of the group. x.mu must be held.
func (x *indexers) look(ctx context.Context) {
	groups, err := kadm.NewClient(x.lc.Client()).DescribeGroups(ctx, obligation.IndexersGroup)
	group, ok := groups[obligation.IndexersGroup]
	if err != nil || !ok || group.Err != nil && !errors.Is(group.Err, kerr.GroupIDNotFound) {
		return
	}
	x.looked = time.Now()
	switch {
	case len(group.Members) > 0:
		x.seen, x.missing = true, time.Time{}
	case x.missing.IsZero():
		x.missing = time.Now()
	}
}

// absent reports whether the last look at the group has found no member.
func (x *indexers) absent() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return !x.missing.IsZero()
}

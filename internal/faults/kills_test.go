package faults

import (
	"context"
	"flag"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

var (
	killSeed  = flag.Uint64("kills.seed", 0, "seed of TestKills; 0: a new one each time")
	killCount = flag.Int("kills.count", 12, "how many times TestKills kills the broker")
)

// calmEvery is the number of kills between two runs of calm.
const calmEvery = 20

// Case: a broker under load is killed, half of the time at any moment and half at one of the hooks, its start included,
// and started again on what it left. What it has acknowledged stays true, and what idempotent producers send is stored once
// and in order.
func TestKills(t *testing.T) {
	seed := *killSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	defer func() {
		if t.Failed() {
			t.Logf("replay (the schedules of processes differ): go test ./internal/faults -run TestKills -kills.count=%d -kills.seed=%d", *killCount, seed)
		}
	}()
	rng := rand.New(rand.NewPCG(seed, 1))
	dir := t.TempDir()
	w := newWorld(t, seed)
	first := startChild(t, w.listen, childOptions{Dir: dir})
	awaitReady(t, first)
	w.begin()
	admin := kadm.NewClient(w.client())

	hits, lives, audits := map[string]int{}, 0, 0
	current := first
	for deaths := 0; deaths < *killCount && !t.Failed(); {
		ctx, cancel := context.WithTimeout(w.ctx, patience)
		go func(c *child) {
			select {
			case <-c.ended:
				cancel()
			case <-ctx.Done():
			}
		}(current)
		broken, err := w.auditWhile(ctx)
		if ctx.Err() == context.DeadlineExceeded {
			t.Errorf("I8: no audit within %v, %v: %v", patience, current.options, err)
		}
		if err == nil {
			audits++
		}
		complain(t, current, broken)
		limit := time.Duration(rng.IntN(80)) * time.Millisecond
		if current.options.Hook != "" {
			limit = 300 * time.Millisecond
		}
		select {
		case <-current.ended:
		case <-time.After(limit):
		}
		cancel()
		if self := current.kill(); self {
			if what := current.fault(); what != "" {
				t.Errorf("I9: %v: %s", current.options, what)
			}
			hits[string(current.options.When)+" "+current.options.Hook]++
		}
		deaths++
		if deaths%calmEvery == 0 || deaths == *killCount {
			w.calm(dir, admin, deaths == *killCount)
		}
		if deaths < *killCount {
			current = startChild(t, w.listen, nextChildOptions(rng, dir))
			select { // it may die on its way up
			case <-current.ready:
			case <-current.ended:
			case <-time.After(patience):
				t.Errorf("I8/I9: the broker does not come up, %v:\n%s", current.options, current.stderr.String())
			}
			lives++
		}
	}
	var missed []string
	points := 0
	for _, h := range hooks {
		n := 0
		for _, when := range h.killPoints() {
			n += hits[string(when)+" "+h.name]
		}
		if points += len(h.killPoints()); n == 0 {
			missed = append(missed, h.name)
		}
	}
	t.Logf("%d deaths, %d at hooks (%d of %d points), %d promises, %d audits between", *killCount, sum(hits), len(hits),
		points, w.book.count(), audits)
	if *killCount >= 500 && len(missed) > 0 {
		t.Errorf("never died at %s: the hooks have lost their code", strings.Join(missed, ", "))
	}
	if w.book.count() < *killCount {
		t.Errorf("only %d promises in %d lives: the load does not flow", w.book.count(), lives)
	}
}

// auditWhile is audit, but returns when ctx is done: a client that has just dialled a broker that then died, whose listener
// the test keeps open, may wait for ten seconds more.
func (w *world) auditWhile(ctx context.Context) (broken []string, err error) {
	audited := make(chan struct{})
	var found []string
	var failed error
	go func() {
		defer close(audited)
		found, failed = w.audit(ctx, false)
	}()
	select {
	case <-audited:
		return found, failed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// nextChildOptions draws how the next broker dies.
func nextChildOptions(rng *rand.Rand, dir string) childOptions {
	o := childOptions{Dir: dir}
	if rng.IntN(2) == 0 {
		return o
	}
	h := hooks[rng.IntN(len(hooks))]
	when := h.killPoints()
	o.Hook, o.When, o.Nth = h.name, when[rng.IntN(len(when))], 1+rng.Int64N(3)
	if h.often {
		o.Nth = 1 + rng.Int64N(60)
	}
	return o
}

// calm runs a broker that is not killed: every client gets its answers, everything is audited, there is a new topic, and the
// broker closes cleanly.
func (w *world) calm(dir string, admin *kadm.Client, last bool) {
	c := startChild(w.t, w.listen, childOptions{Dir: dir})
	awaitReady(w.t, c)
	if !w.settle() {
		w.t.Errorf("I8: %d records of idempotent producers got no answer within %v\n%s", w.flowing.Load(), patience, c.stderr.String())
	}
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	broken, err := w.audit(ctx, true)
	if err != nil {
		w.t.Errorf("I8: the audit: %v\n%s", err, c.stderr.String())
	}
	complain(w.t, c, broken)
	if last {
		w.end()
	} else {
		w.nextTopic(admin)
	}
	if err := c.close(); err != nil {
		w.t.Errorf("a close in good order: %v", err)
	}
}

func awaitReady(t testing.TB, c *child) {
	t.Helper()
	select {
	case <-c.ready:
	case <-c.ended:
		t.Fatalf("I9: the broker does not start: %v\n%s", c.err, c.stderr.String())
	case <-time.After(patience):
		c.cmd.Process.Signal(os.Interrupt)
		t.Fatalf("I8: the broker is not ready within %v\n%s", patience, c.stderr.String())
	}
}

func complain(t testing.TB, c *child, broken []string) {
	t.Helper()
	for i, what := range broken {
		if i == 10 {
			t.Errorf("and %d more", len(broken)-i)
			return
		}
		t.Errorf("%v: %s", c.options, what)
	}
}

func sum(hits map[string]int) (n int) {
	for _, k := range hits {
		n += k
	}
	return n
}

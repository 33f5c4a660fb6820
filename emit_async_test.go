package tidings_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tidings.dev"
)

// Many events are on their way at a time. Those of one subject are in the log in the order of the calls, each once, and the
// receipts say where; Close waits for what is on its way.
func TestEventsOnTheirWayKeepTheirOrder(t *testing.T) {
	where := keep(t)
	app := open(t, "shop", where)
	ctx := app.Context(t.Context())
	const events, subjects = 5000, 7
	receipts := make(chan tidings.Receipt, events)
	for i := range events {
		placed.EmitAsync(ctx, order{ID: fmt.Sprint(i % subjects), Seq: i}, func(r tidings.Receipt, err error) {
			if err != nil {
				t.Errorf("event %d: %v", i, err)
			}
			receipts <- r
		}, tidings.ID(fmt.Sprint(i)))
	}
	if err := app.Close(); err != nil {
		t.Fatal(err)
	}
	if len(receipts) != events {
		t.Fatalf("%d of %d were answered when Close has returned", len(receipts), events)
	}
	close(receipts)
	at := map[string]string{}
	for r := range receipts {
		at[fmt.Sprint(r.Partition, "@", r.Offset)] = r.ID
	}
	next := map[string]int{}
	records := dump(t, where, "orders")
	for _, r := range records {
		var o order
		if err := json.Unmarshal(r.Value, &o); err != nil {
			t.Fatal(err)
		}
		if before, ok := next[o.ID]; ok && o.Seq != before {
			t.Fatalf("order %s: event %d, want %d", o.ID, o.Seq, before)
		}
		next[o.ID] = o.Seq + subjects
		if id, subject := header(r, "ce_id"), header(r, "ce_subject"); id != fmt.Sprint(o.Seq) || subject != "order/"+o.ID || string(r.Key) != subject {
			t.Fatalf("event %d has the headers of %q, about %q, and the key %q", o.Seq, id, subject, r.Key)
		}
		if id := at[fmt.Sprint(r.Partition, "@", r.Offset)]; id != fmt.Sprint(o.Seq) {
			t.Fatalf("event %d is where the receipt of %q says that it is", o.Seq, id)
		}
	}
	if len(records) != events {
		t.Errorf("%d records", len(records))
	}
}

// mumbled encodes as something that is no UTF-8.
type mumbled struct{}

func (mumbled) MarshalJSON() ([]byte, error) { return []byte("{\"name\":\"caf\xe9\"}"), nil }

// What is refused at once is so before EmitAsync returns, with the errors of Emit, and nothing of it is in the log.
func TestEventsThatAreRefusedAtOnce(t *testing.T) {
	where := keep(t)
	app := open(t, "shop", where)
	ctx := app.Context(t.Context())
	broken := tidings.Define[func()]("shop.order.broken", tidings.In("orders"))
	mumble := tidings.Define[mumbled]("shop.order.mumbled", tidings.In("orders"))
	for name, c := range map[string]struct {
		emit func(done func(tidings.Receipt, error))
		is   func(error) bool
	}{
		"no app": {func(done func(tidings.Receipt, error)) { placed.EmitAsync(t.Context(), order{}, done) },
			func(err error) bool { return errors.Is(err, tidings.ErrNoApp) }},
		"does not encode": {func(done func(tidings.Receipt, error)) { broken.EmitAsync(ctx, func() {}, done) },
			func(err error) bool { return strings.Contains(err.Error(), "does not encode") }},
		"too large": {func(done func(tidings.Receipt, error)) { filed.EmitAsync(ctx, strings.Repeat("x", 2<<20), done) },
			func(err error) bool { _, ok := errors.AsType[*tidings.TooLargeError](err); return ok }},
		"no UTF-8": {func(done func(tidings.Receipt, error)) { mumble.EmitAsync(ctx, mumbled{}, done) },
			func(err error) bool { return strings.Contains(err.Error(), "not valid UTF-8 at byte 12 of 15") }},
		"a bad id": {func(done func(tidings.Receipt, error)) { placed.EmitAsync(ctx, order{}, done, tidings.ID("\xff")) },
			func(err error) bool { return strings.Contains(err.Error(), "UTF-8") }},
		"ctx is done": {func(done func(tidings.Receipt, error)) {
			over, cancel := context.WithCancel(ctx)
			cancel()
			captured.EmitAsync(over, order{}, done)
		}, func(err error) bool { return errors.Is(err, context.Canceled) }},
	} {
		var calls int
		var got error
		c.emit(func(_ tidings.Receipt, err error) { calls++; got = err })
		if calls != 1 || got == nil || !c.is(got) {
			t.Errorf("%s: done was called %d times: %v", name, calls, got)
		}
	}
	placed.EmitAsync(t.Context(), order{}, nil) // nobody needs to know
	if n := len(dump(t, where, "orders")); n != 0 {
		t.Errorf("%d records", n)
	}
}

// Inside a handler, an event is kept until the handler has returned, as with Emit.
func TestEmitAsyncInAHandler(t *testing.T) {
	where := keep(t)
	app := open(t, "shop", where)
	var attempts atomic.Int32
	tidings.React(app, placed, func(ctx context.Context, e tidings.Event[order]) error {
		var got tidings.Receipt
		captured.EmitAsync(ctx, e.Data, func(r tidings.Receipt, err error) {
			if got = r; err != nil {
				t.Error(err)
			}
		})
		if got.ID == "" || got.Offset != -1 {
			t.Errorf("%+v", got)
		}
		if attempts.Add(1) == 1 {
			return errors.New("the first run fails")
		}
		return nil
	}, tidings.Retry(tidings.Backoff(time.Millisecond, time.Millisecond)))
	run := start(t, app)
	run.emit(placed, order{ID: "1"})
	eventually(t, "it is handled", func() bool { return run.Stats()["shop"].Handled == 1 })
	if n := len(dump(t, where, "orders")); n != 2 {
		t.Errorf("%d records, want the cause and one that followed", n)
	}
}

// The log is away. EmitAsync blocks for no longer than EmitTimeout, and done gets what Emit would return; what was on its way
// when the connection broke ends, too.
func TestEmitAsyncInAnOutageEnds(t *testing.T) {
	where := keep(t)
	network := &faulty{Connection: where}
	app := open(t, "shop", network, tidings.EmitTimeout(time.Second))
	ctx := app.Context(t.Context())
	if _, err := placed.Emit(ctx, order{ID: "1"}); err != nil {
		t.Fatal(err)
	}
	network.down.Store(true)
	const events = 3
	answers := make(chan error, events)
	for range events {
		placed.EmitAsync(ctx, order{ID: "1"}, func(_ tidings.Receipt, err error) { answers <- err })
	}
	for range events {
		outage(t, <-answers)
	}
}

// The answers of the log stop for about EmitTimeout, again and again. What one goroutine emits of one subject is in the log in
// the order of the calls, as far as it is acknowledged, and what is said not to be in the log is not there.
func TestEventsKeepTheirOrderThroughOutages(t *testing.T) {
	const timeout, rounds = 400 * time.Millisecond, 6
	for name, emit := range map[string]func(context.Context, order, func(tidings.Receipt, error)){
		"EmitAsync": func(ctx context.Context, o order, done func(tidings.Receipt, error)) { placed.EmitAsync(ctx, o, done) },
		"Emit":      func(ctx context.Context, o order, done func(tidings.Receipt, error)) { done(placed.Emit(ctx, o)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(1, 2))
			where := keep(t)
			network := &faulty{Connection: where}
			app := open(t, "shop", network, tidings.EmitTimeout(timeout))
			type answer struct {
				seq     int
				receipt tidings.Receipt
				err     error
			}
			var mu sync.Mutex // protects answers
			var answers []answer
			var over atomic.Bool
			var emitting sync.WaitGroup
			calls := 0
			emitting.Go(func() {
				for ctx := app.Context(t.Context()); !over.Load(); calls++ {
					time.Sleep(100 * time.Microsecond)
					seq := calls
					emit(ctx, order{ID: "1", Seq: seq}, func(r tidings.Receipt, err error) {
						mu.Lock()
						defer mu.Unlock()
						answers = append(answers, answer{seq, r, err})
					})
				}
			})
			for range rounds {
				time.Sleep(time.Duration(rng.IntN(50)) * time.Millisecond)
				network.pause.Lock()
				time.Sleep(timeout*3/4 + time.Duration(rng.IntN(100))*time.Millisecond)
				network.pause.Unlock()
				time.Sleep(timeout / 4)
			}
			over.Store(true)
			emitting.Wait()
			if err := app.Close(); err != nil {
				t.Fatal(err)
			}
			at := make(map[int64]int) // the numbers of the events, by offset
			there := make(map[int]bool)
			for _, r := range dump(t, where, "orders") {
				var o order
				if err := json.Unmarshal(r.Value, &o); err != nil {
					t.Fatal(err)
				}
				at[r.Offset], there[o.Seq] = o.Seq, true
			}
			slices.SortFunc(answers, func(a, b answer) int { return cmp.Compare(a.seq, b.seq) })
			last, failed := answer{receipt: tidings.Receipt{Offset: -1}}, 0
			for i, a := range answers {
				if a.seq != i {
					t.Fatalf("answer %d is to event %d", i, a.seq)
				}
				if a.err != nil {
					failed++
					if e, ok := errors.AsType[*tidings.UnacknowledgedError](a.err); !ok || !e.MayBeInLog && there[a.seq] {
						t.Errorf("event %d, which is in the log: %v: %v", a.seq, there[a.seq], a.err)
					}
					continue
				}
				if a.receipt.Offset <= last.receipt.Offset {
					t.Errorf("event %d is at offset %d, and %d at %d", a.seq, a.receipt.Offset, last.seq, last.receipt.Offset)
				}
				if seq, ok := at[a.receipt.Offset]; !ok || seq != a.seq {
					t.Errorf("event %d is not at offset %d", a.seq, a.receipt.Offset)
				}
				last = a
			}
			t.Log(calls, "events,", failed, "of them failed")
			if len(answers) != calls || failed == calls {
				t.Errorf("%d answers to %d events; %d failed", len(answers), calls, failed)
			}
		})
	}
}

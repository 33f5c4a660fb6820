package broker_test

import (
	"context"
	"log/slog"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/broker"
	"tidings.dev/embedded"
	"tidings.dev/internal/cloudevent"
	"tidings.dev/internal/obligation"
	"tidings.dev/internal/vfs"
)

// TestShopAuditFindsWhatIsWrong tests the checks of TestShopPowerCuts: they find nothing wrong in a day without a power
// cut, and they find each kind of harm that a power cut could do to it.
func TestShopAuditFindsWhatIsWrong(t *testing.T) {
	batch, want := carriedDay(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	h := newHistory()
	config := broker.Config{Memory: true, Logger: slog.New(slog.DiscardHandler)}.On(vfs.NewMem())
	s, err := openStore(ctx, config, filepath.Join(t.TempDir(), "index"), h)
	if err == nil {
		err = s.take(ctx, batch.Invoices)
	}
	if err == nil {
		err = s.indexer.WaitSettled(ctx)
	}
	if err != nil {
		s.crash()
		t.Fatal(err)
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	b, err := broker.Open(config) // opened anew, so that no client writes to it any more
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	right, err := readAccount(ctx, embedded.Broker(b))
	if err != nil {
		t.Fatal(err)
	}
	if wrong := right.judge(want); len(wrong) > 0 {
		t.Errorf("without a power cut: %q", wrong)
	}
	is, err := readLogContents(ctx, embedded.Broker(b))
	if err != nil {
		t.Fatal(err)
	}
	if broken := h.check(is); len(broken) > 0 {
		t.Errorf("without a power cut: %q", broken)
	}

	typed := func(typ string) func(*kgo.Record) bool {
		return func(r *kgo.Record) bool { return header(r, cloudevent.HeaderType) == typ }
	}
	handled := func(f obligation.Fact) bool { m, ok := f.(*obligation.Marks); return ok && len(m.Times) > 0 }
	for _, harm := range []struct {
		name, want string
		do         func(a *account)
	}{
		{"a capture is lost", "shop.payment.captured of order/", func(a *account) { a.lose(typed("shop.payment.captured")) }},
		{"an order is lost, and what followed is there", "before its cause", func(a *account) { a.lose(typed("shop.order.placed")) }},
		{"an amount is another", "says 1 pence", func(a *account) {
			a.change(typed("shop.payment.captured"), func(r *kgo.Record) { r.Value = []byte(`{"pence":1}`) })
		}},
		{"something happens twice", "under two ids", func(a *account) {
			i := slices.IndexFunc(a.facts, typed("shop.parcel.shipped"))
			twice := *a.facts[i]
			twice.Headers = slices.Clone(twice.Headers)
			for h := range twice.Headers {
				if twice.Headers[h].Key == cloudevent.HeaderID {
					twice.Headers[h].Value = []byte("another")
				}
			}
			a.facts = append(a.facts, &twice)
		}},
		{"nobody ordered that", "should not have happened", func(a *account) {
			a.change(typed("shop.order.placed"), func(r *kgo.Record) { r.Key = []byte("order/0") })
		}},
		{"marks are lost", "was never handled by", func(a *account) { a.forget(handled) }},
		{"a story is not settled", "has settled", func(a *account) {
			a.forget(func(f obligation.Fact) bool { _, ok := f.(*obligation.Settled); return ok })
		}},
		{"a story has settled too early", "and has", func(a *account) {
			i := slices.IndexFunc(a.obliged, func(f obligation.Fact) bool { _, ok := f.(*obligation.Settled); return ok })
			early := *a.obliged[i].(*obligation.Settled)
			early.Events--
			a.obliged = append(a.obliged, &early)
		}},
	} {
		a := &account{facts: slices.Clone(right.facts), obliged: slices.Clone(right.obliged)}
		harm.do(a)
		if wrong := a.judge(want); !slices.ContainsFunc(wrong, func(s string) bool { return strings.Contains(s, harm.want) }) {
			t.Errorf("%s, and the judge says %q", harm.name, wrong)
		}
	}

	for _, harm := range []struct {
		name, want string
		do         func(*logContents)
	}{
		{"a batch is lost", "I1", func(is *logContents) { delete(is.batches, anyBatch(is)) }},
		{"a batch is another", "I1", func(is *logContents) { is.batches[anyBatch(is)]++ }},
		{"a record of a compacted topic is another", "I1", func(is *logContents) {
			at := anyKey(is.records)
			is.records[at] = keyed{is.records[at].key, "another"}
		}},
		{"a position is lost", "I6", func(is *logContents) { delete(is.positions, servicesPosition(is)) }},
		{"a position goes back", "I6", func(is *logContents) { is.positions[servicesPosition(is)]-- }},
		{"a position leaps", "I6", func(is *logContents) { is.positions[servicesPosition(is)] = math.MaxInt64 }},
	} {
		is, err := readLogContents(ctx, embedded.Broker(b))
		if err != nil {
			t.Fatal(err)
		}
		harm.do(is)
		if broken := h.check(is); len(broken) != 1 || !strings.HasPrefix(broken[0], harm.want) {
			t.Errorf("%s, and the check finds %q", harm.name, broken)
		}
	}
}

// lose removes the first fact for which is returns true.
func (a *account) lose(is func(*kgo.Record) bool) {
	i := slices.IndexFunc(a.facts, is)
	a.facts = slices.Delete(a.facts, i, i+1)
}

// change applies do to a copy of the first fact for which is returns true, and puts the copy in its place.
func (a *account) change(is func(*kgo.Record) bool, do func(*kgo.Record)) {
	i := slices.IndexFunc(a.facts, is)
	changed := *a.facts[i]
	do(&changed)
	a.facts[i] = &changed
}

// forget removes the last of the framework's facts for which is returns true.
func (a *account) forget(is func(obligation.Fact) bool) {
	for i, f := range slices.Backward(a.obliged) {
		if is(f) {
			a.obliged = slices.Delete(a.obliged, i, i+1)
			return
		}
	}
}

// anyKey returns a key of m, or the zero value if m is empty.
func anyKey[K comparable, V any](m map[K]V) (k K) {
	for k = range m {
		break
	}
	return k
}

// anyBatch returns the key of a batch in a topic that is not compacted.
func anyBatch(is *logContents) (at batchKey) {
	for at = range is.batches {
		if !compacted(at.topic) {
			break
		}
	}
	return at
}

// servicesPosition returns the key of a position that the service payment has committed.
func servicesPosition(is *logContents) (p positionKey) {
	for p = range is.positions {
		if p.group == "payment" && is.positions[p] > 0 {
			break
		}
	}
	return p
}

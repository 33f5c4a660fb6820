package broker_test

import (
	"bytes"
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
	"tidings.dev/examples/shop/input"
	"tidings.dev/examples/shop/payment"
	"tidings.dev/internal/obligation"
	"tidings.dev/internal/vfs"
)

// Case: a day without a power cut is right. Each thing that a cut could have done to it is noticed by whoever judges in
// TestShopPowerCuts.
func TestShopAuditFindsWhatIsWrong(t *testing.T) {
	batch, err := input.Read(bytes.NewReader(input.CarriedDay), nil)
	if err != nil {
		t.Fatal(err)
	}
	want, err := readBooks(input.CarriedDay, payment.DefaultDeclineAbovePence)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	book := newLedger()
	config := broker.Config{Memory: true, Logger: slog.New(slog.DiscardHandler)}.On(vfs.NewMem())
	s, err := openStore(ctx, config, filepath.Join(t.TempDir(), "index"), book)
	if err == nil {
		err = s.take(ctx, batch.Invoices)
	}
	if err == nil {
		err = s.indexer.WaitSettled(ctx)
	}
	if err != nil {
		s.die()
		t.Fatal(err)
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	b, err := broker.Open(config) // nobody writes to it any more
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
	is, err := look(ctx, embedded.Broker(b))
	if err != nil {
		t.Fatal(err)
	}
	if broken := book.audit(is); len(broken) > 0 {
		t.Errorf("without a power cut: %q", broken)
	}

	typed := func(typ string) func(*kgo.Record) bool {
		return func(r *kgo.Record) bool { return header(r, obligation.HeaderType) == typ }
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
				if twice.Headers[h].Key == obligation.HeaderID {
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
		do         func(*image)
	}{
		{"a batch is lost", "I1", func(is *image) { delete(is.batches, anyKey(is.batches)) }},
		{"a batch is another", "I1", func(is *image) { is.batches[anyKey(is.batches)]++ }},
		{"a position is lost", "I6", func(is *image) { delete(is.positions, servicesPosition(is)) }},
		{"a position goes back", "I6", func(is *image) { is.positions[servicesPosition(is)]-- }},
		{"a position leaps", "I6", func(is *image) { is.positions[servicesPosition(is)] = math.MaxInt64 }},
	} {
		is, err := look(ctx, embedded.Broker(b))
		if err != nil {
			t.Fatal(err)
		}
		harm.do(is)
		if broken := book.audit(is); len(broken) != 1 || !strings.HasPrefix(broken[0], harm.want) {
			t.Errorf("%s, and the audit says %q", harm.name, broken)
		}
	}
}

// lose takes the first fact that is meant out of the account.
func (a *account) lose(is func(*kgo.Record) bool) {
	i := slices.IndexFunc(a.facts, is)
	a.facts = slices.Delete(a.facts, i, i+1)
}

// change makes the first fact that is meant another.
func (a *account) change(is func(*kgo.Record) bool, do func(*kgo.Record)) {
	i := slices.IndexFunc(a.facts, is)
	changed := *a.facts[i]
	do(&changed)
	a.facts[i] = &changed
}

// forget takes the last of the framework's facts that is meant out of the account.
func (a *account) forget(is func(obligation.Fact) bool) {
	for i, f := range slices.Backward(a.obliged) {
		if is(f) {
			a.obliged = slices.Delete(a.obliged, i, i+1)
			return
		}
	}
}

func anyKey[K comparable, V any](m map[K]V) (k K) {
	for k = range m {
		break
	}
	return k
}

// servicesPosition is one that a service of the shop has committed.
func servicesPosition(is *image) (p position) {
	for p = range is.positions {
		if p.group == "payment" && is.positions[p] > 0 {
			break
		}
	}
	return p
}

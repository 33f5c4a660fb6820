package tidings_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tidings.dev"
	"tidings.dev/internal/obligation"
)

// The booking as the shop has it, since a field was renamed, and as payment has it.
type (
	booking struct {
		ID     string
		Amount int `json:"amount_pence"`
		Guests []struct{ Name string }
	}
	bookingBefore struct {
		ID     string
		Amount int `json:"pence"`
		Guests []struct{ FullName string }
		Note   string `json:"note,omitempty"`
	}
)

const bookingMade = "test.booking.made"

func aboutBooking(id string) string { return "booking/" + id }

var (
	bookings = tidings.Define[booking](bookingMade, tidings.In("bookings", tidings.Partitions(1)), tidings.Version(2),
		tidings.Subject(func(b booking) string { return aboutBooking(b.ID) }))
	bookingsBefore = tidings.Define[bookingBefore](bookingMade, tidings.In("bookings", tidings.Partitions(1)),
		tidings.Subject(func(b bookingBefore) string { return aboutBooking(b.ID) }))
	bookingsStrict = tidings.Define[bookingBefore](bookingMade, tidings.In("bookings", tidings.Partitions(1)), tidings.Strict())
)

// A field was renamed in one service. The other, which reads a zero, says so once in its log, counts it by type, version and
// source, and writes it down; of events that fit it says nothing. It is so for handlers, for handlers with a state, and for views.
func TestARenamedFieldIsSaid(t *testing.T) {
	for _, kind := range []string{"handler", "state", "view"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			where := keep(t)
			var log logged
			payment := open(t, "payment", where, tidings.WithLogger(log.logger()))
			handle := func(context.Context, tidings.Event[bookingBefore]) error { return nil }
			fold := func(n *int, e tidings.Any) {
				if b, ok, err := bookingsBefore.From(e); ok && err == nil {
					*n += b.Data.Amount
				}
			}
			switch kind {
			case "handler":
				tidings.React(payment, bookingsBefore, handle)
			case "state":
				tidings.ReactWith(payment, tidings.Facts(bookingsBefore), fold, func(context.Context, int, tidings.Any) error { return nil })
			case "view":
				tidings.ReactWith(payment, tidings.Facts(bookingsBefore), fold, nil)
			}
			run := start(t, payment)
			shop, old := open(t, "shop", where), open(t, "old.shop", where)
			const events = 5
			for n := range events {
				guests := []struct{ Name string }{{"A"}}
				if _, err := bookings.Emit(shop.Context(t.Context()), booking{fmt.Sprint(n), 100_000_000, guests}); err != nil {
					t.Fatal(err)
				}
				if _, err := bookingsBefore.Emit(old.Context(t.Context()), bookingBefore{ID: fmt.Sprint(n), Amount: 1}); err != nil {
					t.Fatal(err)
				}
			}
			eventually(t, "all are handled", func() bool { return run.Stats()["payment"].Handled == 2*events })
			want := []tidings.FieldMismatch{{
				Type: bookingMade, Version: 2, Source: "shop", Compared: events,
				Unknown: map[string]int64{"amount_pence": events, "Guests.Name": events},
				Missing: map[string]int64{"pence": events, "Guests.FullName": events},
			}}
			if got := run.Stats()["payment"].Mismatches; !reflect.DeepEqual(got, want) {
				t.Errorf("%+v", got)
			}
			text := log.String()
			if strings.Count(text, "other fields") != 1 || !strings.Contains(text, "events of test.booking.made, version 2, from shop have other fields") ||
				!strings.Contains(text, "it has Guests.Name, amount_pence") || !strings.Contains(text, "it lacks Guests.FullName, pence") {
				t.Errorf("the log: %s", text)
			}
			var written []*obligation.Mismatch
			eventually(t, "it is written down", func() bool {
				written = factsIfAny[*obligation.Mismatch](t, where, obligation.SubscriptionsTopic)
				return len(written) > 0
			})
			if w := written[0]; len(written) != 1 || w.Key() != "!fields/payment/test.booking.made/2/shop" || w.Topic != "bookings" ||
				!reflect.DeepEqual(w.Unknown, []string{"Guests.Name", "amount_pence"}) || !reflect.DeepEqual(w.Missing, []string{"Guests.FullName", "pence"}) || w.At.IsZero() {
				t.Errorf("%d records: %+v", len(written), w)
			}
		})
	}
}

// A strict fact does not decode from events that have other fields: the attempt has failed, and an option decides.
func TestAStrictFactFailsTheAttempt(t *testing.T) {
	where := keep(t)
	shop := open(t, "shop", where)
	payment := open(t, "payment", where)
	refused := make(chan error, 100)
	tidings.React(payment, bookingsStrict, func(_ context.Context, e tidings.Event[bookingBefore]) error {
		if e.Data.Amount == 0 {
			t.Error("it was captured as 0 pence")
		}
		return nil
	}, tidings.Retry(tidings.Backoff(time.Millisecond, 5*time.Millisecond)), tidings.OnUndecodable(func(_ context.Context, e tidings.Any, err error) error {
		select {
		case refused <- err:
		default:
		}
		return err
	}))
	run := start(t, payment)
	if _, err := bookings.Emit(shop.Context(t.Context()), booking{ID: "1", Amount: 5}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is tried again", func() bool { return run.Stats()["payment"].Retried > 2 })
	err := <-refused
	if _, ok := errors.AsType[*tidings.PayloadError](err); !ok || !strings.Contains(err.Error(), "it has amount_pence, which nobody reads here; it lacks pence") {
		t.Errorf("%v", err)
	}
	if s := run.Stats()["payment"]; s.Handled != 0 || len(s.Mismatches) != 1 {
		t.Errorf("%+v", s)
	}

	// Case: an event that fits, of another subject, with and without what may be left out.
	for _, note := range []string{"", "late"} {
		if _, err := bookingsBefore.Emit(shop.Context(t.Context()), bookingBefore{ID: "2" + note, Amount: 1, Note: note}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "they are handled", func() bool { return run.Stats()["payment"].Handled == 2 })

	// Case: an event that was received by other means.
	payload, _ := json.Marshal(booking{ID: "1"})
	if _, ok, err := bookingsStrict.From(tidings.Any{Meta: tidings.Meta{Type: bookingMade}, Payload: payload}); !ok || err == nil {
		t.Error(ok, err)
	}
	if _, ok, err := bookingsBefore.From(tidings.Any{Meta: tidings.Meta{Type: bookingMade}, Payload: payload}); !ok || err != nil {
		t.Error(ok, err)
	}
}

// After many events of a sender only some are compared, and a strict fact's all the same.
func TestComparingIsSampled(t *testing.T) {
	where := keep(t)
	shop := open(t, "shop", where)
	payment := open(t, "payment", where, quiet())
	tidings.React(payment, bookingsBefore, func(context.Context, tidings.Event[bookingBefore]) error { return nil })
	run := start(t, payment)
	const events = 1000 + 64*10
	ctx := shop.Context(t.Context())
	for n := range events {
		bookings.EmitAsync(ctx, booking{ID: fmt.Sprint(n % 16)}, nil)
	}
	eventually(t, "all are handled", func() bool { return run.Stats()["payment"].Handled == events })
	if m := run.Stats()["payment"].Mismatches; len(m) != 1 || m[0].Compared < 1000+9 || m[0].Compared > 1000+11 || m[0].Missing["pence"] != m[0].Compared {
		t.Errorf("%+v", m)
	}

	// Case: the fact is strict, so that each event is compared.
	auditor := open(t, "auditor", where, quiet())
	var refused atomic.Int64
	tidings.React(auditor, bookingsStrict, func(context.Context, tidings.Event[bookingBefore]) error { return nil },
		tidings.OnUndecodable(func(context.Context, tidings.Any, error) error { refused.Add(1); return nil }), tidings.FromBeginning())
	start(t, auditor)
	eventually(t, "none is handled as if it fitted", func() bool { return refused.Load() == events })
}

func BenchmarkFrom(b *testing.B) {
	payload := []byte(`{"ID":"536365","pence":13912,"Guests":[{"FullName":"A. B."}]}`)
	e := tidings.Any{Meta: tidings.Meta{Type: bookingMade, Source: "shop", Version: 1}, Payload: payload}
	for name, f := range map[string]*tidings.Fact[bookingBefore]{"lenient": bookingsBefore, "strict": bookingsStrict} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			e := tidings.Watched(e)
			for b.Loop() {
				if _, _, err := f.From(e); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("unmarshal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var v tidings.Event[bookingBefore]
			if err := json.Unmarshal(payload, &v.Data); err != nil {
				b.Fatal(err)
			}
		}
	})
}

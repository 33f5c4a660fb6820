package obligation_test

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"tidings.dev/internal/obligation"
)

func TestMismatchesAreReadAsTheyWereWritten(t *testing.T) {
	want := &obligation.Mismatch{
		Reaction: "payment", Type: "booking.made", Topic: "bookings", Version: 2, Source: "/shop/eu",
		Unknown: []string{"amount_pence"}, Missing: []string{"lines.sku", "pence"}, At: time.Unix(1_800_000_000, 0).UTC(),
	}
	got, err := obligation.Decode(obligation.Encode(want))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v %v", got, err)
	}
	if want.Key() != "!fields/payment/booking.made/2//shop/eu" || want.RecordTopic() != obligation.SubscriptionsTopic {
		t.Error(want.Key(), want.RecordTopic())
	}
	subs := make(obligation.Subscriptions)
	if subs.Add(want.Key(), obligation.Encode(want), nil) || len(subs) != 0 {
		t.Error("it counts as a subscription")
	}
	if _, err := obligation.Decode([]byte(`{"v":1,"kind":"mismatch","version":"two"}`)); !errors.Is(err, obligation.ErrMalformed) {
		t.Error(err)
	}
}

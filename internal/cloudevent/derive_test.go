package cloudevent_test

import (
	"testing"

	"tidings.dev/internal/cloudevent"
)

func TestDerivedIDsFollowFromTheirCauseAndNothingElse(t *testing.T) {
	a := (&cloudevent.Event{Source: "/meter-a", Type: "t", ID: "1"}).Identity()
	b := (&cloudevent.Event{Source: "/meter-b", Type: "t", ID: "1"}).Identity()
	id := func(d cloudevent.Derivation, identity cloudevent.Identity, reaction, typ, subject string, n int) string {
		return cloudevent.Cause{Derivation: d, ID: "1", Identity: identity, Reaction: reaction}.EmissionID(typ, subject, n)
	}
	key := func(d cloudevent.Derivation, identity cloudevent.Identity, reaction string) string {
		return cloudevent.Cause{Derivation: d, ID: "1", Identity: identity, Reaction: reaction}.Key()
	}
	one, two := cloudevent.DerivedFromID, cloudevent.DerivedFromIdentity
	if first, again := id(two, a, "payment", "t", "s", 0), id(two, a, "payment", "t", "s", 0); first != again || len(first) != 32 {
		t.Errorf("%s, %s", first, again)
	}
	seen := map[string]bool{}
	for _, s := range []string{
		id(two, a, "payment", "t", "s", 0), id(two, b, "payment", "t", "s", 0), id(one, a, "payment", "t", "s", 0), id(two, a, "email", "t", "s", 0),
		id(two, a, "payment", "ts", "", 0), id(two, a, "payment", "t", "s", 1), key(two, a, "payment"), key(two, b, "payment"), key(two, a, "email"), key(one, a, "payment"),
	} {
		seen[s] = true
	}
	if len(seen) != 10 {
		t.Errorf("two of ten have one id: %v", seen)
	}
	// Version 1 knows the cause by its id alone.
	if id(one, a, "payment", "t", "s", 0) != id(one, b, "payment", "t", "s", 0) || key(one, a, "payment") != key(one, b, "payment") {
		t.Error("version 1 has changed")
	}
	// Case: ids are kept in logs for ever, so no formula may ever change.
	for got, want := range map[string]string{
		cloudevent.Cause{Derivation: one, ID: "1", Reaction: "payment"}.EmissionID("t", "s", 0): "3074e265135c567683e842c29890a020",
		key(one, a, "payment"):             "9b40a8b224f0d49259813921948c4492",
		id(two, a, "payment", "t", "s", 0): "484f9e0c4f258a19b6b939524b28ee0b",
		key(two, a, "payment"):             "07ffea052ac14224a199031266c30397",
	} {
		if got != want {
			t.Errorf("%s, want %s: a formula has changed, and copies of events in existing logs are not recognised any more", got, want)
		}
	}
}

package obligation

import (
	"errors"
	"testing"
	"time"

	"tidings.dev/internal/offsets"
)

// Case: what there is of a command. A second one with its id counts for nothing, and neither does a second result.
func TestCommandsAreKnownByTheirIDs(t *testing.T) {
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	cs, offset := make(Commands), int64(0)
	add := func(f Fact) *Commanded {
		t.Helper()
		cs.Add(Encode(f), offset, began.Add(time.Duration(offset)*time.Minute))
		offset++
		return cs["email/orders/1/again"]
	}
	command := Command{ID: "again", Action: ActionSeek, Reaction: "email", Topic: "orders", Partition: 1, Position: 9, To: 4, Valid: 150_000}
	c := add(&command)
	if !c.Open() || !c.Appended.Equal(began) || c.Offset != 0 {
		t.Fatalf("%+v", c)
	}
	second := command
	second.To = 7
	if c = add(&second); c.Command.To != 4 {
		t.Errorf("the second one counts: %+v", c.Command)
	}
	if c = add(&Claim{ID: "again", Reaction: "email", Topic: "orders", Partition: 1, By: "m-1"}); c.Claim == nil || c.Command.Expired(c.Appended, c.Claimed) {
		t.Errorf("%+v", c)
	}
	if c = add(&Claim{ID: "again", Reaction: "email", Topic: "orders", Partition: 1, By: "m-2"}); c.Claim.By != "m-2" || !c.Command.Expired(c.Appended, c.Claimed) {
		t.Errorf("%+v", c)
	}
	add(command.Result(ResultDone, ""))
	if c = add(command.Result(ResultStale, "")); c.Open() || c.Result.State != ResultDone {
		t.Errorf("%+v", c)
	}
	if add(&command); c.Open() {
		t.Error("a command that has a result is open again")
	}
	for _, id := range []string{"", "a/b", "-a", "ä", "1234567890123456789012345678901234567890123456789012345678901234x"} {
		other := command
		if other.ID = id; CheckCommandID(id) == nil {
			t.Errorf("%q is an id", id)
		}
		if cs.Add(Encode(&other), 99, began); len(cs) != 1 {
			t.Errorf("%q: %d commands", id, len(cs))
		}
	}
}

// A command whose ranges are not in order, or are empty, would make its owner count wrongly: it is no command.
func TestCommandsWithBadRangesAreMalformed(t *testing.T) {
	for _, ranges := range [][]offsets.Range{{{Lo: -1, Hi: 2}}, {{Lo: 3, Hi: 3}}, {{Lo: 3, Hi: 2}}, {{Lo: 5, Hi: 6}, {Lo: 4, Hi: 5}}, {{Lo: 5, Hi: 8}, {Lo: 7, Hi: 9}}} {
		for _, c := range []Command{{ID: "x", Again: ranges}, {ID: "x", Jump: ranges}} {
			if _, err := Decode(Encode(&c)); !errors.Is(err, ErrMalformed) {
				t.Errorf("%v: %v", ranges, err)
			}
		}
	}
}

package obligation

import (
	"math"
	"testing"
)

// One record with a number that no writer has given must not make later records count for nothing.
func TestNumbersThatNobodyHasGivenAreIgnored(t *testing.T) {
	for _, c := range []struct {
		last, next int64
		follows    bool
	}{
		{0, 1, true}, {7, 8, true}, {7, 7 + maxStep, true}, {7, 7, false}, {7, 6, false}, {0, -1, false},
		{7, 8 + maxStep, false}, {0, math.MaxInt64, false}, {math.MaxInt64, math.MinInt64, false}, {math.MinInt64, math.MaxInt64, false},
	} {
		if got := (&Seek{Epoch: c.next}).Follows(c.last); got != c.follows {
			t.Errorf("epoch %d after %d counts: %v", c.next, c.last, got)
		}
		if got := EpisodeFollows(int(c.last), int(c.next)); got != (c.follows || c.last == c.next && c.last > 0) {
			t.Errorf("episode %d after %d counts: %v", c.next, c.last, got)
		}
	}
	subs := make(Subscriptions)
	add := func(revision int64, types ...string) bool {
		s := &Subscription{Reaction: "email", Topic: "orders", Types: types, Revision: revision}
		return subs.Add(s.Key(), Encode(s), nil)
	}
	add(math.MaxInt64, "hostile")
	if len(subs) > 0 {
		t.Fatal("the first record is hostile, and counts")
	}
	add(1000, "placed") // compaction has removed those before
	add(math.MaxInt64, "hostile")
	add(-1, "hostile")
	have := subs["email/orders"]
	if have.Now.Types[0] != "placed" || !have.Disputed {
		t.Errorf("%+v counts, disputed: %v", have.Now, have.Disputed)
	}
	add(1001, "placed", "paid")
	if now := subs["email/orders"].Now; len(now.Types) != 2 {
		t.Errorf("%+v counts", now)
	}
}

// A subscription to a topic that was deleted and made again begins at the start of the new one.
func TestASubscriptionMeansTheTopicThatHasTheName(t *testing.T) {
	s := &Subscription{Reaction: "email", Topic: "orders", TopicID: TopicID{1}, Types: []string{"a", "b"}, Start: map[int32]int64{0: 5}, Since: map[int32]int64{0: 9},
		TypeSince: map[string]map[int32]int64{"b": {0: 12}}, Revision: 4}
	if same := s.On(TopicID{1}); !same.Equal(s) || same.Revision != 4 {
		t.Errorf("%+v", same)
	}
	other := s.On(TopicID{2})
	if len(other.Start)+len(other.Since)+len(other.TypeSince) > 0 || len(other.Types) != 2 || other.TopicID != (TopicID{2}) {
		t.Errorf("%+v", other)
	}
	s.TopicID = TopicID{}
	if unknown := s.On(TopicID{2}); unknown.Start[0] != 5 || unknown.TopicID != (TopicID{2}) {
		t.Errorf("%+v", unknown)
	}
}

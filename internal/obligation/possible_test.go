package obligation

import (
	"errors"
	"maps"
	"math"
	"testing"
)

// TestOffsetsThatNobodyHasGivenAreNotBelieved reads subscriptions with offsets above the ends of their partitions. They
// must count with the offsets of the subscription before, or those of the ends, and be written again.
func TestOffsetsThatNobodyHasGivenAreNotBelieved(t *testing.T) {
	topic, deleted := TopicID{1}, TopicID{2}
	ends := func(name string, id TopicID, partition int32) (int64, bool) {
		end, known := map[int32]int64{0: 100, 1: 0}[partition]
		return end, known && name == "orders" && id.Is(topic)
	}
	const far = 1 << 62
	own := &Subscription{Reaction: "email", Topic: "orders", TopicID: topic, Types: []string{"a", "b"}, Start: map[int32]int64{0: 5},
		Since: map[int32]int64{0: 9}, TypeSince: map[string]map[int32]int64{"b": {0: 12}}, Revision: 4}
	type offsets = map[int32]int64
	for name, c := range map[string]struct {
		have  *Subscription
		hurt  func(s *Subscription)
		start offsets
		since offsets
		b     offsets // TypeSince of b
	}{
		"all that is possible stays":            {own, func(s *Subscription) { s.Since = offsets{0: 100, 1: 0} }, offsets{0: 5}, offsets{0: 100, 1: 0}, offsets{0: 12}},
		"since":                                 {own, func(s *Subscription) { s.Since = offsets{0: far} }, offsets{0: 5}, offsets{0: 9}, offsets{0: 12}},
		"one above the end":                     {own, func(s *Subscription) { s.Since = offsets{0: 101, 1: 1} }, offsets{0: 5}, offsets{0: 9}, offsets{0: 12}},
		"start":                                 {own, func(s *Subscription) { s.Start = offsets{0: math.MaxInt64, 1: -1} }, offsets{0: 5}, offsets{0: 9}, offsets{0: 12}},
		"a type":                                {own, func(s *Subscription) { s.TypeSince["b"] = offsets{0: far} }, offsets{0: 5}, offsets{0: 9}, offsets{0: 12}},
		"nothing was read before":               {nil, func(s *Subscription) { s.Since, s.TypeSince["b"] = offsets{0: far, 1: -7}, offsets{0: far} }, offsets{0: 5}, offsets{0: 100}, offsets{0: 100}},
		"the end is not known, below the limit": {nil, func(s *Subscription) { s.TopicID, s.Since = deleted, offsets{0: 5000} }, offsets{0: 5}, offsets{0: 5000}, offsets{0: 12}},
		"the end is not known, above the limit": {nil, func(s *Subscription) { s.TopicID, s.Since = deleted, offsets{0: maxOffset + 1} }, offsets{0: 5}, offsets{}, offsets{0: 12}},
	} {
		t.Run(name, func(t *testing.T) {
			subs := make(Subscriptions)
			if c.have != nil {
				subs.Add(c.have.Key(), Encode(c.have), ends)
			}
			s := own.Clone()
			s.Revision++
			c.hurt(s)
			if !subs.Add(s.Key(), Encode(s), ends) {
				t.Fatal("it does not count")
			}
			got := subs[s.Key()]
			if !maps.Equal(got.Now.Start, c.start) || !maps.Equal(got.Now.Since, c.since) || !maps.Equal(got.Now.TypeSince["b"], c.b) {
				t.Errorf("it counts as %+v", got.Now)
			}
			if got.Now.Revision != 5 || got.Disputed == got.Now.Equal(s) {
				t.Errorf("revision %d, disputed: %v", got.Now.Revision, got.Disputed)
			}
		})
	}
}

// TestFactsThatNobodyHasWrittenAreMalformed decodes records of which a name is missing, or an offset is impossible.
func TestFactsThatNobodyHasWrittenAreMalformed(t *testing.T) {
	for _, value := range []string{
		`{"kind":"subscription","v":1,"reaction":"","topic":"orders"}`,
		`{"kind":"subscription","v":1,"reaction":"email"}`,
		`{"kind":"emission","v":1,"app":"","type":"a","topic":"orders"}`,
		`{"kind":"emission","v":1,"app":"shop","type":"","topic":"orders"}`,
		`{"kind":"mismatch","v":1,"type":"a","topic":"orders"}`,
		`{"kind":"derivation","v":1,"reaction":"email","topic":"orders","from":4611686018427387904}`,
		`{"kind":"marks","v":1,"reaction":"email","topic":"orders","done":[[0,4611686018427387904]]}`,
		`{"v":1,"kind":"marks","reaction":"email","topic":"orders","position":-1}`,
		`{"kind":"marks","v":1,"topic":"orders","position":1}`,
		`{"kind":"retrying","v":1,"reaction":"email","topic":"orders","offset":-1}`,
		`{"kind":"running","v":1,"reaction":"email","topic":"orders","offset":4611686018427387904}`,
		`{"kind":"seek","v":1,"reaction":"email","topic":"orders","from":0,"to":4611686018427387904,"epoch":1}`,
		`{"kind":"story.settled","v":1,"correlation":"c","through":[{"topic":"orders","offset":4611686018427387904}]}`,
		`{"kind":"question","v":1,"correlation":"c","story_end":-1}`,
		`{"kind":"answer","v":1,"correlation":"c","story_end":4611686018427387904}`,
	} {
		if f, err := Decode([]byte(value)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s is decoded as %+v, %v", value, f, err)
		}
	}
}

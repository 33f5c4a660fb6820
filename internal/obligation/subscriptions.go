package obligation

import "strings"

// Subscriptions has the subscriptions that were read from SubscriptionsTopic, by the key of their records.
type Subscriptions map[string]*Subscribed

// Subscribed is the combined meaning of the records with one key.
type Subscribed struct {
	// Now is the subscription that counts. It must not be changed.
	Now *Subscription
	// Owner is the app that was first to use the reaction's name since the name was last free; empty if that is not
	// recorded.
	Owner string
	// Disputed reports whether the last record, which compaction keeps, differs from Now: because its writer did not know
	// of another record, or because something in it is impossible. An instance that finds this, and has a subscription
	// to write, writes Now again.
	Disputed bool
}

// Add adds a record and reports whether it counts. Records of one key must be added in order. A value that is not a
// subscription with this key is ignored; an empty value removes the subscription. Offsets that are impossible, as far as
// ends tells, are replaced (see [Subscription.Possible]), and the subscription is Disputed then. ends may be nil.
func (subs Subscriptions) Add(key string, value []byte, ends Ends) bool {
	if len(value) == 0 {
		delete(subs, key)
		return true
	}
	f, err := Decode(value)
	s, ok := f.(*Subscription)
	if err != nil || !ok || s.Key() != key || strings.Contains(s.Topic, "/") {
		return false
	}
	t := subs[key]
	if t == nil {
		if !s.Plausible(nil) {
			return false
		}
		t = new(Subscribed)
		subs[key] = t
	}
	t.add(s, ends)
	return true
}

// add adds the subscription of a record to those of its key.
func (t *Subscribed) add(written *Subscription, ends Ends) {
	before := t.Now
	s := written.Possible(before, ends)
	if !s.Plausible(before) {
		t.Disputed = true
		return
	}
	switch {
	case s.Supersedes(before):
		t.Now = s
		// Of two reactions that began at the same time, the starts of the first one count.
		if before != nil && s.Revision == 0 && !before.Retired {
			t.Now = s.Clone()
			t.Now.Start, t.Now.Since, t.Now.At = before.Start, before.Since, before.At
		}
	case s.Revision == before.Revision:
		t.Now = Merge(before, s)
	}
	t.Disputed = !t.Now.Equal(written) || t.Now.Revision != written.Revision
	if before == nil || before.Retired || t.Owner == "" {
		t.Owner = s.App
	}
}

// Next returns a copy of the subscription that counts, with the next revision, to be changed and written.
func (t *Subscribed) Next() *Subscription {
	next := t.Now.Clone()
	next.Revision++
	return next
}

package story

import (
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/logclient"
	"tidings.dev/internal/obligation"
)

// setTopics tells the index which topics exist now. A topic that was created again under the same name is a different
// topic: it gets a new number and is read from its start. setTopics writes to the index only if something has
// changed.
//
// The caller must have stopped the client from reading topics that were deleted or created again; otherwise their
// records would be added to the new topic. follower.mu ensures that there is only one call at a time.
func (ix *Index) setTopics(all []logclient.Topic) error {
	there := make(map[string]logclient.Topic, len(all))
	for _, t := range all {
		there[t.Name] = t
	}
	ix.mu.RLock()
	var changed []logclient.Topic // new, or created again
	var gone []topicNum
	for _, t := range all {
		if n, ok := ix.topics[t.Name]; !ok || ix.topicOf[n].id != t.ID {
			changed = append(changed, t)
		}
	}
	for name, n := range ix.topics {
		// A topic without an id is known only from a subscription, which may be written before the topic is created.
		if _, ok := there[name]; !ok && ix.topicOf[n].id != [16]byte{} {
			gone = append(gone, n)
		}
	}
	ix.mu.RUnlock()
	if len(changed) == 0 && len(gone) == 0 {
		return nil
	}
	slices.Sort(gone)
	return ix.write(func(tx *writeTx) {
		for _, n := range gone {
			tx.retireTopic(n)
		}
		for _, t := range changed {
			tx.nameTopic(t)
		}
	})
}

// early returns the topics that are known only from facts.
func (ix *Index) early() (early []topicNum) {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	for n, t := range ix.topicOf {
		if t.early && !t.gone && t.id != [16]byte{} {
			early = append(early, n)
		}
	}
	return early
}

// noteAbsent records which of the topics that were early are not among all, the topics that the brokers have named afterwards.
func (ix *Index) noteAbsent(early []topicNum, all []logclient.Topic) {
	if len(early) == 0 {
		return
	}
	there := make(map[topicKey]bool, len(all))
	for _, t := range all {
		there[topicKey{t.Name, t.ID}] = true
	}
	ix.mu.Lock()
	defer ix.mu.Unlock()
	for _, n := range early {
		if t := ix.topicOf[n]; t != nil {
			t.absent = t.early && !there[topicKey{t.name, t.id}]
		}
	}
}

// unsought reports whether a topic is known only from facts, and the brokers were not asked for it since.
func (ix *Index) unsought() bool {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	for _, t := range ix.topicOf {
		if t.early && !t.gone && !t.absent && t.id != [16]byte{} {
			return true
		}
	}
	return false
}

// recordsOf returns the fetched records whose topics have the id that the index has for the name. It leaves out
// records that were fetched from a topic which was then deleted and created again.
func (ix *Index) recordsOf(f kgo.Fetches) (records []*kgo.Record) {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	f.EachTopic(func(t kgo.FetchTopic) {
		if n, ok := ix.topics[t.Topic]; ok && !obligation.TopicID(t.TopicID).Is(ix.topicOf[n].id) {
			return
		}
		t.EachRecord(func(r *kgo.Record) { records = append(records, r) })
	})
	return records
}

// retireTopic marks a topic as deleted and frees its name. Its events and what reactions have done with them stay in
// the index. Events that were not handled are lost, and keep their stories open until the reaction retires.
func (tx *writeTx) retireTopic(n topicNum) {
	t := tx.ix.topicOf[n]
	t.gone = true
	tx.putTopic(n)
	delete(tx.ix.topics, t.name)
}

// nameTopic gives a topic its name: facts and records of this name are about it from now on. Reactions that were
// subscribed to an earlier topic of the name are subscribed to the new one.
func (tx *writeTx) nameTopic(t logclient.Topic) {
	ix := tx.ix
	old, named := ix.topics[t.Name]
	n, known := ix.topicByID[topicKey{t.Name, t.ID}]
	switch {
	case named && ix.topicOf[old].id == [16]byte{} && !known: // the topic of this name was known only by its name until now
		delete(ix.topicByID, topicKey{t.Name, [16]byte{}})
		ix.topicOf[old].id = t.ID
		ix.topicByID[topicKey{t.Name, t.ID}] = old
		tx.putTopic(old)
		return
	case named:
		tx.retireTopic(old)
	}
	if known {
		ix.topicOf[n].early, ix.topicOf[n].absent, ix.topicOf[n].gone = false, false, false
		tx.putTopic(n)
		ix.topics[t.Name] = n
	} else {
		n = topicNum(len(ix.topicOf) + 1)
		ix.topics[t.Name] = n
		tx.addTopic(n, &topicRow{name: t.Name, id: t.ID})
	}
	for _, key := range slices.Sorted(maps.Keys(ix.judge.listeners)) {
		listeners := slices.Clone(ix.judge.listeners[key])
		if ix.topicOf[listeners[0].topic].name != t.Name {
			continue
		}
		tx.listener(listeners[0].reaction, t.Name, n)
		for _, li := range slices.Clone(ix.judge.listeners[key]) {
			tx.resubscribe(li)
		}
	}
}

// topicOfFact returns the number of the topic that a fact is about, which is the topic with the given name and id.
// Earlier versions wrote facts without an id; such a fact is about the topic that has the name now.
func (tx *writeTx) topicOfFact(name string, id obligation.TopicID) topicNum {
	n, ok := tx.ix.topics[name]
	switch {
	case id == obligation.TopicID{}:
		return tx.topicNum(name)
	case ok && tx.ix.topicOf[n].id == id:
		return n
	}
	n, ok = tx.ix.topicByID[topicKey{name, id}]
	if !ok {
		n = topicNum(len(tx.ix.topicOf) + 1)
		tx.addTopic(n, &topicRow{name: name, id: id, early: true})
	}
	return n
}

// resubscribe computes which subscription applies to a listener. It is called after a change of a subscription or a
// topic that may affect it.
func (tx *writeTx) resubscribe(li *listener) {
	t := tx.ix.topicOf[li.topic]
	now := tx.ix.topics[t.name]                // 0 if there is no topic of this name
	var newest, older *obligation.Subscription // the newest of the reaction to any topic of this name, and to any but the present one
	for _, o := range tx.ix.judge.listeners[li.key] {
		if o.own == nil {
			continue
		}
		if newest == nil || o.own.Revision > newest.Revision {
			newest = o.own
		}
		if o.topic != now && (older == nil || o.own.Revision > older.Revision) {
			older = o.own
		}
	}
	counts := li.own
	switch {
	case t.gone && newest != nil && newest.Retired && li.sub != nil:
		counts = li.sub.Clone()
		counts.Retired = true
	case t.gone && li.own == nil && li.sub != nil && newest != nil && newest != older && li.sub.Revision == newest.Revision:
		// The subscription is to the topic that was made after t, and was read before the index knew that t was deleted.
		if older != nil {
			counts = older.On(t.id)
		}
	case t.gone && li.own == nil && newest != nil:
		counts = li.sub
	case !t.gone && !t.early && li.own == nil && newest != nil:
		counts = newest.On(t.id)
	}
	tx.subscribe(li, counts)
}

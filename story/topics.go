package story

import (
	"bytes"
	"slices"

	bolt "go.etcd.io/bbolt"
	"tidings.dev/internal/obligation"
)

// topicInfo is what the metadata of the log say of a topic.
type topicInfo struct {
	name       string
	id         [16]byte // zero: the brokers are too old to give one
	partitions int32
}

// setTopics hears of all topics that there are. What a reaction owes to a topic that was deleted, it owes no more; a
// topic that was made again under an old name begins anew.
func (ix *Index) setTopics(all []topicInfo) error {
	there := make(map[string]topicInfo, len(all))
	for _, t := range all {
		there[t.name] = t
	}
	// Nothing has changed, nearly always.
	ix.mu.RLock()
	var news []topicInfo
	var gone []topicNum
	for _, t := range all {
		if n, ok := ix.topics[t.name]; !ok || ix.topicOf[n].id != t.id {
			news = append(news, t)
		}
	}
	for name, n := range ix.topics {
		// A topic without an id was only heard of: a subscription may come before it.
		if _, ok := there[name]; !ok && ix.topicOf[n].id != [16]byte{} {
			gone = append(gone, n)
		}
	}
	ix.mu.RUnlock()
	if len(news) == 0 && len(gone) == 0 {
		return nil
	}
	slices.Sort(gone)
	return ix.update(func(p *pass) {
		for _, n := range gone {
			p.forget(n)
			delete(p.ix.topics, p.ix.topicOf[n].name)
		}
		for _, t := range news {
			n := p.topic(t.name)
			row := p.ix.topicOf[n]
			if row.id != t.id && row.id != [16]byte{} {
				p.forget(n)
				delete(p.ix.topics, t.name)
				n = p.topic(t.name)
				row = p.ix.topicOf[n]
			}
			row.id = t.id
			p.putTopic(n)
			p.rebind(t.name, n)
		}
	})
}

// forget ends what is owed to a topic that is there no more.
func (p *pass) forget(n topicNum) {
	for _, li := range slices.Clone(p.ix.judge.byTopic[n]) {
		p.subscribe(li, nil)
		li.sub, li.covers = nil, make(map[int32]*coverage)
		p.wipe(p.coverage, u32Key(li.num))
		p.wipe(p.notesB, u32Key(li.num))
		p.wipe(p.times, u32Key(li.num))
		p.putListener(li)
	}
	p.ix.topicOf[n].gone = true
	p.putTopic(n)
}

// wipe deletes all rows whose keys begin with prefix.
func (p *pass) wipe(b *bolt.Bucket, prefix []byte) {
	var keys [][]byte // deleting under a cursor makes it skip
	c := b.Cursor()
	for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Next() {
		keys = append(keys, k)
	}
	for _, k := range keys {
		if p.err == nil {
			p.fail(b.Delete(k))
		}
	}
}

// rebind has the listeners of a topic's name listen to the topic that has the name now. Their offsets were another
// topic's: until they subscribe again they owe nothing.
func (p *pass) rebind(name string, n topicNum) {
	for key, li := range p.ix.judge.listeners {
		if li.topic == n || key != obligation.SubscriptionKey(li.reaction, name) {
			continue
		}
		old := p.ix.judge.byTopic[li.topic]
		p.ix.judge.byTopic[li.topic] = slices.DeleteFunc(slices.Clone(old), func(o *listener) bool { return o == li })
		li.topic = n
		p.ix.judge.byTopic[n] = append(p.ix.judge.byTopic[n], li)
		p.putListener(li)
	}
}

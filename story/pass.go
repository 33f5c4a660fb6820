package story

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"

	bolt "go.etcd.io/bbolt"
	"tidings.dev/internal/obligation"
)

// pass is one write transaction. It is the judge's ledger. Rows with random keys are kept until flush and written in
// order, which is kinder to a B+tree. The first error sticks, and everything after it does nothing.
type pass struct {
	ix  *Index
	err error

	meta, namesB, topicsB, positions, events, ids, stories, storyEvents *bolt.Bucket
	finds, listeners, coverage, notesB, times, due                      *bolt.Bucket

	moved   map[partition]struct{}
	touched map[*listener]struct{}
	dirty   []storyNum
	newIDs  map[idHash][]place
	newFind map[string]struct{}
}

// idHash is what an event id is looked up by.
type idHash [16]byte

func hashID(id string) idHash {
	sum := sha256.Sum256([]byte(id))
	return idHash(sum[:16])
}

// What a word in the bucket find is.
const (
	findCorrelation = 'c'
	findSubject     = 's'
	findTrace       = 't'
)

// maxCopies is how many places are kept for one event id. A source that gives all its events one id has, past them,
// events that are nobody's copies.
const maxCopies = 64

// Caches are emptied when they have grown past this.
const maxCached = 1 << 14

func newPass(ix *Index, tx *bolt.Tx) *pass {
	p := &pass{
		ix:   ix,
		meta: tx.Bucket(bucketMeta), namesB: tx.Bucket(bucketNames), topicsB: tx.Bucket(bucketTopics),
		positions: tx.Bucket(bucketPositions), events: tx.Bucket(bucketEvents), ids: tx.Bucket(bucketIDs),
		stories: tx.Bucket(bucketStories), storyEvents: tx.Bucket(bucketStoryEvents), finds: tx.Bucket(bucketFind),
		listeners: tx.Bucket(bucketListeners), coverage: tx.Bucket(bucketCoverage), notesB: tx.Bucket(bucketNotes),
		times: tx.Bucket(bucketTimes), due: tx.Bucket(bucketDue),
		moved: make(map[partition]struct{}), touched: make(map[*listener]struct{}),
		newIDs: make(map[idHash][]place), newFind: make(map[string]struct{}),
	}
	// Rows that come in the order of their keys fill their pages.
	p.events.FillPercent, p.times.FillPercent, p.storyEvents.FillPercent = 0.9, 0.9, 0.9
	return p
}

func (p *pass) fail(err error) {
	if p.err == nil {
		p.err = err
	}
}

func (p *pass) put(b *bolt.Bucket, k, v []byte) {
	if p.err == nil {
		p.fail(b.Put(k, v))
	}
}

// name gives the number of a name.
func (p *pass) name(s string) nameNum {
	n, ok := p.ix.names[s]
	if !ok {
		n = nameNum(len(p.ix.nameOf))
		s = strings.Clone(s)
		p.ix.names[s] = n
		p.ix.nameOf = append(p.ix.nameOf, s)
		p.put(p.namesB, u32Key(uint32(n)), []byte(s))
	}
	return n
}

// topic gives the number of a topic that is there now.
func (p *pass) topic(name string) topicNum {
	n, ok := p.ix.topics[name]
	if !ok {
		n = topicNum(len(p.ix.topicOf) + 1)
		p.ix.topics[name] = n
		p.ix.topicOf[n] = &topicRow{name: name}
		p.putTopic(n)
	}
	return n
}

func (p *pass) putTopic(n topicNum) {
	t := p.ix.topicOf[n]
	v := append([]byte{0}, t.id[:]...)
	if t.gone {
		v[0] = 1
	}
	p.put(p.topicsB, u32Key(uint32(n)), append(v, t.name...))
}

// listener gives the listener of a reaction on a topic; a new one has no subscription yet.
func (p *pass) listener(reaction, topic string) *listener {
	key := obligation.SubscriptionKey(reaction, topic)
	li := p.ix.judge.listeners[key]
	if li == nil {
		li = &listener{num: uint32(len(p.ix.judge.listeners) + 1), key: key, reaction: reaction, topic: p.topic(topic), covers: make(map[int32]*coverage)}
		p.ix.judge.listeners[key] = li
		p.ix.judge.byTopic[li.topic] = append(p.ix.judge.byTopic[li.topic], li)
		p.putListener(li)
	}
	return li
}

// touch has the coverage of a listener written at the end.
func (p *pass) touch(li *listener) { p.touched[li] = struct{}{} }

// lookup gives the number of a story by its correlation.
func (p *pass) lookup(correlation string) (storyNum, bool) {
	n, ok := p.ix.known[correlation]
	if ok {
		return n, true
	}
	prefix := findKey(findCorrelation, correlation)
	k, _ := p.finds.Cursor().Seek(prefix)
	if len(k) != len(prefix)+8 || !bytes.HasPrefix(k, prefix) {
		return 0, false
	}
	n = storyNum(binary.BigEndian.Uint64(k[len(prefix):]))
	p.ix.known[correlation] = n
	return n, true
}

// story gives the number of an event's story, and a number to a new one.
func (p *pass) story(e envelope) storyNum {
	if n, ok := p.lookup(e.correlation); ok {
		return n
	}
	p.ix.stats.Stories++
	n := storyNum(p.ix.stats.Stories)
	p.ix.known[e.correlation] = n
	p.ix.stories[n] = &storyRow{correlation: e.correlation, dirty: true}
	p.dirty = append(p.dirty, n)
	p.find(findCorrelation, e.correlation, n)
	return n
}

// load gives a story's row for change.
func (p *pass) load(n storyNum) *storyRow {
	s := p.ix.stories[n]
	if s == nil {
		var err error
		if s, err = decodeStory(p.stories.Get(u64Key(uint64(n)))); err != nil {
			p.fail(err)
			s = new(storyRow)
		}
		p.ix.stories[n] = s
	}
	if !s.dirty {
		s.dirty = true
		p.dirty = append(p.dirty, n)
	}
	return s
}

func findKey(what byte, word string) []byte {
	k := make([]byte, 0, len(word)+10)
	k = append(k, what)
	k = append(k, word...)
	return append(k, 0)
}

// find has a story found by a word.
func (p *pass) find(what byte, word string, n storyNum) {
	if word != "" {
		p.newFind[string(binary.BigEndian.AppendUint64(findKey(what, word), uint64(n)))] = struct{}{}
	}
}

// placesOf gives all places of an event id.
func (p *pass) placesOf(h idHash) []place {
	if places, ok := p.newIDs[h]; ok {
		return places
	}
	return decodePlaces(p.ids.Get(h[:]))
}

func decodePlaces(b []byte) []place {
	places := make([]place, 0, len(b)/16)
	for ; len(b) >= 16; b = b[16:] {
		places = append(places, placeFromKey(b))
	}
	return places
}

// claim takes note of an event's place and tells whether it is a copy of an event that has been before.
func (p *pass) claim(id string, typ nameNum, at place) copyKind {
	h := hashID(id)
	places := p.placesOf(h)
	if len(places) >= maxCopies {
		return onlyCopy
	}
	kind := onlyCopy
	for _, o := range p.same(places, at.partition, id, typ) {
		kind = laterCopy
		row := p.eventAt(place{at.partition, o})
		if row.copy == onlyCopy {
			row.copy = firstCopy
			p.put(p.events, placeKey(place{at.partition, o}), row.encode())
		}
	}
	p.newIDs[h] = append(places, at)
	return kind
}

// same gives the offsets among places which hold the same event: of one id and type in one partition. Ids of different
// sources may be equal without anything being a copy.
func (p *pass) same(places []place, part partition, id string, typ nameNum) []int64 {
	var offsets []int64
	for _, at := range places {
		if at.partition != part {
			continue
		}
		if row := p.eventAt(at); row.id == id && row.typ == typ {
			offsets = append(offsets, at.offset)
		}
	}
	slices.Sort(offsets)
	return offsets
}

func (p *pass) eventAt(at place) eventRow {
	row, err := decodeEvent(p.events.Get(placeKey(at)))
	p.fail(err)
	return row
}

// scan, copies and standing make the pass a ledger.
func (p *pass) scan(part partition, lo, hi int64, yield func(int64, fact) bool) {
	if lo >= hi || p.err != nil || lo >= p.ix.positions[part] {
		return
	}
	err := scanFacts(p.events.Cursor(), part, lo, hi, yield)
	p.fail(err)
}

func scanFacts(c *bolt.Cursor, part partition, lo, hi int64, yield func(int64, fact) bool) error {
	prefix := partitionKey(part)
	for k, v := c.Seek(placeKey(place{part, lo})); len(k) == 16 && bytes.HasPrefix(k, prefix); k, v = c.Next() {
		at := placeFromKey(k)
		if at.offset >= hi {
			return nil
		}
		f, err := decodeFact(v)
		if err != nil {
			return err
		}
		if !yield(at.offset, f) {
			return nil
		}
	}
	return nil
}

func (p *pass) copies(at place) []int64 {
	row := p.eventAt(at)
	if offsets := p.same(p.placesOf(hashID(row.id)), at.partition, row.id, row.typ); len(offsets) > 0 {
		return offsets
	}
	return []int64{at.offset}
}

func (p *pass) standing(n storyNum) *standing { return &p.load(n).standing }

// flush writes what was kept until now.
func (p *pass) flush() {
	for part := range p.moved {
		p.put(p.positions, partitionKey(part), u64Key(uint64(p.ix.positions[part])))
	}
	for li := range p.touched {
		for part, c := range li.covers {
			if c.dirty {
				p.put(p.coverage, append(u32Key(li.num), u32Key(uint32(part))...), c.encode())
				c.dirty = false
			}
		}
	}
	hashes := make([]idHash, 0, len(p.newIDs))
	for h := range p.newIDs {
		hashes = append(hashes, h)
	}
	slices.SortFunc(hashes, func(a, b idHash) int { return bytes.Compare(a[:], b[:]) })
	for _, h := range hashes {
		var v []byte
		for _, at := range p.newIDs[h] {
			v = append(v, placeKey(at)...)
		}
		p.put(p.ids, slices.Clone(h[:]), v)
	}
	words := make([]string, 0, len(p.newFind))
	for w := range p.newFind {
		words = append(words, w)
	}
	slices.Sort(words)
	for _, w := range words {
		p.put(p.finds, []byte(w), nil)
	}
	slices.SortFunc(p.dirty, func(a, b storyNum) int { return cmp.Compare(a, b) })
	for _, n := range p.dirty {
		p.flushStory(n, p.ix.stories[n])
	}
	var w writer
	for _, n := range []int64{p.ix.stats.Events, p.ix.stats.Stories, p.ix.stats.Settled, p.ix.stats.Open} {
		w.uint(uint64(n))
	}
	p.put(p.meta, keyStats, w.b)
	if len(p.ix.stories) > maxCached {
		clear(p.ix.stories)
	}
	if len(p.ix.known) > maxCached {
		clear(p.ix.known)
	}
}

func (p *pass) flushStory(n storyNum, s *storyRow) {
	s.dirty = false
	if now := s.class(); now != s.counted {
		for class, by := range map[class]int64{s.counted: -1, now: +1} {
			switch class {
			case classOpen:
				p.ix.stats.Open += by
			case classSettled:
				p.ix.stats.Settled += by
			}
		}
		s.counted = now
	}
	if due := s.standing.due(); due != s.listed {
		s.listed = due
		if due {
			p.put(p.due, u64Key(uint64(n)), nil)
		} else if p.err == nil {
			p.fail(p.due.Delete(u64Key(uint64(n))))
		}
	}
	p.put(p.stories, u64Key(uint64(n)), s.encode())
}

func noteKey(li uint32, part int32, offset int64) []byte {
	return binary.BigEndian.AppendUint64(append(u32Key(li), u32Key(uint32(part))...), uint64(offset))
}

func timesKey(li uint32, part int32, stretch, order int64) []byte {
	return binary.BigEndian.AppendUint64(noteKey(li, part, stretch), uint64(order))
}

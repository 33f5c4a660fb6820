package story

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"

	bolt "go.etcd.io/bbolt"
	"tidings.dev/internal/cloudevent"
	"tidings.dev/internal/logclient"
	"tidings.dev/internal/obligation"
)

// maxCached is the number of entries above which a cache of an Index is emptied at the end of a transaction.
const maxCached = 1 << 14

// writeTx is one write transaction on the index. It changes the file and the parts of it that the Index has in
// memory. Index.write makes a writeTx and holds Index.mu from before the transaction begins until it is committed.
// writeTx is the judge's eventStore.
//
// Memory is changed at once. Some rows are written to the file at once; those with random keys are collected and
// written by flush, because a B+tree takes rows faster in the order of their keys. If the transaction fails, memory
// is ahead of the file, and Index.write marks the index as failed.
//
// The first error is kept in err, and later writes do nothing. Methods do not return errors.
type writeTx struct {
	ix  *Index
	err error

	meta, names, topics, positions, events, stories, storyEvents  *bolt.Bucket
	subjects, listeners, coverage, notes, times, due, gone, ahead *bolt.Bucket

	// The following fields hold what flush will write. Code that looks up a row must look here before it looks in the
	// bucket.
	moved       map[partition]struct{}      // partitions whose position or tail has changed
	touched     map[*listener]struct{}      // listeners whose coverage may have changed
	ends        logclient.Offsets           // ends of partitions, by the names of topics; see applyWithin
	lost        lostEnds                    // where leader epochs end; see applyWithin
	dirty       []storyNum                  // stories in ix.stories that have changed, each once
	blocks      map[partition]*writingBlock // the last block of each partition that events were added to
	hashes      *hashWriter
	newSubjects map[string]struct{} // new keys of the bucket subjects
	dropped     map[storyNum]bool   // stories that were removed, and whether they are in the bucket due

	found    []where // memory for what is looked up in hashes
	room     []byte  // memory for rows of stories
	anyAhead bool    // the bucket ahead has a row
}

func newWriteTx(ix *Index, tx *bolt.Tx) *writeTx {
	w := &writeTx{
		ix:   ix,
		meta: tx.Bucket(bucketMeta), names: tx.Bucket(bucketNames), topics: tx.Bucket(bucketTopics),
		positions: tx.Bucket(bucketPositions), events: tx.Bucket(bucketEvents),
		stories: tx.Bucket(bucketStories), storyEvents: tx.Bucket(bucketStoryEvents), subjects: tx.Bucket(bucketSubjects),
		listeners: tx.Bucket(bucketListeners), coverage: tx.Bucket(bucketCoverage), notes: tx.Bucket(bucketNotes),
		times: tx.Bucket(bucketTimes), due: tx.Bucket(bucketDue), gone: tx.Bucket(bucketGone), ahead: tx.Bucket(bucketAhead),
		moved: make(map[partition]struct{}), touched: make(map[*listener]struct{}),
		blocks: make(map[partition]*writingBlock), newSubjects: make(map[string]struct{}), dropped: make(map[storyNum]bool),
		hashes: newHashWriter(tx.Bucket(bucketHashes), &ix.runs),
	}
	w.hashes.gone = ix.goneStories
	first, _ := w.ahead.Cursor().First()
	w.anyAhead = first != nil
	// Rows that are added in the order of their keys and stay as they are can fill their pages. Stories grow, by half or so.
	w.events.FillPercent, w.times.FillPercent, w.storyEvents.FillPercent = 1, 0.95, 0.95
	w.stories.FillPercent, w.subjects.FillPercent = 0.65, 0.75
	return w
}

// write runs do in a write transaction, commits it, and wakes all goroutines that wait on ix.changes. It locks ix.mu.
//
// After an error, memory and file may differ. Every later write returns the same error, while reads still work.
func (ix *Index) write(do func(*writeTx)) (err error) {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	if ix.failed != nil {
		return ix.failed
	}
	defer func() {
		if p := recover(); p != nil { // bbolt panics on some kinds of damage
			err = fmt.Errorf("%w: %v", ErrDamaged, p)
		}
		if err != nil {
			ix.failed = fmt.Errorf("story: index %s: %w", ix.path, err)
			err = ix.failed
			ix.noteDamage(err)
		}
		close(ix.changed)
		ix.changed = make(chan struct{})
	}()
	tx, err := ix.db.Begin(true)
	if err != nil {
		return err
	}
	w := newWriteTx(ix, tx)
	committing := false
	defer func() {
		if !committing {
			tx.Rollback()
		}
	}()
	do(w)
	w.flush()
	if w.err != nil {
		return w.err
	}
	committing = true
	return tx.Commit()
}

// fail keeps err if it is the first error. A nil err is ignored.
func (tx *writeTx) fail(err error) {
	if tx.err == nil {
		tx.err = err
	}
}

// put writes a row. bbolt keeps k and v until the transaction ends, so the caller must not change them.
func (tx *writeTx) put(b *bolt.Bucket, k, v []byte) {
	if tx.err == nil {
		tx.fail(b.Put(k, v))
	}
}

// nameNum returns the number of a name. It assigns a number to a new name.
func (tx *writeTx) nameNum(s string) nameNum {
	n, ok := tx.ix.names[s]
	if !ok {
		n = nameNum(len(tx.ix.nameOf))
		s = strings.Clone(s) // it may be part of a larger string
		tx.ix.names[s] = n
		tx.ix.nameOf = append(tx.ix.nameOf, s)
		tx.put(tx.names, u32Key(uint32(n)), []byte(s))
	}
	return n
}

// topicNum returns the number of the topic that has the name now. It assigns a number to a new topic.
func (tx *writeTx) topicNum(name string) topicNum {
	n, ok := tx.ix.topics[name]
	if !ok {
		n = topicNum(len(tx.ix.topicOf) + 1)
		tx.ix.topics[name] = n
		tx.addTopic(n, &topicRow{name: name})
	}
	return n
}

// addTopic adds a new topic with number n.
func (tx *writeTx) addTopic(n topicNum, t *topicRow) {
	tx.ix.topicOf[n] = t
	tx.ix.topicByID[topicKey{t.name, t.id}] = n
	tx.putTopic(n)
}

// putTopic writes the row of topic n.
func (tx *writeTx) putTopic(n topicNum) {
	tx.put(tx.topics, u32Key(uint32(n)), tx.ix.topicOf[n].encode())
}

// listener returns the listener of a reaction on topic n, whose name is topic. If there is none, it adds one that has
// no subscription and has done nothing.
func (tx *writeTx) listener(reaction, topic string, n topicNum) *listener {
	j := tx.ix.judge
	key := obligation.SubscriptionKey(reaction, topic)
	li := j.listener(key, n)
	if li == nil {
		tx.ix.lastListener++
		li = &listener{num: tx.ix.lastListener, key: key, reaction: reaction, topic: n, covers: make(map[int32]*coverage)}
		j.add(li)
		tx.putListener(li)
	}
	return li
}

// putListener writes a listener's row, which does not include its coverage.
func (tx *writeTx) putListener(li *listener) { tx.put(tx.listeners, u32Key(li.num), li.encode()) }

// writeCoverage makes flush write the coverages of a listener that are dirty.
func (tx *writeTx) writeCoverage(li *listener) { tx.touched[li] = struct{}{} }

// findStory returns the number of the story with a correlation, and whether there is one.
func (tx *writeTx) findStory(correlation string) (storyNum, bool) {
	n, ok := tx.ix.byCorrelation[correlation]
	if ok {
		return n, true
	}
	places := tx.hashes.find(tx.found[:0], tx.ix.seed.text(hashCorrelation, correlation))
	tx.found = places
	if n, ok = storyAt(places, correlation, tx.storyRead); ok {
		tx.ix.byCorrelation[tx.ix.stories[n].correlation] = n
	}
	return n, ok
}

// storyAt returns the story with a correlation among those that its hash leads to, and whether there is one.
func storyAt(places []where, correlation string, row func(storyNum) *storyRow) (storyNum, bool) {
	for _, w := range places {
		if row(w.story()).correlation == correlation {
			return w.story(), true
		}
	}
	return 0, false
}

// storyOf returns the number of the story of an event. It assigns a number to a new story.
func (tx *writeTx) storyOf(e *cloudevent.Event) storyNum {
	if n, ok := tx.findStory(e.Correlation); ok {
		return n
	}
	tx.ix.stats.Stories++
	tx.ix.lastStory++
	n := tx.ix.lastStory
	tx.ix.byCorrelation[e.Correlation] = n
	tx.ix.stories[n] = &storyRow{correlation: e.Correlation, dirty: true}
	tx.dirty = append(tx.dirty, n)
	tx.hashes.add(tx.ix.seed.text(hashCorrelation, e.Correlation), whereOf(n, 0))
	return n
}

// story returns the row of story n, which the caller may change in place; flush writes it. After an error it returns
// an empty row.
func (tx *writeTx) story(n storyNum) *storyRow {
	s := tx.storyRead(n)
	if !s.dirty {
		s.dirty = true
		tx.dirty = append(tx.dirty, n)
	}
	return s
}

// storyRead returns the row of story n, which the caller must not change. After an error it returns an empty row.
func (tx *writeTx) storyRead(n storyNum) *storyRow {
	s := tx.ix.stories[n]
	if s == nil {
		var err error
		if s, err = decodeStory(tx.stories.Get(storyKey(n))); err != nil {
			tx.fail(err)
			s = new(storyRow)
		}
		tx.ix.stories[n] = s
	}
	return s
}

// addSubject makes story n findable by a subject. An empty one is ignored.
func (tx *writeTx) addSubject(subject string, n storyNum) {
	if subject != "" {
		tx.newSubjects[string(binary.BigEndian.AppendUint64(subjectKey(subject), uint64(n)))] = struct{}{}
	}
}

// addTrace makes story n, whose row is s, findable by the trace id in a trace context. One that is malformed is ignored.
func (tx *writeTx) addTrace(context string, n storyNum, s *storyRow) {
	const from, to = 3, 35 // where the id is; most events have that of the events before them
	if s.traced && len(context) >= to && tx.ix.seed.text(hashTrace, context[from:to]) == s.trace {
		return
	}
	id := cloudevent.TraceID(context)
	if id == "" {
		return
	}
	// The entry may be there already. Looking for it would take longer the more stories have the trace, which may be all of them.
	s.traced, s.trace = true, tx.ix.seed.text(hashTrace, id)
	tx.hashes.add(s.trace, whereOf(n, 0))
}

// scan implements eventStore.
func (tx *writeTx) scan(p partition, lo, hi int64, yield func(int64, eventHead) bool) {
	if lo >= hi || tx.err != nil || lo >= tx.ix.positions[p] {
		return
	}
	if w := tx.blocks[p]; w != nil {
		tx.writeBlock(w)
	}
	tx.fail(scanEvents(tx.events.Cursor(), p, lo, hi, yield))
}

// scanEvents calls yield for the events of p at offsets in [lo, hi), ascending, until yield returns false. c must be
// a cursor of the bucket events.
func scanEvents(c *bolt.Cursor, p partition, lo, hi int64, yield func(int64, eventHead) bool) error {
	prefix := partitionKey(p)
	for k, row := c.Seek(blockKey(location{p, lo})); len(k) == len(prefix)+8 && bytes.HasPrefix(k, prefix); k, row = c.Next() {
		first := int64(binary.BigEndian.Uint64(k[len(prefix):])) << blockBits
		if first >= hi {
			return nil
		}
		r := newBlockReader(row)
		for r.next() {
			switch offset := first + int64(r.place&(blockEvents-1)); {
			case offset >= hi:
				return nil
			case offset >= lo && !yield(offset, r.head):
				return nil
			}
		}
		if err := r.Err(); err != nil {
			return err
		}
	}
	return nil
}

// standing implements eventStore.
func (tx *writeTx) standing(n storyNum) *standing { return &tx.story(n).standing }

// position, missed, allMissed and marksRemoved are of logReader.
func (tx *writeTx) position(p partition) int64 { return tx.ix.positions[p] }
func (tx *writeTx) missed(p partition) miss    { return tx.ix.missed[p] }
func (tx *writeTx) allMissed() []location      { return tx.ix.allMissed() }
func (tx *writeTx) marksRemoved() bool         { return tx.ix.marksRemoved() }

// flush writes the changes that were collected in the transaction. Nothing may be changed after flush.
func (tx *writeTx) flush() {
	for p := range tx.moved {
		t := tx.ix.tails[p]
		if t == nil {
			t = newTail()
		}
		tx.put(tx.positions, partitionKey(p), positionRow{tx.ix.positions[p], t, tx.ix.forgotten[p], tx.ix.missed[p]}.encode())
	}
	for li := range tx.touched {
		for p, c := range li.covers {
			if c.dirty {
				tx.put(tx.coverage, coverageKey(li.num, p), c.encode())
				c.dirty = false
			}
		}
	}
	for _, w := range tx.blocks {
		tx.writeBlock(w)
	}
	tx.flushHashes()
	for _, k := range slices.Sorted(maps.Keys(tx.newSubjects)) {
		tx.put(tx.subjects, []byte(k), nil)
	}
	slices.Sort(tx.dirty)
	due := &dueWriter{tx: tx}
	for _, n := range tx.dirty {
		if listed, ok := tx.dropped[n]; !ok {
			tx.flushStory(n, tx.ix.stories[n], due)
		} else if delete(tx.ix.stories, n); listed {
			due.set(n, false)
		}
	}
	due.flush()
	tx.ix.goneStories.flush(tx)
	tx.put(tx.meta, keyStats, tx.ix.stats.encode())
	tx.put(tx.meta, keyLastStory, u64Key(uint64(tx.ix.lastStory)))
	if len(tx.ix.stories) > maxCached {
		clear(tx.ix.stories)
	}
	if len(tx.ix.byCorrelation) > maxCached {
		clear(tx.ix.byCorrelation)
	}
}

// flushStory writes the row of a story. It also updates the counts in Stats, and the entry of the story in tx.due, the
// bucket with the stories that the judge has to look at.
func (tx *writeTx) flushStory(n storyNum, s *storyRow, due *dueWriter) {
	s.dirty = false
	if now := s.class(); now != s.counted {
		tx.ix.stats.count(s.counted, -1)
		tx.ix.stats.count(now, +1)
		s.counted = now
	}
	if is := s.standing.due(); is != s.listed {
		s.listed = is
		due.set(n, is)
	}
	if cap(tx.room)-len(tx.room) < storyRoom {
		tx.room = make([]byte, 0, storyRoom*min(len(tx.dirty), 256))
	}
	begin := len(tx.room)
	tx.room = s.appendTo(tx.room)
	tx.put(tx.stories, storyKey(n), tx.room[begin:len(tx.room):len(tx.room)])
}

// flushHashes writes the entries that were added to the bucket hashes, and takes the merges of runs further.
func (tx *writeTx) flushHashes() {
	ix := tx.ix
	before := ix.runs.staleRow()
	tx.hashes.flush(func(to where) bool {
		n := to.story()
		return ix.goneStories.has(n) || to.group() > 0 && to.group() < ix.goneGroups[n]
	})
	tx.fail(tx.hashes.err)
	if row := ix.runs.staleRow(); !bytes.Equal(row, before) {
		tx.put(tx.meta, keyStale, row)
	}
}

// storyRoom is the number of bytes that nearly all rows of stories take less than.
const storyRoom = 256

package story

import (
	"bytes"
	"context"
	"encoding/binary"
	"maps"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"tidings.dev/internal/logclient"
	"tidings.dev/internal/obligation"
)

// The index forgets what retention has removed from the log, so that it is bounded as the log is: the events below the first
// offset of a partition, what reactions have recorded about them, and a story with its last event. Of a story that has
// other events it keeps how many it has forgotten (Story.GoneEvents). It keeps
//
//   - an event that a reaction owes, or has lost: the story stays open, and says so, until the reaction has retired or its
//     position was moved past the event
//   - with Options.Emit, the events of a story that is due for a verdict, until it has one
//   - all copies of an event until the last one is to be forgotten
//
// Topics that were deleted are not forgotten: it was not retention that took their events.

const (
	forgetEvery   = 30 * time.Second       // time between two passes of Run
	maxForgetting = 2048                   // rows and events that one transaction looks at, about
	forgetPause   = 2 * time.Millisecond   // after each transaction, for those who wait for the index
	forgetAfter   = 500 * time.Millisecond // pause of Run before its first pass
)

// Forget makes the index forget the events that retention has removed from the log, and that no reaction owes. Run does so
// every thirty seconds; a program that does not run that long may call Forget instead. Forget blocks until it is done or ctx is, and
// returns the error of ctx, the log or the index.
//
// What the file has room for is used again by later events: the file does not shrink.
func (x *Indexer) Forget(ctx context.Context) error {
	starts, err := x.follower.starts(ctx)
	if err != nil {
		return err
	}
	pass, err := x.ix.beginForgetting(starts, x.opts.Emit)
	for err == nil && pass != nil {
		var more bool
		if more, err = x.ix.forget(pass); err != nil || !more {
			return err
		}
		select {
		case <-time.After(forgetPause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return err
}

// forgetAgain calls Forget again and again until ctx is done.
func (x *Indexer) forgetAgain(ctx context.Context) {
	for pause := forgetAfter; ; pause = forgetEvery {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		if err := x.Forget(ctx); err != nil && ctx.Err() == nil {
			x.log.Debug("story: forgetting what retention has removed", "err", err)
		}
	}
}

// forgetting is a pass over all partitions in which there may be something to forget.
type forgetting struct {
	parts   []forgetPart // that are left; the first is under way
	sweep   bool         // sweepSubjects is under way, or to be done
	swept   []byte       // the key of the bucket subjects up to which it has come
	keepDue bool
	filling uint64 // ix.filling: the numbers of topics are of no use once the index was emptied
}

// forgetPart is a partition whose offsets below end are not in the log any more.
type forgetPart struct {
	partition
	next, end int64 // events below next were looked at
	listener  int   // listeners of the topic, in their order, of which nothing is left to be removed
}

// beginForgetting returns a pass, or nil if there is nothing to forget. starts are the first offsets in the log.
func (ix *Index) beginForgetting(starts logclient.Offsets, keepDue bool) (*forgetting, error) {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	if ix.failed != nil {
		return nil, ix.failed
	}
	pass := &forgetting{keepDue: keepDue, filling: ix.filling}
	err := ix.db.View(func(tx *bolt.Tx) error {
		for topic, partitions := range starts {
			n, ok := ix.topics[topic]
			if !ok || obligation.Internal(topic) {
				continue
			}
			for p, start := range partitions {
				part := forgetPart{partition: partition{n, p}}
				part.end = min(start, ix.positions[part.partition])
				there := false
				err := scanEvents(tx.Bucket(bucketEvents).Cursor(), part.partition, 0, part.end, func(int64, eventHead) bool {
					there = true
					return false
				})
				if err != nil {
					return err
				}
				if there {
					pass.parts = append(pass.parts, part)
				}
			}
		}
		return nil
	})
	if err != nil || len(pass.parts) == 0 {
		ix.noteDamage(err)
		return nil, err
	}
	slices.SortFunc(pass.parts, func(a, b forgetPart) int {
		return bytes.Compare(partitionKey(a.partition), partitionKey(b.partition))
	})
	return pass, nil
}

// forget takes the next step of a pass, in one transaction. It reports whether there are more.
func (ix *Index) forget(pass *forgetting) (more bool, err error) {
	err = ix.write(func(tx *writeTx) {
		if ix.filling != pass.filling {
			pass.parts, pass.sweep = nil, false
			return
		}
		tx.forget(pass)
	})
	return len(pass.parts) > 0 || pass.sweep, err
}

// forget implements Index.forget.
func (tx *writeTx) forget(pass *forgetting) {
	for left := maxForgetting; left > 0 && len(pass.parts) > 0 && tx.err == nil; {
		part := &pass.parts[0]
		if part.next < part.end {
			left -= tx.forgetEvents(part, pass.keepDue, left)
			continue
		}
		listeners := tx.ix.judge.byTopic[part.topic]
		if part.listener >= len(listeners) {
			pass.parts = pass.parts[1:]
			continue
		}
		n := tx.forgetRecorded(listeners[part.listener], part, left)
		if n == 0 {
			part.listener++
		}
		left -= max(n, 1)
	}
	if len(pass.parts) > 0 {
		return
	}
	if pass.sweep = pass.sweep || tx.ix.unswept > sweepAfter+tx.ix.stats.Stories/8; pass.sweep {
		tx.sweepSubjects(pass)
	}
}

// sweepAfter is how many stories of several subjects are forgotten, at least, before the bucket subjects is swept.
const sweepAfter = 1024

// sweepSubjects removes the next keys of the bucket subjects that lead to stories that were forgotten.
func (tx *writeTx) sweepSubjects(pass *forgetting) {
	tx.ix.unswept = 0
	var keys [][]byte
	c := tx.subjects.Cursor()
	k, _ := c.Seek(pass.swept)
	for range 4 * maxForgetting {
		if k == nil {
			break
		}
		if len(k) > storyLen && tx.ix.goneStories.has(storyNum(binary.BigEndian.Uint64(k[len(k)-storyLen:]))) {
			keys = append(keys, slices.Clone(k))
		}
		k, _ = c.Next()
	}
	pass.swept, pass.sweep = slices.Clone(k), k != nil
	for _, k := range keys {
		tx.fail(tx.subjects.Delete(k))
	}
}

// forgottenRecord is the record of an event that is to be forgotten.
type forgottenRecord struct {
	at location
	eventHead
}

// forgetEvents looks at about so many of the events of a partition from next on, and forgets those that nobody owes. It
// returns how many it has looked at, one at least.
func (tx *writeTx) forgetEvents(part *forgetPart, keepDue bool, most int) (looked int) {
	var heads []forgottenRecord // collected first, since rows must not change while they are iterated
	last := part.end
	tx.scan(part.partition, part.next, part.end, func(offset int64, e eventHead) bool {
		if len(heads) >= most {
			last = offset
			return false
		}
		heads = append(heads, forgottenRecord{location{part.partition, offset}, e})
		return true
	})
	forgotten := make(map[int64]eventHead)
	for _, h := range heads {
		if h.copy == surplusCopy { // the index can do without it, whatever becomes of its event
			forgotten[h.at.offset] = h.eventHead
			continue
		}
		if keepDue && tx.storyRead(h.story).due() || h.copy == laterCopy {
			continue
		}
		copies := []int64{h.at.offset}
		if h.copy == firstCopy {
			copies = tx.copies(h.at)
			if copies[len(copies)-1] >= part.end {
				continue
			}
		}
		if tx.ix.judge.owes(h.at, copies, h.typ) {
			continue
		}
		for _, o := range copies {
			head := h.eventHead
			if o != h.at.offset {
				head.copy = laterCopy
			}
			forgotten[o] = head
		}
	}
	tx.dropEvents(part.partition, forgotten)
	part.next = last
	if p := part.partition; tx.ix.forgotten[p] < last {
		tx.ix.forgotten[p] = last
		tx.moved[p] = struct{}{}
	}
	return max(len(heads), 1)
}

// owes reports whether a listener owes an event, whose copies are at offsets of the partition of a location, ascending.
func (j *judge) owes(at location, copies []int64, typ nameNum) bool {
	p := at.partition.partition
	return slices.ContainsFunc(j.byTopic[at.topic], func(li *listener) bool {
		return li.obliges(p, copies[0], typ) && !li.readCoverage(p).hasAny(copies)
	})
}

// dropEvents removes the events at offsets of a partition, and the stories that lose their last one.
func (tx *writeTx) dropEvents(p partition, forgotten map[int64]eventHead) {
	offsets := slices.Sorted(maps.Keys(forgotten))
	for len(offsets) > 0 && tx.err == nil {
		n := 1
		for n < len(offsets) && sameBlock(offsets[0], offsets[n]) {
			n++
		}
		key := blockKey(location{p, offsets[0]})
		switch row, err := blockWithout(tx.events.Get(key), offsets[:n]); {
		case err != nil:
			tx.fail(err)
		case len(row) == 0:
			tx.fail(tx.events.Delete(key))
		default:
			tx.put(tx.events, key, row)
		}
		offsets = offsets[n:]
	}
	touched := make(map[storyNum]struct{})
	for _, e := range forgotten {
		s := tx.story(e.story)
		s.gone++
		if e.copy.counts() {
			s.events--
			tx.ix.stats.Events--
		}
		touched[e.story] = struct{}{}
	}
	for n := range touched {
		switch s := tx.story(n); {
		case s.gone == s.rows && s.open == 0:
			tx.dropStory(n, s)
		default:
			tx.ix.judge.touch(n, &s.standing)
			tx.dropGroups(n, s)
		}
	}
}

// blockWithout returns the row of a block without the events at offsets, which are ascending.
func blockWithout(row []byte, offsets []int64) ([]byte, error) {
	var b eventBlock
	r := newBlockReader(row)
	for r.next() {
		if len(offsets) > 0 && int64(r.place&(blockEvents-1)) == offsets[0]&(blockEvents-1) {
			offsets = offsets[1:]
			continue
		}
		w := rowWriter{b.row}
		w.b = append(w.b, r.place)
		w.int(int64(r.head.story) - int64(b.story))
		w.uint(uint64(r.head.typ))
		w.int(r.at - b.at)
		w.uint(uint64(len(r.rest)))
		b.row = append(w.b, r.rest...)
		b.story, b.at = r.head.story, r.at
	}
	if len(offsets) > 0 && r.Err() == nil {
		return nil, errRow
	}
	return b.row, r.Err()
}

// dropStory removes a story, whose row is s, with all rows that lead to it but for its hashes, which are left out when runs
// are merged (hashmerge.go), and for subjects of events other than its own one, which sweepSubjects removes.
func (tx *writeTx) dropStory(n storyNum, s *storyRow) {
	for group := tx.ix.goneGroups[n]; group < s.rows/storyGroup; group++ {
		tx.fail(tx.storyEvents.Delete(storyGroupKey(n, group)))
	}
	if s.subject != "" {
		key := string(binary.BigEndian.AppendUint64(subjectKey(s.subject), uint64(n)))
		tx.fail(tx.subjects.Delete([]byte(key)))
	}
	tx.fail(tx.stories.Delete(storyKey(n)))
	tx.ix.stats.count(s.counted, -1)
	tx.ix.stats.Stories--
	tx.ix.judge.drop(n)
	tx.ix.goneStories.add(n)
	tx.ix.runs.forgotten = true
	delete(tx.ix.byCorrelation, s.correlation)
	if s.subjects {
		tx.ix.unswept++
	}
	delete(tx.ix.goneGroups, n)
	tx.dropped[n] = s.listed
}

// drop removes a story that is not due from all sets.
func (j *judge) drop(n storyNum) {
	delete(j.pending, n)
	delete(j.frozen, n)
	delete(j.incomplete, n)
	delete(j.publishing, n)
	delete(j.tried, n)
}

// dropGroups removes the rows of the bucket storyevents at the beginning of story n, whose row is s, of whose records none is
// left.
func (tx *writeTx) dropGroups(n storyNum, s *storyRow) {
	for group := tx.ix.goneGroups[n]; group < s.rows/storyGroup && uint32(s.gone) >= (group+1)*storyGroup; group++ {
		all, err := s.group(tx.storyEvents, n, group)
		tx.fail(err)
		for _, at := range all {
			r := newBlockReader(tx.blockRow(at))
			if r.seek(at.offset) {
				return
			}
		}
		tx.fail(tx.storyEvents.Delete(storyGroupKey(n, group)))
		tx.ix.goneGroups[n] = group + 1
	}
}

// forgetRecorded removes up to so many rows with what a listener has recorded about events of a partition that are forgotten.
// It returns how many it has removed.
func (tx *writeTx) forgetRecorded(li *listener, part *forgetPart, most int) (removed int) {
	prefix := coverageKey(li.num, part.partition.partition)
	remove := func(b *bolt.Bucket, end int64) {
		var keys [][]byte
		c := b.Cursor()
		for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix) && removed+len(keys) < most; k, _ = c.Next() {
			if len(k) < len(prefix)+8 || int64(binary.BigEndian.Uint64(k[len(prefix):])) >= end {
				break
			}
			keys = append(keys, slices.Clone(k))
		}
		for _, k := range keys {
			tx.fail(b.Delete(k))
		}
		removed += len(keys)
	}
	remove(tx.times, part.end>>timesBlockBits)
	remove(tx.notes, part.end)
	return removed
}

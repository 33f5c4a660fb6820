package story

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	bolt "go.etcd.io/bbolt"
	"tidings.dev/internal/cloudevent"
	"tidings.dev/internal/obligation"
	"tidings.dev/internal/offsets"
)

// verdict is a fact about one story that has to be appended to tidings.story.
type verdict struct {
	story storyNum
	fact  obligation.Fact // *obligation.Settled or *obligation.Reopened
}

// hasPending reports whether a story is to be judged that is no candidate yet.
func (ix *Index) hasPending() bool {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	return ix.judge.hasPending()
}

// freeze is step 1 of the judge's rule.
func (ix *Index) freeze() (round uint64) {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	return ix.judge.freeze()
}

// beginAll is step 1 of the judge's rule where all of the log must be read.
func (ix *Index) beginAll() (round uint64) {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	return ix.judge.beginAll()
}

// thaw ends the candidacy of all stories. They are due.
func (ix *Index) thaw() {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	ix.judge.thaw()
}

// verdicts is step 4 of the judge's rule: it returns the verdicts that are certain now, with the time at, and why others are not.
// The caller must append each, or pass its story to retryVerdicts. If the index has failed or fails here there are none.
func (ix *Index) verdicts(round uint64, at time.Time) (found []verdict, doubtful doubts) {
	found = ix.judged(at, func(store storyReader) (certain []storyNum) {
		certain, doubtful = ix.judge.verdicts(store, round)
		return certain
	})
	return found, doubtful
}

// allRead is verdicts when all of the log was read up to the high watermarks of a round.
func (ix *Index) allRead(round uint64, at time.Time) []verdict {
	return ix.judged(at, func(store storyReader) []storyNum { return ix.judge.allRead(store, round) })
}

// judged returns the verdicts about the stories that are certain.
func (ix *Index) judged(at time.Time, certain func(storyReader) []storyNum) (found []verdict) {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	if ix.failed != nil {
		return nil
	}
	err := ix.db.View(func(tx *bolt.Tx) error {
		store := &fileReader{ix: ix, tx: tx}
		for _, n := range certain(store) {
			s := store.story(n)
			found = append(found, verdict{n, ix.nextFact(n, s, at)})
		}
		return store.err
	})
	if err != nil {
		ix.failed = fmt.Errorf("story: index %s: %w", ix.path, err)
		return nil
	}
	return found
}

// fileReader is a storyReader on the index. Index.mu must be held as long as it is used. The first error sticks in err.
type fileReader struct {
	ix  *Index
	tx  *bolt.Tx
	err error
}

// story returns the row of a story, which must not be changed; an empty one after an error.
func (r *fileReader) story(n storyNum) *storyRow {
	if s := r.ix.stories[n]; s != nil {
		return s
	}
	s, err := decodeStory(r.tx.Bucket(bucketStories).Get(storyKey(n)))
	if err != nil {
		r.err = cmp.Or(r.err, err)
		return new(storyRow)
	}
	return s
}

// standing is of storyReader.
func (r *fileReader) standing(n storyNum) *standing { return &r.story(n).standing }

// position, missed, allMissed and marksRemoved are of logReader.
func (r *fileReader) position(p partition) int64 { return r.ix.positions[p] }
func (r *fileReader) missed(p partition) miss    { return r.ix.missed[p] }
func (r *fileReader) allMissed() []location      { return r.ix.allMissed() }
func (r *fileReader) marksRemoved() bool         { return r.ix.marksRemoved() }

// eventsOf is of storyReader.
func (r *fileReader) eventsOf(n storyNum, yield func(location) bool) {
	err := r.story(n).records(r.tx.Bucket(bucketStoryEvents), n, func(_ int, at location) bool { return yield(at) })
	r.err = cmp.Or(r.err, err)
}

// nextFact returns the fact to append about story n. If the append of a fact has failed and tidings.story has not
// reached its episode, that same fact is returned: it may be in the log, or may still arrive there, and one episode
// must not stand for two different facts. Changes to the story since then get the next episode, after that fact was
// read. ix.mu must be held.
func (ix *Index) nextFact(n storyNum, s *storyRow, at time.Time) obligation.Fact {
	if tried, ok := ix.judge.tried[n]; ok && episodeOf(tried) == s.episode+1 {
		return tried
	}
	return ix.newFact(s, at)
}

// episodeOf returns the episode of a verdict's fact.
func episodeOf(f obligation.Fact) int {
	switch f := f.(type) {
	case *obligation.Settled:
		return f.Episode
	case *obligation.Reopened:
		return f.Episode
	}
	return 0
}

// newFact returns the fact that describes the story now, with the episode after the last one. ix.mu must be held.
func (ix *Index) newFact(s *storyRow, at time.Time) obligation.Fact {
	if s.open > 0 {
		return &obligation.Reopened{Correlation: s.correlation, Root: s.root, Episode: s.episode + 1, Events: s.events, At: at}
	}
	return &obligation.Settled{Correlation: s.correlation, Root: s.root, Episode: s.episode + 1, Events: s.events, Through: ix.through(s), At: at}
}

// through returns the positions that a story.settled of the story covers: for each partition with an event of the
// story, the offset after the last event. What was removed before it was read, and may be owed, is left out. Deleted topics come last: receipts of earlier versions do not know the id of their
// topic, and go by the first position with its name. ix.mu must be held.
func (ix *Index) through(s *storyRow) (through []obligation.Position) {
	for _, gone := range []bool{false, true} {
		for _, end := range s.through {
			t := ix.topicOf[end.topic]
			if t.gone != gone {
				continue
			}
			at := obligation.Position{Topic: t.name, TopicID: t.id, Partition: end.partition.partition, Offset: end.offset}
			if owed := ix.owedBelow(end); owed.Lo < owed.Hi {
				at.Span = max(1, end.offset-owed.Hi) // at least the last event, which was read
				through = append(through, at)
				at.Offset, at.Span = owed.Lo, 0
			}
			through = append(through, at)
		}
	}
	return through
}

// owedBelow returns the offsets of a partition, below one, between which lie all that were removed before they were read and that a
// listener may owe. ix.mu must be held.
func (ix *Index) owedBelow(at location) (all offsets.Range) {
	m, log := ix.missed[at.partition], &fileReader{ix: ix}
	for _, r := range ix.judge.owed(log, removal{at.partition, offsets.Range{Lo: m.Lo, Hi: min(m.Hi, at.offset)}, true}) {
		if all.Lo == all.Hi {
			all = r
		}
		all = offsets.Range{Lo: min(all.Lo, r.Lo), Hi: max(all.Hi, r.Hi)}
	}
	return all
}

// stillPublishing returns the verdicts whose stories wait until a fact about them is read. It changes verdicts.
func (ix *Index) stillPublishing(verdicts []verdict) []verdict {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	return slices.DeleteFunc(verdicts, func(v verdict) bool {
		_, ok := ix.judge.publishing[v.story]
		return !ok
	})
}

// retryVerdicts makes the stories of failed verdicts due again, and remembers the facts for nextFact. If the index
// has failed, it does nothing; Run finds the error and returns it.
func (ix *Index) retryVerdicts(failed []verdict) {
	if len(failed) == 0 {
		return
	}
	_ = ix.write(func(tx *writeTx) {
		for _, v := range failed {
			if _, ok := ix.judge.publishing[v.story]; ok { // false if the index was rebuilt or the fact was read meanwhile
				ix.judge.tried[v.story] = v.fact
				ix.judge.retryVerdict(tx, v.story)
			}
		}
	})
}

// record returns the CloudEvents record of a verdict. The event id is a hash of the whole fact except its time, so
// that an indexer that restarts after a crash appends the same verdict with the same id.
func (v verdict) record() *kgo.Record {
	var at time.Time
	var timeless obligation.Fact
	switch f := v.fact.(type) {
	case *obligation.Settled:
		at = f.At
		c := *f
		c.At = time.Time{}
		timeless = &c
	case *obligation.Reopened:
		at = f.At
		c := *f
		c.At = time.Time{}
		timeless = &c
	}
	sum := sha256.Sum256(obligation.Encode(timeless))
	e := cloudevent.Event{
		ID: hex.EncodeToString(sum[:16]), Type: v.fact.Kind(), Source: Group, Subject: v.fact.Key(), Time: at, SchemaVersion: 1,
		Correlation: v.fact.Key(), ContentType: "application/json", Data: obligation.Encode(v.fact),
	}
	r := e.Record(v.fact.RecordTopic())
	r.Timestamp = at
	return r
}

package story

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	bolt "go.etcd.io/bbolt"
)

// readTx is one read transaction on the index. Index.read makes a readTx and holds Index.mu for reading while it
// lasts, so that file and memory agree. The first error is kept in err; methods that meet an error return zero
// values.
type readTx struct {
	ix     *Index
	bolt   *bolt.Tx
	hashes *hashReader
	err    error
}

// read runs do in a read transaction and returns its error. After Close it returns ErrClosed.
func (ix *Index) read(do func(*readTx) error) (err error) {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	if ix.db == nil {
		return ErrClosed
	}
	defer func() {
		if p := recover(); p != nil { // bbolt panics on some kinds of damage
			err = fmt.Errorf("%w: %v", ErrDamaged, p)
		}
		ix.noteDamage(err)
	}()
	return ix.db.View(func(tx *bolt.Tx) error {
		r := &readTx{ix: ix, bolt: tx, hashes: ix.hashReader(tx)}
		err := do(r)
		return cmp.Or(r.hashes.err, err)
	})
}

// hashReader returns a reader of the bucket hashes. ix.mu must be held, for reading at least, while it is used.
func (ix *Index) hashReader(tx *bolt.Tx) *hashReader {
	r := newHashReader(tx.Bucket(bucketHashes), ix.runs.runs)
	r.gone = ix.goneStories
	return r
}

// fail keeps err if it is the first error. A nil err is ignored.
func (tx *readTx) fail(err error) {
	if tx.err == nil {
		tx.err = err
	}
}

// event returns the row of the event at a location. ok is false if there is none.
func (tx *readTx) event(at location) (row eventRow, ok bool) {
	r := newBlockReader(tx.bolt.Bucket(bucketEvents).Get(blockKey(at)))
	if !r.seek(at.offset) {
		tx.fail(r.Err())
		return eventRow{}, false
	}
	row, err := r.event(tx.story(r.head.story))
	tx.fail(err)
	return row, err == nil
}

// story returns the row of story n, which must exist.
func (tx *readTx) story(n storyNum) *storyRow {
	s, err := decodeStory(tx.bolt.Bucket(bucketStories).Get(storyKey(n)))
	tx.fail(err)
	return s
}

// locationsOf returns the locations of all records of events with an id. Events of several sources and types may
// share an id. The id of a foreign record is its location.
func (tx *readTx) locationsOf(id string) []location {
	var locations []location
	hash := tx.ix.seed.text(hashEvent, id) &^ eventHashMask
	places := tx.hashes.find(nil, hash, hash|eventHashMask)
	slices.Sort(places)
	for _, w := range slices.Compact(places) {
		group, err := tx.story(w.story()).group(tx.bolt.Bucket(bucketStoryEvents), w.story(), w.group())
		tx.fail(err)
		for _, at := range group {
			if row, ok := tx.event(at); ok && row.id == id && !row.foreign {
				locations = append(locations, at)
			}
		}
	}
	if len(locations) > 0 {
		return locations
	}
	parts := strings.Split(id, "/") // the format of cloudevent.ForeignID
	if len(parts) != 3 {
		return nil
	}
	p, err1 := strconv.ParseInt(parts[1], 10, 32)
	o, err2 := strconv.ParseInt(parts[2], 10, 64)
	n, ok := tx.ix.topics[parts[0]]
	if err1 != nil || err2 != nil || !ok {
		return nil
	}
	return []location{{partition{n, int32(p)}, o}}
}

package story

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	bolt "go.etcd.io/bbolt"

	"tidings.dev/internal/fields"
)

// topicRow describes a topic. The bucket topics has one row per topic number (layout.go).
type topicRow struct {
	name string
	id   [16]byte // zero if no broker has named an id; the topic is then known only from records or subscriptions
	// gone means that the topic was deleted, or replaced by another topic of the same name. Events of it that were
	// not handled by then are lost.
	gone bool
	// early means that the topic is known only from facts in tidings.* topics. It may get the name soon, or may have
	// had the name before the index was made.
	early bool
	// absent means that the topic is early, and was not there when the brokers were last asked after that was known. It is not in
	// the file.
	absent bool
}

// lost reports whether nobody can read what is in the topic and was not read yet.
func (t *topicRow) lost() bool { return t.gone || t.absent }

// Bits of the first byte of an encoded topicRow.
const (
	flagGone  = 1
	flagEarly = 2
)

// topicKey identifies a topic by its name and its id.
type topicKey struct {
	name string
	id   [16]byte
}

// topicRowHead is the length in bytes of an encoded topicRow without its name.
const topicRowHead = 1 + 16

func (t *topicRow) encode() []byte {
	v := append([]byte{byte(flagIf(t.gone, flagGone) | flagIf(t.early, flagEarly))}, t.id[:]...)
	return append(v, t.name...)
}

func decodeTopic(b []byte) (*topicRow, error) {
	if len(b) < topicRowHead {
		return nil, errRow
	}
	return &topicRow{name: string(b[topicRowHead:]), id: [16]byte(b[1:topicRowHead]), gone: b[0]&flagGone != 0, early: b[0]&flagEarly != 0}, nil
}

// load replaces everything that the index has in memory by the content of the file, which must have all buckets.
// ix.mu must be held, unless no other goroutine has ix yet. Errors match ErrDamaged.
func (ix *Index) load(tx *bolt.Tx) error {
	ix.failed = nil
	ix.judge, ix.lastListener = newJudge(), 0
	ix.names, ix.nameOf = map[string]nameNum{"": 0}, []string{""}
	ix.topics, ix.topicOf, ix.topicByID = make(map[string]topicNum), make(map[topicNum]*topicRow), make(map[topicKey]topicNum)
	ix.positions, ix.tails = make(map[partition]int64), make(map[partition]*tail)
	ix.forgotten, ix.missed, ix.goneGroups = make(map[partition]int64), make(map[partition]miss), make(map[storyNum]uint32)
	ix.filling++
	ix.stories, ix.byCorrelation = make(map[storyNum]*storyRow), make(map[string]storyNum)
	ix.changed = make(chan struct{})
	ix.stats = Stats{}
	if b := tx.Bucket(bucketMeta).Get(keyStats); b != nil {
		var err error
		if ix.stats, err = decodeStats(b); err != nil {
			return fmt.Errorf("the counts: %w", err)
		}
	}
	seed := tx.Bucket(bucketMeta).Get(keySeed)
	if len(seed) != hashSeedLen {
		return fmt.Errorf("the seed: %w", errRow)
	}
	ix.seed = parseHashSeed(seed)
	if err := ix.loadForgotten(tx.Bucket(bucketMeta)); err != nil {
		return err
	}
	stale, err := loadStale(tx.Bucket(bucketMeta).Get(keyStale))
	if err != nil {
		return err
	}
	byNum := make(map[uint32]*listener)
	var runs hashRuns
	err = errors.Join(
		eachRow(tx, bucketNames, func(k *fields.Reader, v []byte) error {
			if int(k.Uint32()) != len(ix.nameOf) {
				return errRow
			}
			ix.names[string(v)] = nameNum(len(ix.nameOf))
			ix.nameOf = append(ix.nameOf, string(v))
			return nil
		}),
		eachRow(tx, bucketTopics, func(k *fields.Reader, v []byte) error {
			t, err := decodeTopic(v)
			if err != nil {
				return err
			}
			n := topicNum(k.Uint32())
			ix.topicOf[n] = t
			ix.topicByID[topicKey{t.name, t.id}] = n
			if !t.gone && !t.early {
				ix.topics[t.name] = n
			}
			return nil
		}),
		eachRow(tx, bucketPositions, func(k *fields.Reader, v []byte) error {
			p := partition{topicNum(k.Uint32()), int32(k.Uint32())}
			row, err := decodePosition(v)
			ix.positions[p], ix.tails[p] = row.next, row.tail
			if row.forgotten > 0 {
				ix.forgotten[p] = row.forgotten
			}
			if row.missed != (miss{}) {
				ix.missed[p] = row.missed
			}
			return err
		}),
		eachRow(tx, bucketListeners, func(k *fields.Reader, v []byte) error {
			li, err := decodeListener(k.Uint32(), v, ix.names)
			if err != nil {
				return err
			}
			byNum[li.num] = li
			ix.lastListener = max(ix.lastListener, li.num)
			ix.judge.add(li)
			return nil
		}),
		eachRow(tx, bucketCoverage, func(k *fields.Reader, v []byte) error {
			li, p := byNum[k.Uint32()], int32(k.Uint32())
			c, err := decodeCoverage(v)
			if err != nil || li == nil {
				return errRow
			}
			li.covers[p] = c
			if len(c.emitted) > 0 {
				ix.judge.reaching[c] = partition{li.topic, p}
			}
			return nil
		}),
		eachRow(tx, bucketDue, func(k *fields.Reader, v []byte) error { return loadDue(ix.judge.pending, k.Uint64(), v) }),
		eachRow(tx, bucketGone, func(k *fields.Reader, v []byte) error { return ix.goneStories.load(k.Uint64(), v) }),
		eachRow(tx, bucketHashes, func(k *fields.Reader, v []byte) (err error) {
			num, piece := k.Uint32(), k.Uint32()
			if pieces, ok := stale[num]; ok {
				stale[num] = max(pieces, int(piece)+1)
				return nil
			}
			runs.runs, err = loadHashRun(runs.runs, num, piece, v)
			return err
		}),
	)
	for _, num := range slices.Sorted(maps.Keys(stale)) {
		runs.stale = append(runs.stale, staleRun{num, stale[num]})
	}
	// Each event has an entry or two, and so has each story.
	runs.compacted, runs.forgotten = int(ix.stats.Events+2*ix.stats.Stories), !ix.goneStories.empty()
	ix.runs = runs
	return err
}

// loadForgotten loads what the bucket meta has about stories that were forgotten.
func (ix *Index) loadForgotten(meta *bolt.Bucket) error {
	last, err1 := numberAt(meta.Get(keyLastStory))
	below, err2 := numberAt(meta.Get(keyForgotten))
	ix.lastStory, ix.goneStories = storyNum(last), newStorySet()
	ix.goneStories.below = storyNum(below)
	return errors.Join(err1, err2)
}

// loadStale decodes the row of the key stale in the bucket meta.
func loadStale(row []byte) (map[uint32]int, error) {
	stale := make(map[uint32]int)
	if len(row)%4 != 0 {
		return nil, errRow
	}
	for ; len(row) > 0; row = row[4:] {
		stale[binary.BigEndian.Uint32(row)] = 0
	}
	return stale, nil
}

// eachRow calls f for each row of a bucket, in the order of keys, until f returns an error or reads past the end of
// the key. Errors match ErrDamaged.
func eachRow(tx *bolt.Tx, bucket []byte, f func(k *fields.Reader, v []byte) error) error {
	return tx.Bucket(bucket).ForEach(func(k, v []byte) error {
		kr := fields.NewReader(k, errRow)
		err := f(&kr, v)
		if err == nil {
			err = kr.Err()
		}
		if err != nil {
			return fmt.Errorf("bucket %s: %w", bucket, err)
		}
		return nil
	})
}

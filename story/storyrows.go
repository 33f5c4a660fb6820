package story

import (
	"encoding/binary"
	"slices"

	bolt "go.etcd.io/bbolt"
)

// The records of a story are numbered in the order in which the index has read them. The locations of the last ones are in the
// row of the story; whenever there are storyGroup of them, they become a row of the bucket storyevents:
//
//	│ story 8 │ group 4 │   →   location │ …
//	location: │ topic uint │ partition uint │ offset int: the difference from that of the location before │
const storyGroup = 32

func storyGroupKey(n storyNum, group uint32) []byte {
	return binary.BigEndian.AppendUint32(storyKey(n), group)
}

// locations writes locations one after the other.
func (w *rowWriter) locations(all []location) {
	last := int64(0)
	for _, at := range all {
		w.uint(uint64(at.topic))
		w.uint(uint64(at.partition.partition))
		w.int(at.offset - last)
		last = at.offset
	}
}

// locations reads n locations.
func (r *rowReader) locations(n int) []location {
	all := make([]location, 0, n)
	last := int64(0)
	for range n {
		at := location{partition{topicNum(r.Uvarint()), int32(r.Uvarint())}, last + r.Varint()}
		last = at.offset
		all = append(all, at)
	}
	return all
}

// group returns the locations of the records of a group of story n, whose row is s, also of some or all of those that were
// forgotten.
func (s *storyRow) group(storyEvents *bolt.Bucket, n storyNum, group uint32) ([]location, error) {
	if group == s.rows/storyGroup {
		return s.recent, nil
	}
	row := storyEvents.Get(storyGroupKey(n, group))
	if row == nil && s.gone >= storyGroup {
		return nil, nil // all of them were forgotten
	}
	r := newRowReader(row)
	all := r.locations(storyGroup)
	return all, r.End()
}

// records calls yield with the numbers, from 1, and the locations of the records of story n, whose row is s, until yield returns
// false. Some of them, or all, may have been forgotten.
func (s *storyRow) records(storyEvents *bolt.Bucket, n storyNum, yield func(number int, at location) bool) error {
	for group := range s.rows/storyGroup + 1 {
		all, err := s.group(storyEvents, n, group)
		if err != nil {
			return err
		}
		for i, at := range all {
			if !yield(int(group)*storyGroup+i+1, at) {
				return nil
			}
		}
	}
	return nil
}

// maxIDHashes is the number of records of a story among which the cause of another one is looked for.
const maxIDHashes = 64

// recordOf returns the number, from 1, of a record whose id has a hash; 0 if it is not among those that are known.
func (s *storyRow) recordOf(idHash uint64) uint32 {
	if i := slices.Index(s.idHashes, idHash); i >= 0 {
		return s.rows - uint32(len(s.idHashes)-i) + 1
	}
	return 0
}

// addRecord adds the location of a record to story n, whose row is s.
func (tx *writeTx) addRecord(n storyNum, s *storyRow, at location, idHash uint64) {
	group := s.rows / storyGroup
	if len(s.idHashes) == maxIDHashes {
		s.idHashes = append(s.idHashes[:0], s.idHashes[maxIDHashes/2:]...)
	}
	s.idHashes = append(s.idHashes, idHash)
	s.recent = append(s.recent, at)
	s.rows++
	s.extendThrough(at)
	if len(s.recent) == storyGroup {
		var w rowWriter
		w.locations(s.recent)
		tx.put(tx.storyEvents, storyGroupKey(n, group), w.b)
		s.recent = nil
	}
}

package story

import (
	"encoding/binary"
	"maps"
	"slices"
)

// storySet is the set of the stories that the index has forgotten. Their numbers are not given again. All stories below a
// number are in it, and those from there on as far as their bits say. The bucket gone has the bits, as the bucket due has
// those of its stories; the number is that of the key forgotten in the bucket meta:
//
//	│ story / setStories, 8 │   →   bits, 128 bytes: the lowest bit of the first byte is the first story
type storySet struct {
	below storyNum            // a multiple of setStories
	rows  map[uint64]*setRow  // by number / setStories
	dirty map[uint64]struct{} // rows that the file does not have like this
}

const setStories = 1024

type setRow [setStories / 8]byte

func newStorySet() *storySet {
	return &storySet{rows: make(map[uint64]*setRow), dirty: make(map[uint64]struct{})}
}

// has reports whether a story is in the set. A nil set is empty.
func (s *storySet) has(n storyNum) bool {
	if s == nil || n < s.below {
		return s != nil
	}
	row := s.rows[uint64(n/setStories)]
	return row != nil && row[n%setStories/8]&(1<<(n%8)) != 0
}

// add adds a story.
func (s *storySet) add(n storyNum) {
	if n < s.below {
		return
	}
	block := uint64(n / setStories)
	if s.rows[block] == nil {
		s.rows[block] = new(setRow)
	}
	s.rows[block][n%setStories/8] |= 1 << (n % 8)
	s.dirty[block] = struct{}{}
}

// empty reports whether no story is in the set.
func (s *storySet) empty() bool { return s.below == 0 && len(s.rows) == 0 }

// full is a row with all its stories.
var full = func() (row setRow) {
	for i := range row {
		row[i] = 0xff
	}
	return row
}()

// flush writes the rows that have changed.
func (s *storySet) flush(tx *writeTx) {
	if len(s.dirty) == 0 {
		return
	}
	below := s.below
	for {
		block := uint64(s.below / setStories)
		row := s.rows[block]
		if row == nil {
			break
		}
		all := *row
		if block == 0 {
			all[0] |= 1 // no story has the number 0
		}
		if all != full {
			break
		}
		delete(s.rows, block)
		s.dirty[block] = struct{}{}
		s.below += setStories
	}
	for _, block := range slices.Sorted(maps.Keys(s.dirty)) {
		if row := s.rows[block]; row != nil {
			tx.put(tx.gone, u64Key(block), slices.Clone(row[:]))
		} else if tx.err == nil {
			tx.fail(tx.gone.Delete(u64Key(block)))
		}
	}
	if s.below != below {
		tx.put(tx.meta, keyForgotten, u64Key(uint64(s.below)))
	}
	clear(s.dirty)
}

// load adds a row of the bucket gone.
func (s *storySet) load(block uint64, bits []byte) error {
	if len(bits) != len(setRow{}) || storyNum(block) < s.below/setStories {
		return errRow
	}
	row := setRow(bits)
	s.rows[block] = &row
	return nil
}

// numberAt returns the number in a row of the bucket meta, and 0 if there is no row.
func numberAt(row []byte) (uint64, error) {
	switch len(row) {
	case 0:
		return 0, nil
	case 8:
		return binary.BigEndian.Uint64(row), nil
	}
	return 0, errRow
}

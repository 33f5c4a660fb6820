package story

import (
	"math"
	"slices"
)

// maxCopies is the maximum number of records that are copies of one event, and of places that the hash of an event leads to. If more
// records have the same identity, each further record counts as an event of its own that has no copies, and may not be found by its
// id: a program that gives all its events one id must not make each of them dearer than the one before.
const maxCopies = 64

// addEventID makes an event findable by its id, and returns the copyKind of its record. If the event has one other record in
// the partition, addEventID changes the row of that record to firstCopy. The row of the new record need not exist yet; it will
// be in a group of records of its story. idHash is the hash of the id.
func (tx *writeTx) addEventID(e *eventRow, idHash uint64, at location, group uint32) copyKind {
	hash := tx.ix.seed.event(idHash, e.source, e.typ)
	found := tx.hashes.find(tx.found[:0], hash)
	tx.found = found
	to := whereOf(e.story, group)
	if len(found) >= maxCopies {
		return onlyCopy
	}
	if !slices.Contains(found, to) {
		tx.hashes.add(hash, to)
	}
	if len(found) == 0 {
		return onlyCopy
	}
	copies := tx.recordsAt(found, e, maxCopies)
	if len(copies) == maxCopies {
		return onlyCopy
	}
	kind := onlyCopy
	for _, c := range copies {
		if c.at.partition != at.partition {
			continue
		}
		kind = laterCopy
		if c.kind == onlyCopy {
			tx.markCopy(c.at, firstCopy)
		}
	}
	return kind
}

// copyRecord is a record of an event that may have several.
type copyRecord struct {
	at   location
	kind copyKind
}

// recordsAt returns the records of an event among those in places that its hash leads to, up to a number of them. Events are the same
// if their ids, sources and types are.
func (tx *writeTx) recordsAt(places []where, e *eventRow, most int) (records []copyRecord) {
	slices.Sort(places)
	for _, w := range slices.Compact(places) {
		s := tx.storyRead(w.story())
		all, err := s.group(tx.storyEvents, w.story(), w.group())
		tx.fail(err)
		for _, at := range all {
			r := newBlockReader(tx.blockRow(at))
			if !r.seek(at.offset) {
				if at.offset < tx.ix.forgotten[at.partition] && r.Err() == nil {
					continue
				}
				tx.fail(errRow)
				return nil
			}
			if r.head.typ != e.typ {
				continue
			}
			row, err := r.event(s)
			tx.fail(err)
			if row.id == e.id && row.source == e.source && !row.foreign {
				if records = append(records, copyRecord{at, row.copy}); len(records) == most {
					return records
				}
			}
		}
	}
	return records
}

// copies implements eventStore.
func (tx *writeTx) copies(at location) []int64 {
	row := tx.event(at)
	if row.copy == onlyCopy {
		return []int64{at.offset}
	}
	var offsets []int64
	hash := tx.ix.seed.event(tx.ix.seed.text(hashEvent, row.id), row.source, row.typ)
	for _, c := range tx.recordsAt(tx.hashes.find(nil, hash), &row, math.MaxInt) {
		// Records of the same event in other partitions are not copies for the judge, because each listener handles them
		// separately. One with onlyCopy in this partition was too many.
		if c.at.partition == at.partition && c.kind != onlyCopy {
			offsets = append(offsets, c.at.offset)
		}
	}
	if len(offsets) == 0 {
		return []int64{at.offset}
	}
	slices.Sort(offsets)
	return offsets
}

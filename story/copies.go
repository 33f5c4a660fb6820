package story

import "slices"

// maxCopies is the maximum number of records of one event in a partition that the judge looks at, and of places that the hash of an event
// leads to. Each further record with the same identity is a surplusCopy, which counts for nothing, and may not be found by its id: a
// program that gives all its events one id must not make each of them dearer than the one before.
const maxCopies = 64

// addEventID makes an event findable by its id, and returns the copyKind of its record. If the event has one other record in
// the partition, addEventID changes the row of that record to firstCopy. The row of the new record need not exist yet; it will
// be in a group of records of its story. idHash is the hash of the id.
func (tx *writeTx) addEventID(e *eventRow, idHash uint64, at location, group uint32) copyKind {
	hash := tx.ix.seed.event(idHash, e.source, e.typ)
	found := tx.hashes.find(tx.found[:0], hash)
	tx.found = found
	to := whereOf(e.story, group)
	full := len(found) >= maxCopies
	if !full && !slices.Contains(found, to) {
		tx.hashes.add(hash, to)
	}
	if len(found) == 0 {
		return onlyCopy
	}
	surplus := tx.ix.seed.surplus(hash, at.partition)
	if len(tx.hashes.find(nil, surplus)) > 0 {
		return surplusCopy
	}
	copies := tx.recordsAt(found, e, at.partition)
	// The next record in this partition need not look: it is not the first, and this one or another has its event.
	if full || len(copies) >= maxCopies-1 {
		tx.hashes.add(surplus, to)
	}
	if len(copies) == 0 {
		return onlyCopy
	}
	if full {
		return surplusCopy // which nobody finds by the hash
	}
	for _, c := range copies {
		if c.kind == onlyCopy {
			tx.markCopy(c.at, firstCopy)
		}
	}
	return laterCopy
}

// copyRecord is a record of an event that may have several.
type copyRecord struct {
	at   location
	kind copyKind
}

// recordsAt returns the records of an event in a partition among those in places that its hash leads to, without those that are a
// surplusCopy. Events are the same if their ids, sources and types are.
func (tx *writeTx) recordsAt(places []where, e *eventRow, p partition) (records []copyRecord) {
	slices.Sort(places)
	for _, w := range slices.Compact(places) {
		s := tx.storyRead(w.story())
		all, err := s.group(tx.storyEvents, w.story(), w.group())
		tx.fail(err)
		for _, at := range all {
			if at.partition != p {
				continue
			}
			r := newBlockReader(tx.blockRow(at))
			if !r.seek(at.offset) {
				if at.offset < tx.ix.forgotten[at.partition] && r.Err() == nil {
					continue
				}
				tx.fail(errRow)
				return nil
			}
			if r.head.typ != e.typ || r.head.copy == surplusCopy {
				continue
			}
			row, err := r.event(s)
			tx.fail(err)
			if row.id == e.id && row.source == e.source && !row.foreign {
				records = append(records, copyRecord{at, row.copy})
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
	// Records of the same event in other partitions are not copies for the judge, because each listener handles them separately.
	for _, c := range tx.recordsAt(tx.hashes.find(nil, hash), &row, at.partition) {
		if c.kind != onlyCopy { // as those that were too many for an earlier version of the index
			offsets = append(offsets, c.at.offset)
		}
	}
	if len(offsets) == 0 {
		return []int64{at.offset}
	}
	slices.Sort(offsets)
	return offsets
}

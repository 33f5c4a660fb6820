package story

import (
	"crypto/sha256"
	"slices"

	"tidings.dev/internal/cloudevent"
)

// maxCopies is the maximum number of locations that are kept for one event. If more records have the same identity,
// each further record counts as an event of its own that has no copies.
const maxCopies = 64

// eventKey is a key of the bucket ids. It begins with a hash of the event's id, by which readTx.locationsOf finds
// events, and ends with the event's identity, by which copies are found.
type eventKey [idHashLen + 16]byte

// idHashLen is the number of bytes of the hash in a key. Ids with the same hash are told apart by the ids in the rows
// of their events.
const idHashLen = 8

func eventKeyOf(id string, identity cloudevent.Identity) (k eventKey) {
	copy(k[:idHashLen], idHash(id))
	copy(k[idHashLen:], identity[:])
	return k
}

// idHash returns the first idHashLen bytes of the SHA-256 of an event's id. The keys of all events with the id begin
// with this prefix.
func idHash(id string) []byte {
	sum := sha256.Sum256([]byte(id))
	return sum[:idHashLen]
}

// addEventID adds the location of a record to the locations of its event, and returns the copyKind of the record. If
// the event has one other record in the partition, addEventID changes the row of that record to firstCopy. The row of
// the new record need not exist yet.
func (tx *writeTx) addEventID(id string, identity cloudevent.Identity, at location) copyKind {
	k := eventKeyOf(id, identity)
	locations := tx.locationsOf(k)
	if len(locations) >= maxCopies {
		return onlyCopy
	}
	kind := onlyCopy
	for _, o := range offsetsIn(at.partition, locations) {
		kind = laterCopy
		earlier := location{at.partition, o}
		row := tx.event(earlier)
		if row.copy == onlyCopy {
			row.copy, row.identity = firstCopy, identity
			tx.put(tx.events, locationKey(earlier), row.encode())
		}
	}
	tx.newIDs[k] = append(locations, at)
	return kind
}

// locationsOf returns the locations of all records of an event that were read, including those added in this
// transaction.
func (tx *writeTx) locationsOf(k eventKey) []location {
	if locations, ok := tx.newIDs[k]; ok {
		return locations
	}
	return parseLocations(tx.ids.Get(k[:]))
}

// offsetsIn returns the offsets of the locations in partition p, ascending. Records of the same event in other
// partitions are not copies for the judge, because each listener handles them separately.
func offsetsIn(p partition, locations []location) []int64 {
	var offsets []int64
	for _, at := range locations {
		if at.partition == p {
			offsets = append(offsets, at.offset)
		}
	}
	slices.Sort(offsets)
	return offsets
}

// copies implements eventStore.
func (tx *writeTx) copies(at location) []int64 {
	row := tx.event(at)
	if offsets := offsetsIn(at.partition, tx.locationsOf(eventKeyOf(row.id, row.identity))); row.copy != onlyCopy && len(offsets) > 0 {
		return offsets
	}
	return []int64{at.offset}
}

package batch

import "encoding/binary"

// A transaction marker is a control batch with one record, which ends the transaction of its producer in a partition. The
// key of the record has a version, 0, and the type, and its value a version, 0, and the epoch of the coordinator. The
// numbers are big-endian.
//
//	key    0        2         4       value  0        2                   6
//	       +--------+---------+              +--------+-------------------+
//	       | ver i16| type i16|              | ver i16| coordinator epoch |
//	       +--------+---------+              +--------+-------------------+
const (
	markerKeyBytes = 4
	abortType      = 0
	commitType     = 1
)

// AppendMarker appends to dst a transaction marker of a producer with the base offset 0, and returns the result.
// timestamp is in milliseconds since the Unix epoch.
func AppendMarker(dst []byte, producerID int64, epoch int16, commit bool, timestamp int64) []byte {
	var key [markerKeyBytes]byte
	var value [6]byte
	if commit {
		binary.BigEndian.PutUint16(key[2:], commitType)
	}
	var b Builder
	b.Producer(producerID, epoch, -1)
	b.Transactional(true)
	b.Add(timestamp, key[:], value[:])
	return append(dst, b.Batch()...)
}

// Marker reports whether a control batch is a transaction marker, and whether it commits the transaction. Control batches
// of other types, and those without records, are none. v must have passed Check.
func (v View) Marker() (commit, ok bool) {
	for r, err := range Records(v, len(v)) {
		if err != nil || len(r.Key) < markerKeyBytes {
			return false, false
		}
		kind := binary.BigEndian.Uint16(r.Key[2:])
		return kind == commitType, kind == commitType || kind == abortType
	}
	return false, false
}

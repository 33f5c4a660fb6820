package bench

import "encoding/binary"

// stamp writes into values the number of the run, by which a consumer recognizes the records of its own run, and the
// time at which the record should have been sent. Offsets are in bytes:
//
//	0        8        16
//	+--------+--------+-------------
//	| run    | time   | payload
//	+--------+--------+-------------
type stamp struct{ run uint64 }

// stampBytes is the size of a stamp.
const stampBytes = 16

func (s *stamp) put(value []byte, intended int64) {
	binary.LittleEndian.PutUint64(value, s.run)
	binary.LittleEndian.PutUint64(value[8:], uint64(intended))
}

// read returns the time at which a record should have been sent. The second result is false if the record is from
// another run.
func (s *stamp) read(value []byte) (int64, bool) {
	if len(value) < stampBytes || binary.LittleEndian.Uint64(value) != s.run {
		return 0, false
	}
	return int64(binary.LittleEndian.Uint64(value[8:])), true
}

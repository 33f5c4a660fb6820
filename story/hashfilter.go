package story

import "encoding/binary"

// Nearly all events are new, so that most lookups of a hash find nothing. A piece of a run begins with a filter of one byte for
// each entry, which says so after one look at filterLine bytes of it, with an error in one case of thirty:
//
//	│ lines 2 │ lines × filterLine bytes │
//
// An entry has three bits, all in one line.
const filterLine = 64

// appendFilter appends the filter of entries, which are encoded.
func appendFilter(b, entries []byte) []byte {
	lines := max(1, len(entries)/hashEntryLen/filterLine)
	b = binary.BigEndian.AppendUint16(b, uint16(lines))
	filter := len(b)
	b = append(b, make([]byte, lines*filterLine)...)
	for ; len(entries) > 0; entries = entries[hashEntryLen:] {
		line, bits := filterBits(binary.BigEndian.Uint64(entries), lines)
		for _, bit := range bits {
			b[filter+line*filterLine+int(bit/8)] |= 1 << (bit % 8)
		}
	}
	return b
}

// filterBits returns where the bits of a hash are: the line, and the bits in it.
func filterBits(hash uint64, lines int) (line int, bits [3]uint16) {
	const odd, mask = 0x9e3779b97f4a7c15, filterLine*8 - 1
	x := hash * odd
	return int((x & (1<<32 - 1)) * uint64(lines) >> 32), [3]uint16{uint16(x>>37) & mask, uint16(x>>46) & mask, uint16(x >> 55)}
}

// hashPiece is a piece of a run. The fields share memory with its row.
type hashPiece struct {
	filter  []byte
	entries []byte // encoded
}

// parsePiece decodes a row of the bucket hashes.
func parsePiece(row []byte) (p hashPiece, err error) {
	if len(row) < 2 {
		return p, errRow
	}
	lines := int(binary.BigEndian.Uint16(row))
	row = row[2:]
	if lines == 0 || len(row) <= lines*filterLine || (len(row)-lines*filterLine)%hashEntryLen != 0 {
		return p, errRow
	}
	return hashPiece{row[:lines*filterLine], row[lines*filterLine:]}, nil
}

// mayHave reports whether a hash may be among the entries.
func (p hashPiece) mayHave(hash uint64) bool {
	if len(p.filter) == 0 {
		return false // the row is damaged
	}
	line, bits := filterBits(hash, len(p.filter)/filterLine)
	in := p.filter[line*filterLine:][:filterLine]
	for _, bit := range bits {
		if in[bit/8]&(1<<(bit%8)) == 0 {
			return false
		}
	}
	return true
}

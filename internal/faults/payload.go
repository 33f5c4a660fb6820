package faults

import (
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
)

// Payload returns the value of a record that a test's producer sends. seq is its number in the producer's sequence,
// from 0 on:
//
//	producer # seq, decimal # CRC-32 (IEEE) of what is before the second '#', 8 hexadecimal digits
//
// From the value a ledger knows the record's producer and place in the producer's sequence, and that its bytes are
// intact. producer must not contain '#'.
func Payload(producer string, seq int) string {
	s := producer + "#" + strconv.Itoa(seq)
	return fmt.Sprintf("%s#%08x", s, crc32.ChecksumIEEE([]byte(s)))
}

// ParsePayload parses a result of Payload. ok is false for all other values.
func ParsePayload(s string) (producer string, seq int, ok bool) {
	parts := strings.Split(s, "#")
	if len(parts) != 3 {
		return "", 0, false
	}
	seq, err := strconv.Atoi(parts[1])
	if err != nil || strconv.Itoa(seq) != parts[1] || len(parts[2]) != 8 {
		return "", 0, false
	}
	// This does not call Payload, since audits of power cuts spend most of their time in ParsePayload.
	sum, err := strconv.ParseUint(parts[2], 16, 32)
	return parts[0], seq, err == nil && uint32(sum) == crc32.ChecksumIEEE([]byte(s[:len(s)-len("#")-8]))
}

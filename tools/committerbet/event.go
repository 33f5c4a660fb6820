//go:build linux

package main

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/fnv"
)

// event is the JSON value of a record in the source topic. The record's key is Subject.
type event struct {
	ID      string
	Subject string
	Seq     int   // number of earlier events of the subject
	Sent    int64 // time in Unix nanoseconds
	Refused bool  // the first attempt to handle the event emits a record that the log refuses
}

// emission is the JSON value of a record that a handler emits to the derived topic. The record's key is Subject.
type emission struct {
	ID      string
	Type    string
	Subject string
	N       int // number of earlier emissions of this type and subject in the same call of the handler
	Cause   event
	Padding string
}

const (
	reaction          = "bet"
	derivationVersion = "1"
)

// identity returns a hash of the source, type and id of the event.
func (e event) identity() []byte { return hashOf("/committerbet", "source", e.ID) }

// emissions returns what every handler of this event emits: zero to three emissions, whose ids are derived from the
// event alone.
func (e event) emissions() []emission {
	var all []emission
	add := func(kind, subject string, n int) {
		id := hashOf(derivationVersion, string(e.identity()), reaction, kind, subject, fmt.Sprint(n))
		all = append(all, emission{hex.EncodeToString(id), kind, subject, n, e, ""})
	}
	h := hashNumber(e.ID)
	fan := h % 4
	if e.Refused {
		fan = max(fan, 1)
	}
	if fan >= 1 {
		add("captured", e.Subject, 0)
	}
	if fan >= 2 {
		add("captured", e.Subject, 1)
	}
	if fan >= 3 {
		add("notified", fmt.Sprint("customer/", hashNumber(e.Subject)%50), 0)
	}
	return all
}

// hashOf returns the first 128 bits of the SHA-256 of the parts, each preceded by its length.
func hashOf(parts ...string) []byte {
	h := sha256.New()
	for _, p := range parts {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(p)))
		h.Write(size[:])
		h.Write([]byte(p))
	}
	return h.Sum(nil)[:16]
}

// hashNumber returns a hash of s of 31 bits.
func hashNumber(s string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(s))
	// The multiplication is needed because the low bits of FNV are poor for strings that differ only in their last
	// bytes.
	return (h.Sum64() * 0x9E3779B97F4A7C15) >> 33
}

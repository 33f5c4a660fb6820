package cloudevent

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// Identity identifies an event: records with the same identity are copies of one event, wherever they are. According
// to CloudEvents, an id is unique among the events of its source. Here the type is part of the identity as well, so
// that several facts about one thing may have the same id. A foreign record is identified by its place.
//
// An Identity is a hash of 128 bits that is the same in every process, version and architecture. Identities are
// compared with those in logs and index files, so the formula must never change.
type Identity [16]byte

// Identity returns the event's identity. For an event with an id it is the hash of "event", source, type and id. For a
// foreign record it is the hash of "place", topic id, partition and offset, with the topic's name in place of the id
// if TopicID is zero.
func (e *Event) Identity() Identity {
	if e.identity != (Identity{}) {
		return e.identity
	}
	if !e.Foreign {
		return hash128("event", e.Source, e.Type, e.ID)
	}
	topic := e.Topic
	if e.TopicID != [16]byte{} {
		topic = string(e.TopicID[:])
	}
	var place [12]byte
	binary.BigEndian.PutUint32(place[:], uint32(e.Partition))
	binary.BigEndian.PutUint64(place[4:], uint64(e.Offset))
	return hash128("place", topic, string(place[:4]), string(place[4:]))
}

// KeepIdentity works out the event's identity, so that Identity need not do so each time. The fields that the identity follows
// from must not be changed afterwards.
func (e *Event) KeepIdentity() { e.identity = e.Identity() }

// String returns the identity as 32 hexadecimal digits.
func (i Identity) String() string { return hex.EncodeToString(i[:]) }

// hash128 returns the first 128 bits of the SHA-256 of its arguments, each preceded by its length (8 bytes, big
// endian), so that different lists of arguments have different hashes. It must be a cryptographic hash: senders choose
// ids, and a sender that could find two inputs with the same hash could have another sender's event dropped as a copy.
func hash128(parts ...string) [16]byte {
	var room [512]byte // large enough for nearly all inputs, so that the hash does not allocate
	b := room[:0]
	for _, p := range parts {
		b = binary.BigEndian.AppendUint64(b, uint64(len(p)))
		b = append(b, p...)
	}
	sum := sha256.Sum256(b)
	return [16]byte(sum[:16])
}

package cloudevent

import (
	"encoding/hex"
	"strconv"
)

// Derivation is the version of the formulas by which the methods of [Cause] derive ids. The log records which version
// holds for an event, and the version of an event never changes, so that the same ids are derived from an event that
// is handled again, also by a later version of this program. The zero value is not a version.
type Derivation uint8

const (
	// DerivedFromID is version 1, which derives ids from the id of the cause alone. Ids derived from events of
	// different sources that have the same id are equal.
	DerivedFromID Derivation = 1
	// DerivedFromIdentity is version 2, which derives ids from the [Identity] of the cause.
	DerivedFromIdentity Derivation = 2
)

// Cause returns the cause that is the handling of e by a reaction. Derivation must be set in e.
func (e *Event) Cause(reaction string) Cause {
	return Cause{Derivation: e.Derivation, ID: e.ID, Identity: e.Identity(), Reaction: reaction}
}

// Cause is the handling of one event by one reaction. The ids of the events that the handler emits, and its
// idempotency key, are derived from it.
type Cause struct {
	Derivation Derivation
	ID         string   // id of the event that is handled
	Identity   Identity // identity of the event that is handled
	Reaction   string
}

// EmissionID returns the id of an event that the handling emits: the one of type typ and about subject that is emitted
// as number n, counted from 0 for each type and subject.
//
// Neither formula may ever change, since logs contain the ids.
func (c Cause) EmissionID(typ, subject string, n int) string {
	if c.Derivation == DerivedFromID {
		return derive("event", c.ID, c.Reaction, typ, subject, strconv.Itoa(n))
	}
	return derive("event", "2", string(c.Identity[:]), c.Reaction, typ, subject, strconv.Itoa(n))
}

// Key returns the idempotency key for effects of the handling outside the log.
func (c Cause) Key() string {
	if c.Derivation == DerivedFromID {
		return derive("key", c.Reaction, c.ID)
	}
	return derive("key", "2", c.Reaction, string(c.Identity[:]))
}

// derive returns hash128 of its arguments as 32 hexadecimal digits.
func derive(parts ...string) string {
	var text [32]byte
	sum := hash128(parts...)
	hex.Encode(text[:], sum[:])
	return string(text[:])
}

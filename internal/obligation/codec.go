package obligation

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// A record's value is one JSON object. It has the fields of the fact, and
//
//	"kind"  the kind of fact
//	"v"     the version of the format: 1. Fields are only ever added; a change of meaning takes a new kind.
//
// A reader ignores fields and skips records of kinds that it does not know.
const version = 1

// ErrUnknownKind is matched by the error of Decode for a record of an unknown kind, such as one of a later version.
// The reader skips the record.
var ErrUnknownKind = errors.New("obligation: unknown kind of record")

// ErrMalformed is matched by the error of Decode for bytes that are not a record of this package.
var ErrMalformed = errors.New("obligation: malformed record")

// marksPrefix begins every value of Marks that Encode returns.
var marksPrefix = []byte(`{"kind":"marks","v":`)

// envelope has the fields that all kinds share. It stands first in what Encode returns.
type envelope struct {
	Kind    string `json:"kind"`
	Version int    `json:"v"`
}

// Encode returns the record value of a fact. The caller owns the slice. Encode panics if a time is outside the years 0
// to 9999, which no clock shows.
func Encode(f Fact) []byte {
	env := envelope{Kind: f.Kind(), Version: version}
	var v any
	switch f := f.(type) {
	case *Subscription:
		v = struct {
			envelope
			*Subscription
		}{env, f}
	case *Emission:
		v = struct {
			envelope
			*Emission
		}{env, f}
	case *Mismatch:
		v = struct {
			envelope
			*Mismatch
		}{env, f}
	case *NotUnderstood:
		v = struct {
			envelope
			*NotUnderstood
		}{env, f}
	case *Derivation:
		v = struct {
			envelope
			*Derivation
		}{env, f}
	case *Marks:
		times := make([][3]int64, len(f.Times))
		for i, t := range f.Times {
			times[i] = [3]int64{t.Offset, t.Took.Microseconds(), t.Finished.Sub(f.Started).Microseconds()}
		}
		v = struct {
			envelope
			*Marks
			Times [][3]int64 `json:"times,omitempty"`
		}{env, f, times}
	case *Retrying:
		v = struct {
			envelope
			*Retrying
		}{env, f}
	case *Running:
		v = struct {
			envelope
			*Running
		}{env, f}
	case *Seek:
		v = struct {
			envelope
			*Seek
		}{env, f}
	case *Settled:
		v = struct {
			envelope
			*Settled
		}{env, f}
	case *Reopened:
		v = struct {
			envelope
			*Reopened
		}{env, f}
	case *Question:
		v = struct {
			envelope
			*Question
		}{env, f}
	case *Answer:
		v = struct {
			envelope
			*Answer
		}{env, f}
	case *Command:
		v = struct {
			envelope
			*Command
		}{env, f}
	case *Claim:
		v = struct {
			envelope
			*Claim
		}{env, f}
	case *Result:
		v = struct {
			envelope
			*Result
		}{env, f}
	default:
		panic(fmt.Sprintf("obligation: Encode of %T", f)) // a programming error: all facts are defined in this package
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("obligation: %T: %v", f, err)) // a time outside the years 0 to 9999 does not encode
	}
	return b
}

// Decode returns the fact in a record value. It does not keep value. Errors match ErrUnknownKind or ErrMalformed; in
// both cases the reader should skip the record and go on, since any program can write anything to a topic.
func Decode(value []byte) (Fact, error) {
	// Nearly all records are Marks that Encode has written. They are recognised by their prefix, so that they need not
	// be parsed once more to find out the kind.
	if bytes.HasPrefix(value, marksPrefix) {
		return decodeMarks(value)
	}
	if s, ok := plainSettled(value); ok {
		if err := check(s); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrMalformed, TypeSettled, err)
		}
		return s, nil
	}
	var env envelope
	if err := json.Unmarshal(value, &env); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	var f Fact
	switch env.Kind {
	case "subscription":
		f = new(Subscription)
	case "emission":
		f = new(Emission)
	case "mismatch":
		f = new(Mismatch)
	case "not_understood":
		f = new(NotUnderstood)
	case "derivation":
		f = new(Derivation)
	case "marks":
		return decodeMarks(value)
	case "retrying":
		f = new(Retrying)
	case "running":
		f = new(Running)
	case "seek":
		f = new(Seek)
	case TypeSettled:
		f = new(Settled)
	case TypeReopened:
		f = new(Reopened)
	case "question":
		f = new(Question)
	case "answer":
		f = new(Answer)
	case "command":
		f = new(Command)
	case "claim":
		f = new(Claim)
	case "result":
		f = new(Result)
	case "":
		return nil, fmt.Errorf("%w: no kind", ErrMalformed)
	default:
		return nil, fmt.Errorf("%w %q", ErrUnknownKind, env.Kind)
	}
	if err := json.Unmarshal(value, f); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if err := check(f); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrMalformed, env.Kind, err)
	}
	return f, nil
}

// decodeMarks decodes a value whose kind is marks. Errors match ErrMalformed.
func decodeMarks(value []byte) (Fact, error) {
	if m, ok := plainMarks(value); ok {
		return checkedMarks(m)
	}
	m := new(Marks)
	wire := struct {
		*Marks
		Times [][3]int64 `json:"times"`
	}{Marks: m}
	if err := json.Unmarshal(value, &wire); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if len(wire.Times) > 0 {
		m.Times = make([]Timing, len(wire.Times))
		for i, t := range wire.Times {
			m.Times[i] = m.timing(t)
		}
	}
	return checkedMarks(m)
}

// checkedMarks returns marks, or an error if nobody has written them.
func checkedMarks(m *Marks) (Fact, error) {
	if err := check(m); err != nil {
		return nil, fmt.Errorf("%w: marks: %w", ErrMalformed, err)
	}
	return m, nil
}

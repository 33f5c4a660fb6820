package obligation

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// A record's value is one JSON object: the fields of the fact, and
//
//	"kind"  which fact it is
//	"v"     the format's version: 1. Fields are only ever added; a change of meaning takes a new kind.
//
// A reader ignores fields it does not know and skips kinds it does not know.
const version = 1

// ErrUnknownKind is what Decode gives for a record of a later version. The reader skips it.
var ErrUnknownKind = errors.New("obligation: unknown kind of record")

// ErrMalformed is matched by what Decode gives for bytes that are no record of this package.
var ErrMalformed = errors.New("obligation: malformed record")

var marksBegin = []byte(`{"kind":"marks","v":`)

type envelope struct {
	Kind    string `json:"kind"`
	Version int    `json:"v"`
}

// Encode gives the record value of a fact. The slice is the caller's.
func Encode(f Fact) []byte {
	env := envelope{Kind: f.Kind(), Version: version}
	var v any
	switch f := f.(type) {
	case *Subscription:
		v = struct {
			envelope
			*Subscription
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
	default:
		panic(fmt.Sprintf("obligation: Encode of %T", f)) // the set is closed: a mistake in this program
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("obligation: %T: %v", f, err)) // only a time outside the years 0..9999 gets here
	}
	return b
}

// Decode reads a record value. Errors match ErrUnknownKind or ErrMalformed; either way the record is to be skipped,
// never to be stopped at.
func Decode(value []byte) (Fact, error) {
	// Nearly all records are marks that Encode has written: they are spared a second parse.
	if bytes.HasPrefix(value, marksBegin) {
		return decodeMarks(value)
	}
	var env envelope
	if err := json.Unmarshal(value, &env); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	var f Fact
	switch env.Kind {
	case "subscription":
		f = new(Subscription)
	case "marks":
		return decodeMarks(value)
	case "retrying":
		f = new(Retrying)
	case "seek":
		f = new(Seek)
	case TypeSettled:
		f = new(Settled)
	case TypeReopened:
		f = new(Reopened)
	case "":
		return nil, fmt.Errorf("%w: no kind", ErrMalformed)
	default:
		return nil, fmt.Errorf("%w %q", ErrUnknownKind, env.Kind)
	}
	if err := json.Unmarshal(value, f); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return f, nil
}

func decodeMarks(value []byte) (Fact, error) {
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
			m.Times[i] = Timing{
				Offset:   t[0],
				Took:     time.Duration(t[1]) * time.Microsecond,
				Finished: m.Started.Add(time.Duration(t[2]) * time.Microsecond),
			}
		}
	}
	for _, r := range m.Done {
		if r.Lo < 0 || r.Hi < r.Lo {
			return nil, fmt.Errorf("%w: done range [%d,%d)", ErrMalformed, r.Lo, r.Hi)
		}
	}
	return m, nil
}

// MarshalJSON gives the pair [lo,hi].
func (r Range) MarshalJSON() ([]byte, error) { return json.Marshal([2]int64{r.Lo, r.Hi}) }

// UnmarshalJSON reads the pair [lo,hi].
func (r *Range) UnmarshalJSON(b []byte) error {
	var pair [2]int64
	if err := json.Unmarshal(b, &pair); err != nil {
		return err
	}
	r.Lo, r.Hi = pair[0], pair[1]
	return nil
}

package faults

import "testing"

// Case: ParsePayload returns what Payload was given, and refuses a payload with any byte changed, or cut.
func TestPayload(t *testing.T) {
	s := Payload("i-a", 42)
	if producer, seq, ok := ParsePayload(s); producer != "i-a" || seq != 42 || !ok {
		t.Errorf("%q came back as %q, %d, %v", s, producer, seq, ok)
	}
	for i := range s {
		changed := []byte(s)
		changed[i] ^= 1
		for _, bad := range []string{string(changed), s[:i]} {
			if _, _, ok := ParsePayload(bad); ok {
				t.Errorf("%q was taken for a payload", bad)
			}
		}
	}
}

package obligation

import (
	"encoding/hex"
	"fmt"
)

// TopicID is the id that a log has given a topic. No other topic of the log has, or had, the same id, even under the
// same name. The zero value means that the id is not known. In JSON an id is 32 hexadecimal digits.
type TopicID [16]byte

// MarshalText implements encoding.TextMarshaler.
func (id TopicID) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, id[:]), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *TopicID) UnmarshalText(text []byte) error {
	if n, err := hex.Decode(id[:], text[:min(len(text), 2*len(id))]); err != nil || n != len(id) || len(text) != 2*len(id) {
		return fmt.Errorf("%q is no topic id of %d hexadecimal digits", text, 2*len(id))
	}
	return nil
}

// Is reports whether id and topic may belong to the same topic: they are equal, or one of them is not known.
func (id TopicID) Is(topic TopicID) bool {
	return id == topic || id == TopicID{} || topic == TopicID{}
}

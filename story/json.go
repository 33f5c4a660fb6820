package story

import (
	"bytes"
	"encoding/json"
)

// maxNested is how many levels of events the JSON of a story nests. A nested chain of thousands of events would be
// hundreds of megabytes of indented JSON, and most decoders would refuse it.
const maxNested = 16

// MarshalJSON encodes the story. It moves the events that are more than 16 levels deep to Deeper; s itself does not
// change.
func (s Story) MarshalJSON() ([]byte, error) {
	type plain Story // has no MarshalJSON method
	c := plain(s)
	// Below, events at the deepest level are copied, and the copies have no children.
	c.Roots, c.Deeper = nil, nil
	var deeper []*Event
	c.Roots, deeper = cutBelow(s.Roots, maxNested, deeper)
	deeper = append(deeper, s.Deeper...)
	for len(deeper) > 0 {
		var cut []*Event
		cut, deeper = cutBelow(deeper[:1], maxNested, deeper[1:])
		c.Deeper = append(c.Deeper, cut...)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // the encoder that called MarshalJSON escapes if its settings say so
	err := enc.Encode(c)
	return b.Bytes(), err
}

// cutBelow returns in cut the given events with the given number of levels, counting their own. The events on the
// next level, with everything below them, are appended to deeper, which is returned as rest. No event is changed:
// events with children are copied.
func cutBelow(events []*Event, levels int, deeper []*Event) (cut, rest []*Event) {
	if levels == 0 {
		return nil, append(deeper, events...)
	}
	cut = make([]*Event, len(events))
	for i, e := range events {
		if cut[i] = e; len(e.Children) > 0 {
			c := *e
			c.Children, deeper = cutBelow(e.Children, levels-1, deeper)
			cut[i] = &c
		}
	}
	return cut, deeper
}

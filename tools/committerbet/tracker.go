//go:build linux

package main

import (
	"encoding/json"
	"maps"
)

// tracker is what is done of one source partition.
type tracker struct {
	position int64 // all offsets below it are done
	// ahead has the offsets at or above position that are done. The value is an offset in the marks topic, at or
	// below the offset of the mark.
	ahead map[int64]int64
	floor int64 // offset in the marks topic: later marks of this partition are at or above it
	round int64 // number of the last round of this partition; each commit, by any instance, increases it by one
}

func newTracker() *tracker { return &tracker{ahead: make(map[int64]int64)} }

func (t *tracker) clone() *tracker {
	c := *t
	c.ahead = maps.Clone(t.ahead)
	return &c
}

func (t *tracker) isDone(offset int64) bool {
	_, ahead := t.ahead[offset]
	return offset < t.position || ahead
}

// add records that an offset is done. mark must be at or below the offset of the mark.
func (t *tracker) add(offset, mark int64) {
	if offset >= t.position {
		t.ahead[offset] = mark
	}
	for {
		if _, done := t.ahead[t.position]; !done {
			return
		}
		delete(t.ahead, t.position)
		t.position++
	}
}

// marksFrom returns the offset from which marks must be read to find all offsets that are done ahead.
func (t *tracker) marksFrom() int64 {
	from := t.floor
	for _, mark := range t.ahead {
		from = min(from, mark)
	}
	return from
}

// metadata is the metadata that is committed with a position.
type metadata struct {
	Author     string // transactional id, or a name for the start of the instance
	Member     string
	Generation int32
	Round      int64
	MarksFrom  int64
}

func (m metadata) String() string {
	b, _ := json.Marshal(m) // cannot fail
	return string(b)
}

func parseMetadata(text *string) (m metadata, ok bool) {
	if text == nil || *text == "" {
		return m, false
	}
	return m, json.Unmarshal([]byte(*text), &m) == nil
}

// mark is the record with which a round records the offsets that are done in one source partition.
type mark struct {
	Source int32
	metadata
	Done []int64
}

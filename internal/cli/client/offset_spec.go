package client

import (
	"context"
	"strconv"
	"time"

	"tidings.dev/internal/cli/shell"
	"tidings.dev/internal/logclient"
)

// offsetSpec specifies an offset in each partition: the first, the end, a number, or the first at or after a time.
// Exactly one of the fields is used.
type offsetSpec struct {
	earliest, latest bool
	offset           int64 // used if the other fields are zero
	at               time.Time
}

// parseOffsetSpec parses earliest, latest, an offset, a time, or a duration before now. It returns a usage fault for
// anything else.
func parseOffsetSpec(s string, now time.Time) (offsetSpec, error) {
	switch s {
	case "earliest", "beginning":
		return offsetSpec{earliest: true}, nil
	case "latest", "end":
		return offsetSpec{latest: true}, nil
	}
	if offset, err := strconv.ParseInt(s, 10, 64); err == nil && offset >= 0 {
		return offsetSpec{offset: offset}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateTime, time.DateOnly} {
		if at, err := time.Parse(layout, s); err == nil {
			return offsetSpec{at: at}, nil
		}
	}
	if ago, err := time.ParseDuration(s); err == nil && ago >= 0 {
		return offsetSpec{at: now.Add(-ago)}, nil
	}
	return offsetSpec{}, shell.Usagef("earliest, latest, an offset like 42, a time like 2010-12-01T08:26:00Z, or a duration ago like 90m", "%q is neither an offset nor a time", s)
}

// resolve returns the specified offset in each partition of the topics, whose bounds are starts and ends. A number
// outside the bounds of a partition is replaced by the nearest bound. A time gives the offset of the first record
// that is not older.
func (o offsetSpec) resolve(ctx context.Context, log *logclient.Client, starts, ends logclient.Offsets, topics ...string) (logclient.Offsets, error) {
	switch {
	case o.earliest:
		return starts, nil
	case o.latest:
		return ends, nil
	case !o.at.IsZero():
		return log.After(ctx, o.at, topics...)
	}
	found := logclient.Offsets{}
	for topic, partitions := range ends {
		found[topic] = map[int32]int64{}
		for p, end := range partitions {
			found[topic][p] = min(max(o.offset, starts[topic][p]), end)
		}
	}
	return found, nil
}

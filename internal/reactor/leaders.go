package reactor

import (
	"tidings.dev/internal/logclient"
	"tidings.dev/internal/obligation"
)

// believable returns what of marks is about records that are in the log. ends must have the leader epoch of the marks.
func believable(m *obligation.Marks, ends *logclient.LeaderEnds) *obligation.Marks {
	if m.Leader == nil {
		return m
	}
	return m.Below(max(0, ends.Of(m.Topic, m.Partition, *m.Leader)))
}

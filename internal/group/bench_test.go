package group_test

import (
	"testing"

	. "tidings.dev/internal/group"
)

// BenchmarkSteadyGroup measures heartbeats and commits in a stable group of 100 members.
func BenchmarkSteadyGroup(b *testing.B) {
	w := newFakeEngine(b, Options{})
	j := w.stableGroup("g", 100)[50]
	b.Run("heartbeat", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			w.c.Step(w.now, Heartbeat{nil, HeartbeatRequest{Group: "g", Member: j.Member, Generation: 1}})
		}
	})
	b.Run("commit", func(b *testing.B) {
		offsets := map[TopicPartition]Committed{tp("orders", 0): {Offset: 1}}
		b.ReportAllocs()
		for b.Loop() {
			effects := w.c.Step(w.now, Commit{nil, CommitRequest{Group: "g", Member: j.Member, Generation: 1, Offsets: offsets}})
			w.c.Step(w.now, Persisted{ID: effects[0].(Persist).ID})
		}
	})
}

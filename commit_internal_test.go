package tidings

import (
	"log/slog"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
)

// A commit is refused, being of the generation before, while its partition is being given up: the last round commits the
// position once more. Whoever gets the partition would handle those events again.
func TestACommitRefusedWhileItsPartitionIsGivenUpIsRepeated(t *testing.T) {
	c := newConsumer(&reaction{name: "warehouse", log: slog.New(slog.DiscardHandler)})
	c.base = t.Context()
	p := c.newPartition(topicPartition{"orders", 0}, place{})
	c.parts[p.topicPartition] = p
	p.tracker.Arrive(0)
	p.tracker.Finish(0)
	p.news.urgent = true
	told := c.gather(nil)
	if len(told) != 1 || told[0].position != 1 {
		t.Fatalf("%+v is to be told", told)
	}

	p.revoking = true
	c.recommit(failedCommit{told[0].commit, kerr.IllegalGeneration}, false)
	again := c.gather([]*partition{p})
	if len(again) != 1 || again[0].position != 1 || len(again[0].done) != 0 {
		t.Fatalf("%+v is told by the last round, want position 1 alone", again)
	}
	if c.recommit(failedCommit{again[0].commit, kerr.IllegalGeneration}, true) || len(c.gather([]*partition{p})) != 0 {
		t.Error("something is left after the last round")
	}
}

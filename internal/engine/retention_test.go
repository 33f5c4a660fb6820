package engine

import (
	"strings"
	"testing"
	"time"

	"tidings.dev/internal/meta"
)

// Case: an engine that began without any record, and takes no checkpoint for long, still applies retention: the first
// record sets the keeper's timer.
func TestRetentionNeedsNoCheckpoint(t *testing.T) {
	e := openMem(t, func(c *Config) { c.RetentionInterval, c.TailBytes = 2*time.Millisecond, 4<<10 })
	topic, err := e.CreateTopic(noWait, meta.TopicSpec{Name: "short", Partitions: 1,
		Configs: map[string]string{"retention.bytes": "4096", "segment.bytes": "2048"}}, false)
	if err != nil {
		t.Fatal(err)
	}
	id := Partition{topic.ID, 0}
	time.Sleep(5 * time.Millisecond) // the keeper sleeps
	for range 30 {
		appendNow(e, id, newBatch(-1, -1, strings.Repeat("x", 1000)))
	}
	eventually(t, "retention moves the start", func() bool { return e.parts[id].log.Start() > 0 })
}

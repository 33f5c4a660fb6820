package engine

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tidings.dev/internal/meta"
)

// Case: an engine that began without any record, and takes no checkpoint for long, still applies retention: the first
// record arms maintenance's timer.
func TestRetentionNeedsNoCheckpoint(t *testing.T) {
	synctest.Test(t, testRetentionNeedsNoCheckpoint)
}

func testRetentionNeedsNoCheckpoint(t *testing.T) {
	e := openMem(t, func(c *Config) { c.TailBytes = 4 << 10 })
	topic, err := e.CreateTopic(noWait, meta.TopicSpec{Name: "short", Partitions: 1,
		Configs: map[string]string{"retention.bytes": "4096", "segment.bytes": "2048"}}, false)
	if err != nil {
		t.Fatal(err)
	}
	id := Partition{Topic: topic.ID, Index: 0}
	synctest.Wait() // maintenance sleeps
	if !e.maintenance.retentionIdle.Load() {
		t.Fatal("the timer is armed without a record: the test tests nothing")
	}
	for range 30 {
		appendNow(e, id, newBatch(-1, -1, strings.Repeat("x", 1000)))
	}
	time.Sleep(e.config.RetentionInterval)
	synctest.Wait()
	if e.topics.parts.get(id).log.Start() == 0 {
		t.Error("retention has not moved the start")
	}
}

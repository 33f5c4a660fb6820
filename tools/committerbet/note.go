//go:build linux

package main

import (
	"encoding/json"
	"os"
	"sync"
	"time"
)

// note reports something that an instance did. It is written to stdout as a line of JSON. If the instance is killed,
// the line that is being written is lost.
type note struct {
	What string        // one of the constants below
	Why  string        `json:",omitempty"`
	N    int           `json:",omitempty"`
	Took time.Duration `json:",omitempty"`
}

const (
	noteCommitted = "committed" // a round with N invocations
	noteAborted   = "aborted"   // a round was aborted; Why tells the reason
	noteRefused   = "refused"   // the log refuses a record of a round, which is then split in two
	noteFailed    = "failed"    // an invocation has a record that was refused
	// noteDecided reports the outcome of a round whose end was not confirmed. Why is committed, not committed, or no longer ours
	noteDecided     = "decided"
	noteReopened    = "reopened"    // the producer was fenced and replaced
	noteUncommitted = "uncommitted" // at least once: N partitions whose marks are durable but whose positions are not committed
	noteDropped     = "dropped"     // N finished invocations of partitions that were lost
	noteLate        = "late"        // N handlers were still running at the end of a revocation
	noteAssigned    = "assigned"    // N partitions were assigned
	noteRevoked     = "revoked"     // N partitions were revoked; Took is the time until they were released
	noteLost        = "lost"        // N partitions were lost
	noteResumed     = "resumed"     // a partition was started; Took is the time since its assignment
	noteTakeover    = "takeover"    // a transaction of a previous owner was ended
	noteDespite     = "despite"     // a round was committed although a partition was lost meanwhile
	noteBetween     = "between"     // a round was not begun, because kgo was between JoinGroup and SyncGroup
	noteSlow        = "slow"        // a slow request; Took is its duration
	noteConcurrent  = "concurrent"  // a request was answered with CONCURRENT_TRANSACTIONS
	noteStale       = "stale"       // a record of an earlier incarnation arrived late
	noteBroken      = "broken"      // an invariant does not hold
)

// notes writes notes to stdout. mu protects out.
var notes = struct {
	mu  sync.Mutex
	out *json.Encoder
}{out: json.NewEncoder(os.Stdout)}

// say writes a note.
func say(n note) {
	notes.mu.Lock()
	defer notes.mu.Unlock()
	_ = notes.out.Encode(n) // fails only if the referee has ended, and then this process ends as well
}

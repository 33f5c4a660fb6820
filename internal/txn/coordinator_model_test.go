package txn

import (
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// reference is what clients, who share one transactional id, may count on, whatever the coordinator does inside: for each
// transaction the batches that were taken, and how it may end.
type reference struct {
	txns []*referenceTxn
}

// referenceTxn is one transaction from the view of the client that made it.
type referenceTxn struct {
	batches map[Partition]int // number of batches that were taken
	offset  bool              // a position of group "g" was taken
	asked   []bool            // the ends that were sent, as commits
	told    Outcome           // what the client was told
}

// client is one instance of the application, which keeps to the protocol.
type client struct {
	v2    bool
	p     Producer
	txn   int // index in reference.txns of its transaction; -1: none is begun
	added map[Partition]bool
	group bool
	lost  bool // an answer was lost or an error came: it has to call InitProducerId
}

// TestCoordinatorModel runs several instances with one transactional id, which know nothing of each other, against the
// reference: over lost answers, requests that come late and again, records that fail, restarts and timeouts,
//
//   - each transaction has one outcome in all its partitions and groups, and it is the one that its client was told,
//   - none is committed unless its client has asked for that, and
//   - each ends in the end: nothing stays open.
//
// The old protocol does not promise the second for requests that come late, so that these are of version 2.
func TestCoordinatorModel(t *testing.T) {
	partitions := []Partition{p0, p1, p2}
	rapid.Check(t, func(t *rapid.T) {
		b, ref := newBroker(t), &reference{}
		clients := []*client{{v2: true, p: NoProducer, txn: -1, lost: true}, {v2: rapid.Bool().Draw(t, "v2"), p: NoProducer, txn: -1, lost: true}}
		var late []func() // requests that are sent again
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			cl := clients[rapid.IntRange(0, len(clients)-1).Draw(t, "client")]
			switch rapid.SampledFrom([]string{"init", "batch", "batch", "batch", "offset", "end", "end", "late", "fail", "restart", "checkpoint", "time"}).Draw(t, "step") {
			case "init":
				expected := NoProducer
				if rapid.Bool().Draw(t, "expected") {
					expected = cl.p
				}
				p, err := b.init("a", expected)
				if cl.txn, cl.lost = -1, err != nil; err == nil {
					cl.p, cl.added, cl.group = p, map[Partition]bool{}, false
				} else if errors.Is(err, ErrInvalidProducerEpoch) {
					cl.p = NoProducer // fenced: it begins anew
				}
			case "batch":
				if cl.lost {
					continue
				}
				to := rapid.SampledFrom(partitions).Draw(t, "partition")
				if !cl.v2 && !cl.added[to] {
					if err := b.add("a", cl.p, to); err != nil {
						cl.lost = true
						continue
					}
					cl.added[to] = true
				}
				ref.begin(cl)
				if err := b.produce("a", cl.p, to, cl.txn, cl.v2); err != nil {
					cl.lost = true
					continue
				}
				ref.txns[cl.txn].batches[to]++
			case "offset":
				if cl.lost || cl.txn < 0 {
					continue
				}
				if !cl.v2 && !cl.group {
					if err := b.addGroup("a", cl.p, "g"); err != nil {
						cl.lost = true
						continue
					}
					cl.group = true
				}
				if err := b.commitOffset("a", cl.p, "g", cl.txn, cl.v2); err != nil {
					cl.lost = true
					continue
				}
				ref.txns[cl.txn].offset = true
			case "end":
				if cl.lost || cl.txn < 0 {
					continue
				}
				commit, p, txn := rapid.Bool().Draw(t, "commit"), cl.p, ref.txns[cl.txn]
				txn.asked = append(txn.asked, commit)
				send := func() (Producer, error) {
					next, err := b.end("a", p, commit, cl.v2)
					if err == nil {
						if outcome := outcomeOf(commit); txn.told != NoOutcome && txn.told != outcome {
							t.Fatalf("told %v, then %v", txn.told, outcome)
						}
						txn.told = outcomeOf(commit)
					}
					return next, err
				}
				if cl.v2 {
					late = append(late, func() { send() })
				}
				next, err := send()
				if cl.txn = -1; err != nil || rapid.Bool().Draw(t, "lost") {
					cl.lost = true
					continue
				}
				cl.p, cl.added, cl.group = next, map[Partition]bool{}, false
			case "late":
				if len(late) > 0 {
					late[rapid.IntRange(0, len(late)-1).Draw(t, "which")]()
				}
			case "fail":
				b.fail = map[bool]error{true: errDisk}[b.fail == nil]
			case "restart":
				b.fail = nil
				b.restart()
			case "checkpoint":
				b.checkpoint()
			case "time":
				b.pass(time.Duration(rapid.IntRange(1, 90).Draw(t, "seconds")) * time.Second)
			}
			ref.check(t, b, partitions)
		}
		b.fail = nil
		b.pass(2 * time.Minute)
		for _, p := range partitions {
			if open := openIn(b.logs[p]); len(open) > 0 {
				t.Fatalf("%v stays open in %v", open, p)
			}
		}
		if d, known := b.c.Describe("a"); known && d.State == "Ongoing" {
			t.Fatalf("%+v", d)
		}
		ref.check(t, b, partitions)
	})
}

// begin begins a transaction of the client, if it has none.
func (r *reference) begin(cl *client) {
	if cl.txn < 0 {
		cl.txn = len(r.txns)
		r.txns = append(r.txns, &referenceTxn{batches: map[Partition]int{}})
	}
}

// check fails the test unless the logs agree with the reference.
func (r *reference) check(t *rapid.T, b *broker, partitions []Partition) {
	ended := make([]map[Partition]Outcome, len(r.txns)) // per transaction: its outcome by partition
	for i := range ended {
		ended[i] = map[Partition]Outcome{}
	}
	for _, part := range partitions {
		count := make([]int, len(r.txns))
		open := map[int64][]int{} // transactions with batches that no marker follows yet, by producer id
		for _, l := range b.logs[part] {
			if l.outcome == NoOutcome {
				count[l.txn]++
				open[l.p.ID] = append(open[l.p.ID], l.txn)
				continue
			}
			txns := slices.Compact(open[l.p.ID])
			if len(txns) > 1 {
				t.Fatalf("one marker ends the transactions %v", txns)
			}
			for _, n := range txns {
				ended[n][part] = l.outcome
			}
			delete(open, l.p.ID)
		}
		for n, txn := range r.txns {
			if count[n] != txn.batches[part] {
				t.Fatalf("transaction %d has %d batches in %v, %d were taken", n, count[n], part, txn.batches[part])
			}
		}
	}
	for n, txn := range r.txns {
		outcomes := map[Outcome]bool{}
		for part := range txn.batches {
			outcomes[ended[n][part]] = true
		}
		if len(outcomes) == 0 {
			continue
		}
		if len(outcomes) > 1 {
			t.Fatalf("transaction %d ended as %v", n, ended[n])
		}
		outcome := slices.Collect(maps.Keys(outcomes))[0]
		switch {
		case txn.told != NoOutcome && txn.told != outcome:
			t.Fatalf("transaction %d is %d, its client was told %d", n, outcome, txn.told)
		case outcome == Committed && !slices.Contains(txn.asked, true):
			t.Fatalf("transaction %d is committed, and nobody has asked for that", n)
		}
		if took := slices.Contains(b.taken["g"], n); took != (txn.offset && outcome == Committed) {
			t.Fatalf("transaction %d is %d, position taken: %v", n, outcome, took)
		}
	}
}

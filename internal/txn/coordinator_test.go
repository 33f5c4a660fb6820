package txn

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

// broker does for a coordinator what the engine does: it journals records, appends batches and markers to logs, and
// brings back what is durable after a restart.
type broker struct {
	t       interface{ Fatalf(string, ...any) }
	c       *Coordinator
	now     time.Time
	records [][]byte // of the journal, since the snapshot
	snap    []byte
	logs    map[Partition][]logged
	pending map[Producer]map[string]int // positions of groups that are not decided, by producer and group
	taken   map[string][]int            // positions that a commit has decided, by group
	nextID  int64
	held    []Effect // Persist and Finish effects whose Persisted is held back
	hold    bool
	fail    error // with which the journal refuses records
	answers map[Ticket]any
}

// logged is a batch or a marker in a log.
type logged struct {
	p       Producer
	txn     int     // of a batch: the number that the test gave to its transaction
	outcome Outcome // of a marker; NoOutcome for a batch
}

var (
	errDisk = errors.New("no room")
	p0      = Partition{Topic: [16]byte{1}}
	p1      = Partition{Topic: [16]byte{1}, Index: 1}
	p2      = Partition{Topic: [16]byte{2}}
)

func newBroker(t interface{ Fatalf(string, ...any) }) *broker {
	return &broker{t: t, c: NewCoordinator(Options{}), now: start, logs: map[Partition][]logged{}, nextID: 100,
		pending: map[Producer]map[string]int{}, taken: map[string][]int{}, answers: map[Ticket]any{}}
}

// step passes an event to the coordinator and performs its effects.
func (b *broker) step(ev Event) {
	for _, ef := range b.c.Step(b.now, ev) {
		b.perform(ef)
	}
}

func (b *broker) perform(ef Effect) {
	if r, ok := ef.(Reply); ok {
		b.answers[r.Ticket] = r.Response
		return
	}
	if b.held = append(b.held, ef); !b.hold {
		b.release()
	}
}

// release makes durable what is held back, or fails it.
func (b *broker) release() {
	held := b.held
	b.held = nil
	for _, ef := range held {
		var seq uint64
		switch ef := ef.(type) {
		case Persist:
			if seq = ef.Seq; b.fail == nil {
				b.records = append(b.records, ef.Record)
			}
		case Finish:
			if seq = ef.Seq; b.fail == nil {
				b.finish(ef)
			}
		}
		b.step(Persisted{Seq: seq, Err: b.fail})
	}
}

// finish does what an entry of a Finish does.
func (b *broker) finish(f Finish) {
	if f.Record != nil {
		b.records = append(b.records, f.Record)
	}
	for _, p := range f.Partitions {
		b.logs[p] = append(b.logs[p], logged{p: Producer{f.Producer.ID, f.Epoch}, outcome: outcomeOf(f.Commit)})
	}
	for _, g := range f.Groups {
		if at, ok := b.pending[f.Producer][g]; ok && f.Commit {
			b.taken[g] = append(b.taken[g], at)
		}
		delete(b.pending[f.Producer], g)
	}
}

// restart loses what is not durable and recovers the rest.
func (b *broker) restart() {
	b.held = nil
	b.c = NewCoordinator(Options{})
	if b.snap != nil {
		if err := b.c.Load(b.snap); err != nil {
			b.t.Fatalf("load: %v", err)
		}
	}
	for _, r := range b.records {
		if err := b.c.ApplyRecord(r); err != nil {
			b.t.Fatalf("record: %v", err)
		}
	}
	for p, log := range b.logs {
		for _, at := range openIn(log) {
			b.c.Found(at, p)
		}
	}
	for p, groups := range b.pending {
		for g := range groups {
			b.c.FoundGroup(p, g)
		}
	}
	for _, ef := range b.c.Resume(b.now) {
		b.perform(ef)
	}
}

// openIn returns the producers with open transactions in a log.
func openIn(log []logged) (open []Producer) {
	for _, l := range log {
		i := slices.IndexFunc(open, func(p Producer) bool { return p.ID == l.p.ID })
		switch {
		case l.outcome != NoOutcome && i >= 0:
			open = slices.Delete(open, i, i+1)
		case l.outcome == NoOutcome && i < 0:
			open = append(open, l.p)
		}
	}
	return open
}

// checkpoint does what a checkpoint does with the records.
func (b *broker) checkpoint() { b.snap, b.records = b.c.Snapshot(), nil }

// ask passes a request to the coordinator and returns its answer.
func ask[R any](b *broker, request func(Ticket) Event) R {
	ticket := new(int)
	b.step(request(ticket))
	answer, ok := b.answers[ticket]
	if !ok {
		b.t.Fatalf("%T is not answered", request(ticket))
	}
	return answer.(R)
}

func (b *broker) init(id string, expected Producer) (Producer, error) {
	b.nextID++
	r := ask[ProducerResponse](b, func(t Ticket) Event {
		return Init{Ticket: t, ID: id, Timeout: time.Minute, Expected: expected, NewID: b.nextID}
	})
	return r.Producer, r.Err
}

func (b *broker) end(id string, p Producer, commit, raise bool) (Producer, error) {
	b.nextID++
	r := ask[ProducerResponse](b, func(t Ticket) Event {
		return End{Ticket: t, ID: id, Producer: p, Commit: commit, RaiseEpoch: raise, NewID: b.nextID}
	})
	return r.Producer, r.Err
}

func (b *broker) add(id string, p Producer, partitions ...Partition) error {
	return ask[AddResponse](b, func(t Ticket) Event { return Add{Ticket: t, ID: id, Producer: p, Partitions: partitions} }).Err
}

func (b *broker) addGroup(id string, p Producer, group string) error {
	return ask[AddResponse](b, func(t Ticket) Event { return Add{Ticket: t, ID: id, Producer: p, Groups: []string{group}} }).Err
}

// produce appends a batch, by the protocol of transactions version 2 if begin is true.
func (b *broker) produce(id string, p Producer, to Partition, txn int, begin bool) error {
	err := b.c.Admit(b.now, id, p, to, begin)
	if err == nil {
		b.logs[to] = append(b.logs[to], logged{p: p, txn: txn})
	}
	return err
}

// commitOffset commits a position of a group in the transaction.
func (b *broker) commitOffset(id string, p Producer, group string, at int, begin bool) error {
	err := b.c.AdmitGroup(b.now, id, p, group, begin)
	if err == nil {
		if b.pending[p] == nil {
			b.pending[p] = map[string]int{}
		}
		b.pending[p][group] = at
	}
	return err
}

// pass lets time pass.
func (b *broker) pass(d time.Duration) {
	b.now = b.now.Add(d)
	b.step(Tick{})
}

// must returns p, and fails the test if err is not nil.
func must(t *testing.T, p Producer, err error) Producer {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// wants fails the test unless err matches want.
func wants(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) || err != nil && want == nil {
		t.Fatalf("%s: %v, want %v", what, err, want)
	}
}

// marks returns the outcomes of the markers in a log.
func (b *broker) marks(p Partition) (all []Outcome) {
	for _, l := range b.logs[p] {
		if l.outcome != NoOutcome {
			all = append(all, l.outcome)
		}
	}
	return all
}

func TestTransactionByEitherProtocol(t *testing.T) {
	for _, v2 := range []bool{false, true} {
		b := newBroker(t)
		p := must(t, Producer{}, nil)
		p, err := b.init("a", NoProducer)
		must(t, p, err)
		for n, commit := range []bool{true, false, true} {
			if !v2 {
				wants(t, "add", b.add("a", p, p0, p1), nil)
				wants(t, "add a group", b.addGroup("a", p, "g"), nil)
			}
			wants(t, "produce", b.produce("a", p, p0, n, v2), nil)
			wants(t, "produce", b.produce("a", p, p1, n, v2), nil)
			wants(t, "positions", b.commitOffset("a", p, "g", n, v2), nil)
			if d, _ := b.c.Describe("a"); d.State != "Ongoing" || len(d.Partitions) != 2 || d.Producer != p {
				t.Fatalf("%+v", d)
			}
			b.restart() // the logs and the group tell what is open
			next, err := b.end("a", p, commit, v2)
			must(t, next, err)
			if raised := next.Epoch == p.Epoch+1; raised != v2 || next.ID != p.ID {
				t.Fatalf("version 2 %v: %v became %v", v2, p, next)
			}
			p = next
		}
		for _, part := range []Partition{p0, p1} {
			if got := b.marks(part); !slices.Equal(got, []Outcome{Committed, Aborted, Committed}) {
				t.Fatalf("markers %v", got)
			}
		}
		if got := b.taken["g"]; !slices.Equal(got, []int{0, 2}) {
			t.Fatalf("positions %v", got)
		}
		if d, _ := b.c.Describe("a"); d.State != "CompleteCommit" || d.Partitions != nil || b.c.bytes != idBytes+1 {
			t.Fatalf("%+v, %d bytes", d, b.c.bytes)
		}
	}
}

// TestTraps has one case for each trap of the protocol that a broker or a client has fallen into.
func TestTraps(t *testing.T) {
	// begun returns a broker with the transactional id "a" and an open transaction by version 2, with a batch in p0.
	begun := func(t *testing.T) (*broker, Producer) {
		b := newBroker(t)
		p, err := b.init("a", NoProducer)
		must(t, p, err)
		wants(t, "produce", b.produce("a", p, p0, 1, true), nil)
		return b, p
	}
	trap := func(name string, do func(t *testing.T)) { t.Run(name, do) }

	trap("a transaction that hangs: its producer is gone (KAFKA-18957, franz-go 928, 581)", func(t *testing.T) {
		b, p := begun(t)
		if at, ok := b.c.NextDeadline(); !ok || !at.Equal(start.Add(time.Minute)) {
			t.Fatalf("deadline %v", at)
		}
		b.pass(59 * time.Second)
		if len(b.marks(p0)) != 0 {
			t.Fatal("ended before its timeout")
		}
		b.pass(time.Second)
		if got := b.logs[p0][1]; got.outcome != Aborted || got.p.Epoch != p.Epoch+1 {
			t.Fatalf("%+v", got)
		}
		wants(t, "a batch that was still on its way", b.produce("a", p, p0, 1, true), ErrInvalidProducerEpoch)
	})
	trap("a transaction that hangs: it is found in the log, and no transactional id has it", func(t *testing.T) {
		b, p := begun(t)
		b.records = nil // lost with a part of the journal
		b.restart()
		if got := b.logs[p0][1]; got.outcome != Aborted || got.p.ID != p.ID {
			t.Fatalf("%+v", got)
		}
		// Case: it is aborted although the disk is full at first.
		b, _ = begun(t)
		b.records, b.fail = nil, errDisk
		b.restart()
		b.fail = nil
		b.pass(retryAfter)
		if got := b.marks(p0); !slices.Equal(got, []Outcome{Aborted}) {
			t.Fatalf("%v", got)
		}
		b.pass(time.Hour)
		if got := b.marks(p0); len(got) != 1 || len(b.c.found) > 0 {
			t.Fatalf("%v", got)
		}
	})
	trap("a batch that comes after the end of its transaction, by the old protocol (KIP-890)", func(t *testing.T) {
		b := newBroker(t)
		p, _ := b.init("a", NoProducer)
		wants(t, "add", b.add("a", p, p0), nil)
		wants(t, "produce", b.produce("a", p, p0, 1, false), nil)
		_, err := b.end("a", p, true, false)
		wants(t, "end", err, nil)
		wants(t, "produce", b.produce("a", p, p0, 1, false), ErrNotInTransaction)
		// Case: another partition of the next transaction is no excuse.
		wants(t, "add", b.add("a", p, p1), nil)
		wants(t, "produce", b.produce("a", p, p0, 1, false), ErrNotInTransaction)
		wants(t, "positions", b.commitOffset("a", p, "g", 1, false), ErrNotInTransaction)
	})
	trap("a batch or a position that comes while its transaction is ended", func(t *testing.T) {
		b, p := begun(t)
		b.hold = true
		b.step(End{Ticket: "commit", ID: "a", Producer: p, Commit: true, RaiseEpoch: true, NewID: -1})
		for _, to := range []Partition{p0, p1} {
			wants(t, "produce", b.produce("a", p, to, 1, true), ErrConcurrent)
		}
		wants(t, "positions", b.commitOffset("a", p, "g", 1, true), ErrConcurrent)
		wants(t, "add", b.add("a", p, p1), ErrConcurrent)
		if d, _ := b.c.Describe("a"); d.State != "PrepareCommit" {
			t.Fatalf("%+v", d)
		}
		b.pass(time.Hour) // nor does it time out
		if b.release(); !slices.Equal(b.marks(p0), []Outcome{Committed}) {
			t.Fatalf("%v", b.marks(p0))
		}
	})
	trap("an empty abort after a commit fences its own producer (KAFKA-18464)", func(t *testing.T) {
		b, p := begun(t)
		// Case: while the commit is on its way the client must wait, whichever epoch it has.
		b.hold = true
		b.step(End{Ticket: "commit", ID: "a", Producer: p, Commit: true, RaiseEpoch: true, NewID: -1})
		_, err := b.end("a", Producer{p.ID, p.Epoch + 1}, false, true)
		wants(t, "abort", err, ErrConcurrent)
		b.hold = false
		b.release()
		next := b.answers["commit"].(ProducerResponse).Producer
		after, err := b.end("a", next, false, true)
		if must(t, after, err); after.Epoch != next.Epoch+1 {
			t.Fatalf("%v after %v", after, next)
		}
		wants(t, "produce", b.produce("a", after, p0, 2, true), nil)
		if got := b.marks(p0); !slices.Equal(got, []Outcome{Committed}) {
			t.Fatalf("markers %v", got)
		}
		// Case: an abort right after InitProducerId.
		p, _ = b.init("b", NoProducer)
		if after, err = b.end("b", p, false, true); err != nil || after.Epoch != 1 {
			t.Fatal(after, err)
		}
		// Case: nothing is committed if nothing was begun.
		_, err = b.end("b", after, true, true)
		wants(t, "commit", err, ErrInvalidState)
	})
	trap("a late EndTxn of epoch n ends transaction n+1", func(t *testing.T) {
		for _, commit := range []bool{true, false} {
			b, p := begun(t)
			next, _ := b.end("a", p, true, true)
			wants(t, "produce", b.produce("a", next, p0, 2, true), nil)
			_, err := b.end("a", p, commit, true)
			wants(t, "late", err, ErrInvalidProducerEpoch)
			if got := b.marks(p0); !slices.Equal(got, []Outcome{Committed}) {
				t.Fatalf("markers %v", got)
			}
		}
	})
	trap("EndTxn sent again at epoch−1", func(t *testing.T) {
		b, p := begun(t)
		next, _ := b.end("a", p, true, true)
		for range 2 {
			again, err := b.end("a", p, true, true)
			if must(t, again, err); again != next {
				t.Fatalf("%v, then %v", next, again)
			}
			b.restart()
		}
		_, err := b.end("a", p, false, true)
		wants(t, "an abort of what is committed", err, ErrInvalidState)
		// Case: at epoch−2 it is no repetition.
		b.end("a", next, false, true)
		_, err = b.end("a", p, true, true)
		wants(t, "two epochs late", err, ErrInvalidProducerEpoch)
		// Case: the epochs of the producer id were used up by the end.
		b, p = begun(t)
		b.c.ids["a"].durable.producer.Epoch, p.Epoch = lastEpoch, lastEpoch
		wants(t, "produce", b.produce("a", p, p1, 1, true), nil)
		next, err = b.end("a", p, true, true)
		if must(t, next, err); next.ID == p.ID || next.Epoch != 0 {
			t.Fatalf("%v", next)
		}
		if again, err := b.end("a", p, true, true); err != nil || again != next {
			t.Fatalf("%v, %v", again, err)
		}
		if m := b.logs[p1][1]; m.p != (Producer{p.ID, lastEpoch + 1}) || m.outcome != Committed {
			t.Fatalf("%+v", m)
		}
		// Case: a request without a producer is not the repetition of anything.
		_, err = b.end("a", NoProducer, true, true)
		wants(t, "no producer", err, ErrProducerMapping)
	})
	trap("EndTxn sent again by the old protocol", func(t *testing.T) {
		b := newBroker(t)
		p, _ := b.init("a", NoProducer)
		_, err := b.end("a", p, false, false)
		wants(t, "an abort of nothing", err, ErrInvalidState)
		b.add("a", p, p0)
		for range 2 {
			_, err = b.end("a", p, true, false)
			wants(t, "commit", err, nil)
		}
		_, err = b.end("a", p, false, false)
		wants(t, "an abort of what is committed", err, ErrInvalidState)
		if got := b.marks(p0); len(got) != 1 {
			t.Fatalf("markers %v", got)
		}
	})
	trap("two producers with one id: the zombie is fenced", func(t *testing.T) {
		b, old := begun(t)
		young, err := b.init("a", NoProducer)
		must(t, young, err)
		if got := b.marks(p0); !slices.Equal(got, []Outcome{Aborted}) {
			t.Fatalf("InitProducerId while a transaction is open has left %v", got)
		}
		zombie := func() {
			t.Helper()
			wants(t, "produce", b.produce("a", old, p0, 1, true), ErrInvalidProducerEpoch)
			wants(t, "positions", b.commitOffset("a", old, "g", 1, true), ErrInvalidProducerEpoch)
			wants(t, "add", b.add("a", old, p1), ErrInvalidProducerEpoch)
			for _, raise := range []bool{false, true} {
				_, err := b.end("a", old, true, raise)
				wants(t, "commit", err, ErrInvalidProducerEpoch)
				_, err = b.end("a", old, false, raise)
				wants(t, "abort", err, ErrInvalidProducerEpoch)
			}
			_, err := b.init("a", old)
			wants(t, "InitProducerId", err, ErrInvalidProducerEpoch)
		}
		zombie()
		wants(t, "produce", b.produce("a", young, p0, 2, true), nil)
		zombie()
		b.restart()
		zombie()
		_, err = b.end("a", young, true, true)
		wants(t, "commit", err, nil)
		// Case: another producer id altogether, and an epoch that there is not yet.
		_, err = b.end("a", Producer{1, 0}, true, true)
		wants(t, "a stranger", err, ErrProducerMapping)
		wants(t, "a stranger", b.produce("b", young, p0, 1, true), ErrProducerMapping)
		wants(t, "from the future", b.produce("a", Producer{young.ID, young.Epoch + 7}, p0, 1, true), ErrInvalidProducerEpoch)
	})
	trap("InitProducerId is answered when the abort is durable, and may be sent again", func(t *testing.T) {
		b, p := begun(t)
		b.hold = true
		b.step(Init{Ticket: "init", ID: "a", Timeout: time.Minute, Expected: p, NewID: -1})
		if len(b.answers) != 1 || len(b.held) != 1 {
			t.Fatalf("%v", b.answers)
		}
		_, err := b.init("a", NoProducer)
		wants(t, "another", err, ErrConcurrent)
		b.restart() // the entry was lost
		if len(b.marks(p0)) != 0 {
			t.Fatal("marked")
		}
		b.hold = false
		next, err := b.init("a", p)
		if must(t, next, err); next != (Producer{p.ID, p.Epoch + 1}) || len(b.marks(p0)) != 1 {
			t.Fatalf("%v, markers %v", next, b.marks(p0))
		}
		if again, err := b.init("a", p); err != nil || again != next { // the answer was lost
			t.Fatalf("%v, %v", again, err)
		}
		// Case: not once a transaction was begun with the new epoch: then its client knows it.
		wants(t, "produce", b.produce("a", next, p0, 2, true), nil)
		_, err = b.init("a", p)
		wants(t, "late", err, ErrInvalidProducerEpoch)
	})
	trap("a producer whose transaction has timed out may go on (KIP-588)", func(t *testing.T) {
		b, p := begun(t)
		b.pass(time.Minute)
		_, err := b.end("a", p, true, true)
		wants(t, "commit", err, ErrInvalidState)
		next, err := b.end("a", p, false, true)
		if must(t, next, err); next.Epoch != p.Epoch+1 {
			t.Fatal(next)
		}
		if again, err := b.init("a", p); err != nil || again != next {
			t.Fatal(again, err)
		}
		wants(t, "produce", b.produce("a", next, p0, 2, true), nil)
		// Case: the broker takes the last epoch; no client gets that one.
		b.c.ids["a"].durable.producer.Epoch = lastEpoch
		b.pass(time.Minute)
		fresh, err := b.init("a", Producer{p.ID, lastEpoch})
		if must(t, fresh, err); fresh.ID == p.ID || fresh.Epoch != 0 {
			t.Fatal(fresh)
		}
	})
	trap("AddOffsetsToTxn for a group that there is not (any more)", func(t *testing.T) {
		b := newBroker(t)
		p, _ := b.init("a", NoProducer)
		wants(t, "add", b.addGroup("a", p, "gone"), nil)
		_, err := b.end("a", p, true, false)
		wants(t, "end", err, nil)
	})
	trap("a timeout above the maximum, or none", func(t *testing.T) {
		b := newBroker(t)
		for _, d := range []time.Duration{15*time.Minute + 1, 0, -1} {
			r := ask[ProducerResponse](b, func(t Ticket) Event { return Init{Ticket: t, ID: "a", Timeout: d, Expected: NoProducer, NewID: 1} })
			wants(t, fmt.Sprint(d), r.Err, ErrInvalidTimeout)
		}
		if _, err := b.init("", NoProducer); !errors.Is(err, ErrInvalidID) {
			t.Fatal(err)
		}
	})
	trap("a full disk: what was asked for has not happened", func(t *testing.T) {
		b, p := begun(t)
		b.fail = errDisk
		_, err := b.end("a", p, true, true)
		wants(t, "commit", err, errDisk)
		_, err = b.init("a", NoProducer)
		wants(t, "init", err, errDisk)
		_, err = b.init("new", NoProducer)
		wants(t, "init", err, errDisk)
		wants(t, "add", b.add("a", p, p1), errDisk)
		b.pass(time.Minute) // its timeout fails too
		if _, known := b.c.Describe("new"); known || len(b.marks(p0)) != 0 {
			t.Fatal("something has happened")
		}
		if at, _ := b.c.NextDeadline(); !at.Equal(b.now.Add(retryAfter)) {
			t.Fatalf("next try at %v, now %v", at, b.now)
		}
		b.fail = nil
		next, err := b.end("a", p, true, true)
		if must(t, next, err); next.Epoch != p.Epoch+1 {
			t.Fatal(next)
		}
	})
}

func TestTransactionalIDsExpire(t *testing.T) {
	b := newBroker(t)
	p, _ := b.init("a", NoProducer)
	b.pass(6 * 24 * time.Hour)
	wants(t, "produce", b.produce("a", p, p0, 1, true), nil)
	b.pass(time.Minute) // timed out: used until now
	b.pass(7*24*time.Hour - 1)
	if _, known := b.c.Describe("a"); !known {
		t.Fatal("gone too early")
	}
	b.fail = errDisk
	b.pass(1)
	b.fail = nil
	if _, known := b.c.Describe("a"); !known {
		t.Fatal("gone without a record")
	}
	b.pass(retryAfter)
	if _, known := b.c.Describe("a"); known || b.c.bytes != 0 {
		t.Fatalf("still there, %d bytes", b.c.bytes)
	}
	wants(t, "produce", b.produce("a", p, p0, 1, true), ErrProducerMapping)
	b.restart()
	if _, known := b.c.Describe("a"); known {
		t.Fatal("back after a restart")
	}
	// Case: who comes back with its old producer gets a new one.
	next, err := b.init("a", p)
	if must(t, next, err); next.ID == p.ID || next.Epoch != 0 {
		t.Fatal(next)
	}
}

func TestTransactionsAreBounded(t *testing.T) {
	b := newBroker(t)
	b.c.o.MaxBytes = 2*idBytes + 400
	a, err := b.init("a", NoProducer)
	wants(t, "first", err, nil)
	_, err = b.init("b", NoProducer)
	wants(t, "second", err, nil)
	_, err = b.init("c", NoProducer)
	wants(t, "third", err, ErrNoRoom)
	n := 0
	for err = nil; err == nil; n++ {
		err = b.produce("a", a, Partition{Index: int32(n)}, 1, true)
	}
	wants(t, "partition", err, ErrNoRoom)
	wants(t, "add", b.add("a", a, Partition{Index: 99}), ErrNoRoom)
	wants(t, "positions", b.commitOffset("a", a, "g", 1, true), ErrNoRoom)
	if n != 7 {
		t.Fatalf("%d partitions", n-1)
	}
	_, err = b.end("a", a, true, true)
	wants(t, "end", err, nil)
	if b.c.bytes != 2*idBytes+2 {
		t.Fatalf("%d bytes", b.c.bytes)
	}
}

func TestCoordinatorRecords(t *testing.T) {
	b := newBroker(t)
	p, _ := b.init("a", NoProducer)
	b.init("b", NoProducer)
	wants(t, "add", b.add("a", p, p2, p0, p2), nil)
	wants(t, "add", b.addGroup("a", p, "g"), nil)
	b.checkpoint()
	b.restart()
	if !bytes.Equal(b.c.Snapshot(), b.snap) {
		t.Fatal("a snapshot read back differs")
	}
	d, _ := b.c.Describe("a")
	if d.State != "Ongoing" || !slices.Equal(d.Partitions, []Partition{p0, p2}) {
		t.Fatalf("%+v", d)
	}
	record := encodeState("a", b.c.ids["a"].durable)
	for i := range record {
		for _, bad := range [][]byte{record[:i], append(bytes.Clone(record[:i]), append([]byte{record[i] ^ 0x81}, record[i+1:]...)...)} {
			c := NewCoordinator(Options{})
			if err := c.ApplyRecord(bad); err != nil && (!errors.Is(err, ErrCorruptRecord) || len(c.ids) > 0) {
				t.Fatalf("%x: %v", bad, err)
			} else if err == nil && len(bad) < len(record) {
				t.Fatalf("cut at %d and taken", i)
			}
		}
	}
	for i := range b.snap {
		if err := NewCoordinator(Options{}).Load(b.snap[:i]); !errors.Is(err, ErrCorruptRecord) {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
}

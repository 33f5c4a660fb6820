package reactor

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tidings.dev/internal/cloudevent"
)

// TestSchedulerAgreesWithAModel checks the scheduler under random events against a model that is too simple to be
// wrong: it has sets of offsets and no queues. After each step the model checks the scheduler's decisions:
//
//   - An item that runs is the oldest open event of its subject in its incarnation, and was not handled in it.
//   - At most one item of a subject is given out at a time, over all incarnations.
//   - No item of a partition that is revoked or lost is begun, and none while the partition's states are being rebuilt.
//   - No worker is free while an item could run.
//   - Each event is folded at most once in an incarnation, in the order of its subject.
//   - An event without a handler is done only after a look at the subscriptions that began after the event had arrived.
//   - A position that is to be committed has no open event below it, and marks name each done offset once.
//   - Nothing is written of a partition that is sealed for a seek, and what still runs of it then makes no offset done in
//     the incarnation that follows.
func TestSchedulerAgreesWithAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(t)
		for range rapid.IntRange(1, 150).Draw(t, "steps") {
			m.anything()
		}
		m.finishAll()
	})
}

// model is the state that a scheduler should have, and its environment: a log and a group.
type model struct {
	t *rapid.T
	s *scheduler

	log       map[topicPartition][]record // content of the log
	committed map[topicPartition]finished // what the group has committed, by partition

	last  incarnation // the last incarnation that was assigned
	owned map[topicPartition]*modelPartition
	busy  int // number of workers
	// items given out. true: a worker runs it, or will; false: its worker is free or runs another one, because its
	// emissions are not durable yet or its timeout has passed
	out     map[*item]bool
	turns   map[*turn][]*item // what workers have left to run, by their turns; they run the first of it
	late    map[*item]bool    // those items of out whose timeout has passed and whose handler has not returned
	waiting map[*item]bool    // items that wait for another attempt; true once an armRetry has come
	stale   []*item           // items that were withdrawn while they waited; their timers may fire nevertheless
	round   []finished        // parts of the open round; nil if there is none
	idle    map[incarnation]bool
	flush   bool
	ready   bool
	stopped bool // polling is paused
	paused  map[topicPartition]bool
	wanted  bool          // a wantRefetch has come, and no refetchBegun since
	reread  []refetchPart // parts left of the refetch under way; nil if there is none
	asked   bool          // a look at the subscriptions is under way
	stood   bool          // the instance stands down
}

// modelPartition is a partition that the instance owns, in one incarnation. The maps are by offset, except ids and
// newest.
type modelPartition struct {
	assignment
	next     int64 // the next offset to fetch
	taken    bool  // the replay is finished
	revoking bool
	sealed   bool
	ids      map[string]bool
	open     map[int64]string // subjects of the events whose handlers have not succeeded yet
	withheld map[int64]string // types of the events without a handler that wait for the next look at the subscriptions
	passing  map[int64]string // likewise, of the look that is under way
	done     map[int64]bool   // done in this incarnation, or done ahead when it began
	marked   map[int64]bool
	folded   map[int64]bool
	newest   map[string]int64 // by subject: the offset that was folded last
}

// newModel returns a model with a scheduler of a random configuration.
func newModel(t *rapid.T) *model {
	c := config{
		stateful:    rapid.Bool().Draw(t, "stateful"),
		concurrency: rapid.IntRange(1, 3).Draw(t, "concurrency"),
		window:      rapid.SampledFrom([]int{0, 1000}).Draw(t, "window"),
		limits:      limits{maxAhead: 6, resumeAhead: 3},
		turn:        rapid.IntRange(0, 4).Draw(t, "turn"),
		budget:      rapid.SampledFrom([]int64{4_000, 12_000, 1 << 30}).Draw(t, "budget"), // one item takes about 800 bytes
	}
	s := newScheduler(c)
	s.pace = 0 // as if many handlers had succeeded in no time
	return &model{
		t: t, s: s, turns: make(map[*turn][]*item),
		log: make(map[topicPartition][]record), committed: make(map[topicPartition]finished), owned: make(map[topicPartition]*modelPartition),
		out: make(map[*item]bool), late: make(map[*item]bool), waiting: make(map[*item]bool), idle: make(map[incarnation]bool), paused: make(map[topicPartition]bool),
	}
}

// anything draws a random event and passes it to the scheduler.
func (m *model) anything() {
	switch rapid.SampledFrom([]string{"assign", "arrive", "arrive", "arrive", "end", "end", "end", "end many", "cut", "free", "late", "retry", "retry", "flush", "revoke", "lose", "round", "round", "drop", "pass", "pass", "slow", "reread", "reread", "renew", "seek", "seek"}).Draw(m.t, "event") {
	case "assign":
		m.assign(m.numbers())
	case "arrive":
		m.arrive(m.anyPartition(), rapid.IntRange(1, 6).Draw(m.t, "records"))
	case "end":
		m.end()
	case "free":
		if it := m.pick("worker", m.out, m.runs); it != nil {
			m.out[it] = false
			if m.endTask(it) {
				m.step(workerFree{it})
			}
		}
	case "late":
		if it := m.pick("late", m.out, m.runs); it != nil {
			m.cut(it.turn)
			m.out[it], m.late[it] = false, true
			m.endTask(it)
			m.step(timedOut{it})
		}
	case "cut":
		if it := m.pick("cut", m.out, m.runs); it != nil {
			m.cut(it.turn)
		}
	case "end many":
		m.endMany()
	case "retry":
		if it := m.pick("retry", m.waiting, nil); it != nil {
			delete(m.waiting, it)
			m.step(retryDue{it})
		} else if len(m.stale) > 0 {
			m.step(retryDue{m.stale[0]})
		}
	case "slow":
		if it := m.pick("slow", m.out, m.begun); it != nil {
			m.step(slow{it})
		}
	case "reread":
		m.readAgain()
	case "renew":
		m.step(renew{})
	case "flush":
		if m.flush {
			m.flush = false
			m.step(flushDue{})
		}
	case "revoke":
		m.revoke(m.someOwned())
	case "lose":
		m.lose(m.someOwned())
	case "round":
		m.nextRound()
	case "seek":
		m.seek()
	case "pass":
		if m.stood && rapid.IntRange(0, 3).Draw(m.t, "rejoin") == 0 {
			m.rejoin()
			return
		}
		m.pass(rapid.SampledFrom([]string{"failed", "none", "x", "y"}).Draw(m.t, "named"))
	case "drop": // the committed position is lost, as if an administrator had moved it back
		delete(m.committed, m.anyPartition())
	}
}

// numbers draws a partition number, and returns the partitions with this number: those of both topics if there is
// state, since these are assigned together, else of one or two topics.
func (m *model) numbers() (drawn []topicPartition) {
	number := rapid.Int32Range(0, 1).Draw(m.t, "number")
	topics := []string{"orders", "returns"}
	if !m.s.stateful {
		topics = topics[:rapid.IntRange(1, 2).Draw(m.t, "topics")]
	}
	for _, topic := range topics {
		drawn = append(drawn, topicPartition{topic, number})
	}
	return drawn
}

// anyPartition draws a partition.
func (m *model) anyPartition() topicPartition {
	return topicPartition{rapid.SampledFrom([]string{"orders", "returns"}).Draw(m.t, "topic"), rapid.Int32Range(0, 1).Draw(m.t, "number")}
}

// someOwned draws partitions as numbers does, and returns the incarnations of those that are owned.
func (m *model) someOwned() (some []incarnation) {
	for _, tp := range m.numbers() {
		if p := m.owned[tp]; p != nil {
			some = append(some, p.incarnation)
		}
	}
	return some
}

// assign assigns partitions, each as a new incarnation that begins at its committed position.
func (m *model) assign(partitions []topicPartition) {
	var ev assigned
	for _, tp := range partitions {
		c := m.committed[tp]
		a := assignment{topicPartition: tp, position: c.position}
		if c.incarnation > 0 {
			meta, err := decodeMetadata(c.position, c.draft.text(0))
			if err != nil {
				m.t.Fatalf("metadata of %s: %v", tp, err)
			}
			a.ahead, a.epoch = meta.ahead, meta.epoch
		}
		if old := m.owned[tp]; old != nil {
			m.gone(old)
		} else if m.paused[tp] {
			m.t.Fatalf("%s is assigned, and is not fetched", tp)
		}
		ev.partitions = append(ev.partitions, m.take(a))
	}
	m.step(ev)
}

// take makes the model own a partition, and returns its assignment, in a new incarnation.
func (m *model) take(a assignment) assignment {
	m.last++
	a.incarnation = m.last
	if !m.s.stateful {
		a.replayFrom = max(0, a.position-int64(m.s.window))
	}
	done := make(map[int64]bool)
	for _, r := range a.ahead.Ranges() {
		for o := r.Lo; o < r.Hi; o++ {
			done[o] = true
		}
	}
	m.owned[a.topicPartition] = &modelPartition{
		assignment: a, next: a.replayFrom, taken: a.replayFrom == a.position, done: done,
		withheld: make(map[int64]string), passing: make(map[int64]string),
		ids: make(map[string]bool), open: make(map[int64]string), marked: make(map[int64]bool), folded: make(map[int64]bool), newest: make(map[string]int64),
	}
	a.ahead = a.ahead.Clone()
	return a
}

// seek seals partitions, or moves those that are sealed: back or ahead, with some of what was done open again, and some of what was
// not done jumped.
func (m *model) seek() {
	var sealed []*modelPartition
	for _, tp := range []topicPartition{{"orders", 0}, {"orders", 1}, {"returns", 0}, {"returns", 1}} {
		if p := m.owned[tp]; p != nil && p.sealed {
			sealed = append(sealed, p)
		}
	}
	if len(sealed) == 0 {
		if which := m.someOwned(); m.round == nil && len(which) > 0 {
			m.revoke(which)
			m.step(roundBegun{of: which})
			m.endRound(roundEnded{marked: true})
			for _, i := range which {
				m.byIncarnation(i).sealed = true
			}
			m.step(seal{which})
		}
		return
	}
	var ev moved
	for _, p := range sealed {
		to := rapid.Int64Range(0, p.next).Draw(m.t, "to")
		at := resumePoint{position: to, epoch: p.epoch + 1}
		for o := to; o < p.next; o++ {
			if done := p.done[o] || o < p.position; rapid.IntRange(0, 3).Draw(m.t, "changed") == 0 != done {
				at.ahead.Add(o, o+1)
			}
		}
		f := at.asCommit(p.topicPartition)
		f.incarnation = p.incarnation
		m.committed[p.topicPartition] = f
		m.gone(p)
		ev.partitions = append(ev.partitions, m.take(assignment{topicPartition: p.topicPartition, position: to, epoch: at.epoch, ahead: at.ahead}))
	}
	m.step(ev)
}

// gone removes a lost partition from the model.
func (m *model) gone(p *modelPartition) {
	delete(m.owned, p.topicPartition)
	m.withdrawn(p)
}

// withdrawn removes the waiting items of a partition from the model. Their timers may have fired already.
func (m *model) withdrawn(p *modelPartition) {
	p.revoking = true
	for it := range m.waiting {
		if it.partition.incarnation == p.incarnation {
			delete(m.waiting, it)
			m.stale = append(m.stale, it)
		}
	}
}

// revoke revokes partitions, and checks that those without items given out become idle at once.
func (m *model) revoke(which []incarnation) {
	for _, i := range which {
		m.withdrawn(m.byIncarnation(i))
	}
	m.step(revoke{which})
	for _, i := range which {
		if idle := m.outOf(i) == 0; m.idle[i] != idle {
			m.t.Fatalf("incarnation %d is idle: %v, and %d of it are out", i, m.idle[i], m.outOf(i))
		}
	}
}

// lose loses partitions.
func (m *model) lose(which []incarnation) {
	for _, i := range which {
		m.gone(m.byIncarnation(i))
	}
	m.step(lost{which})
}

// byIncarnation returns the owned partition with this incarnation, or nil.
func (m *model) byIncarnation(i incarnation) *modelPartition {
	for _, p := range m.owned {
		if p.incarnation == i {
			return p
		}
	}
	return nil
}

// outOf returns the number of items of an incarnation that are given out.
func (m *model) outOf(i incarnation) (n int) {
	for it := range m.out {
		if it.partition.incarnation == i {
			n++
		}
	}
	return n
}

// arrive makes n records of a partition arrive, and appends to the log if it has too few. The scheduler must ignore
// them if the partition is not owned.
func (m *model) arrive(tp topicPartition, n int) {
	p := m.owned[tp]
	from := int64(0)
	if p != nil {
		from = p.next
		if p.taken && from > p.position && rapid.IntRange(0, 5).Draw(m.t, "again") == 0 {
			from = p.position // fetched a second time
		}
	}
	var records []record
	for range n {
		r := m.read(tp, from)
		from = r.Offset + 1
		records = append(records, r)
		if p != nil && !p.revoking && !m.stood {
			m.expect(p, &r)
		}
	}
	m.step(arrived{tp, records})
}

// read returns the first record of a partition at or above the offset from. If there is none, read appends a random
// record.
func (m *model) read(tp topicPartition, from int64) record {
	records := m.log[tp]
	if i := slices.IndexFunc(records, func(r record) bool { return r.Offset >= from }); i >= 0 {
		return records[i]
	}
	r := record{Event: cloudevent.Event{
		Topic: tp.topic, Partition: tp.partition, Offset: from,
		Subject: rapid.SampledFrom([]string{"a", "b", "c", ""}).Draw(m.t, "subject"),
	}}
	if n := len(records); n > 0 {
		r.Offset = max(from, records[n-1].Offset+1)
	}
	r.Offset += rapid.SampledFrom([]int64{0, 0, 0, 2}).Draw(m.t, "hole")
	r.ID = fmt.Sprint(tp, "@", r.Offset)
	switch rapid.SampledFrom([]string{"handled", "handled", "handled", "unhandled", "control", "copy"}).Draw(m.t, "kind") {
	case "unhandled":
		r.Type = rapid.SampledFrom([]string{"x", "y"}).Draw(m.t, "type")
	case "control":
		r.control = true
	case "copy":
		if n := len(records); n > 0 {
			r.ID, r.Type = records[n-1].ID, records[n-1].Type
		}
		fallthrough
	case "handled":
		r.handler = &Handler{}
		if m.s.stateful {
			r.handler.Fold = func(*cloudevent.Event) any { return nil }
		}
	}
	r.identity = r.Identity()
	m.log[tp] = append(records, r)
	return r
}

// expect updates the model for a record that arrives.
func (m *model) expect(p *modelPartition, r *record) {
	if r.Offset < p.next {
		return // arrived before
	}
	for o := max(p.next, p.position); o < r.Offset; o++ {
		p.done[o] = true // no record has this offset
	}
	p.next = r.Offset + 1
	if r.Offset >= p.position-1 {
		p.taken = true
	}
	copied := p.ids[r.ID] && m.s.window > 0
	if !r.control {
		p.ids[r.ID] = true
	}
	switch {
	case r.Offset < p.position || p.done[r.Offset]:
	case r.handler == nil && !r.control:
		p.withheld[r.Offset] = r.Type
	case r.control || copied:
		p.done[r.Offset] = true
	default:
		p.open[r.Offset] = r.Subject
	}
}

// end ends a random attempt that is given out, with a random outcome.
func (m *model) end() {
	it := m.pick("attempt", m.out, m.begun)
	if it == nil {
		return
	}
	a := attempt{item: it, freeWorker: m.late[it]}
	if m.out[it] {
		a.freeWorker = m.endTask(it)
	}
	delete(m.out, it)
	delete(m.late, it)
	p := m.byIncarnation(it.partition.incarnation)
	o := it.event.Offset
	how := rapid.SampledFrom([]string{"handled", "handled", "skipped", "failed"}).Draw(m.t, "how")
	if p != nil && how != "failed" {
		p.done[o] = true
		delete(p.open, o)
	}
	switch how {
	case "handled":
		m.step(handled{attempt: a})
	case "skipped":
		m.step(skipped{attempt: a})
	case "failed":
		if p != nil && !p.revoking {
			m.waiting[it] = false
		}
		m.step(failed{attempt: a, wait: time.Second})
		if armed, waits := m.waiting[it]; waits && !armed {
			m.t.Fatalf("no retry of %s@%d is armed", it.partition, o)
		}
	}
	if p != nil && p.revoking && m.idle[p.incarnation] != (m.outOf(p.incarnation) == 0) {
		m.t.Fatalf("incarnation %d is idle: %v, and %d of it are out", p.incarnation, m.idle[p.incarnation], m.outOf(p.incarnation))
	}
}

// runs reports whether a worker runs the handler of an item that is given out.
func (m *model) runs(it *item) bool { return m.out[it] && m.turns[it.turn][0] == it }

// begun reports whether the handler of an item that is given out was called.
func (m *model) begun(it *item) bool { return !m.out[it] || m.runs(it) }

// endTask removes an item that runs from its turn. If there is another one, the worker runs that. Otherwise it is free, and endTask
// returns true.
func (m *model) endTask(it *item) (free bool) {
	left := m.turns[it.turn][1:]
	if len(left) > 0 {
		left[0].fold = false // by the worker, which folds it
		m.turns[it.turn] = left
		return false
	}
	delete(m.turns, it.turn)
	m.busy--
	return true
}

// cut returns the items of a turn whose handlers were not called.
func (m *model) cut(t *turn) {
	ev := &ended{returned: slices.Clone(m.turns[t][1:])}
	m.turns[t] = m.turns[t][:1]
	for _, it := range ev.returned {
		delete(m.out, it)
		p := m.byIncarnation(it.partition.incarnation)
		if o := it.event.Offset; p != nil && it.fold {
			delete(p.folded, o)
			delete(p.newest, it.event.Subject)
			for _, r := range m.log[p.topicPartition] {
				if r.Subject == it.event.Subject && p.folded[r.Offset] {
					p.newest[r.Subject] = max(p.newest[r.Subject], r.Offset)
				}
			}
		}
	}
	m.step(ev)
	m.checkIdle()
}

// checkIdle checks that partitions that are given up are idle once nothing of them is given out.
func (m *model) checkIdle() {
	for _, p := range m.owned {
		if p.revoking && m.idle[p.incarnation] != (m.outOf(p.incarnation) == 0) {
			m.t.Fatalf("incarnation %d is idle: %v, and %d of it are out", p.incarnation, m.idle[p.incarnation], m.outOf(p.incarnation))
		}
	}
}

// endMany ends several attempts of a turn with success.
func (m *model) endMany() {
	first := m.pick("first", m.out, m.runs)
	if first == nil {
		return
	}
	t := first.turn
	ev := new(ended)
	for range rapid.IntRange(1, len(m.turns[t])).Draw(m.t, "ended") {
		it := m.turns[t][0]
		ev.handled = append(ev.handled, handled{}, handled{attempt: attempt{item: it}})
		if m.endTask(it) {
			ev.free = t
		}
		m.succeed(it)
	}
	m.step(ev)
	m.checkIdle()
}

// succeed notes that the handler of an item has succeeded.
func (m *model) succeed(it *item) {
	delete(m.out, it)
	delete(m.late, it)
	if p := m.byIncarnation(it.partition.incarnation); p != nil {
		p.done[it.event.Offset] = true
		delete(p.open, it.event.Offset)
	}
}

// pick draws one of the items in from for which which returns true (all if which is nil), or returns nil if there is
// none.
func (m *model) pick(label string, from map[*item]bool, which func(*item) bool) *item {
	items := slices.SortedFunc(maps.Keys(from), func(a, b *item) int {
		if a.partition.incarnation != b.partition.incarnation {
			return int(a.partition.incarnation - b.partition.incarnation)
		}
		return int(a.event.Offset - b.event.Offset)
	})
	if which != nil {
		items = slices.DeleteFunc(items, func(it *item) bool { return !which(it) })
	}
	if len(items) == 0 {
		return nil
	}
	return items[rapid.IntRange(0, len(items)-1).Draw(m.t, label)]
}

// pass begins a look at the subscriptions or, if one is under way, ends it: the subscriptions name the type named
// ("none" for no type), or reading them has failed ("failed").
func (m *model) pass(named string) {
	if !m.asked {
		want := false
		for _, p := range m.owned {
			if !m.stood && len(p.withheld) > 0 {
				want = true
				maps.Copy(p.passing, p.withheld)
				clear(p.withheld)
			}
		}
		m.step(passBegun{})
		if m.asked != want {
			m.t.Fatalf("a look at the subscriptions is wanted: %v, want %v", m.asked, want)
		}
		return
	}
	m.asked = false
	if named == "failed" {
		for _, p := range m.owned {
			maps.Copy(p.withheld, p.passing)
			clear(p.passing)
		}
		m.step(passEnded{})
		return
	}
	stands := m.stood
	for _, p := range m.owned {
		if slices.Contains(slices.Collect(maps.Values(p.passing)), named) {
			stands = true
			continue
		}
		for o := range p.passing {
			p.done[o] = true
		}
		clear(p.passing)
	}
	m.step(passEnded{func(_, typ string) bool { return typ == named }})
	if m.stood != stands {
		m.t.Fatalf("the instance stands down: %v, want %v", m.stood, stands)
	}
}

// rejoin loses all partitions, and makes an instance that stands down take records again.
func (m *model) rejoin() {
	if m.asked {
		m.pass("none")
	}
	var all []incarnation
	for _, p := range m.owned {
		all = append(all, p.incarnation)
	}
	m.lose(all) // together, because states over two topics belong to the partition number
	m.stood = false
	m.step(rejoin{})
}

// nextRound begins a commit round or, if one is open, ends it with a random result.
func (m *model) nextRound() {
	if m.round == nil {
		var of []incarnation
		if rapid.Bool().Draw(m.t, "last round") {
			of = append([]incarnation{0}, m.someOwned()...)
		}
		m.step(roundBegun{of: of})
		return
	}
	m.endRound(roundEnded{marked: rapid.IntRange(0, 3).Draw(m.t, "marked") > 0})
}

// endRound ends the open round, if there is one.
func (m *model) endRound(ev roundEnded) {
	if m.round == nil {
		return
	}
	for _, f := range m.round {
		p := m.owned[f.topicPartition]
		if p == nil || p.incarnation != f.incarnation {
			continue // its commit is fenced
		}
		if !ev.marked {
			for _, o := range markedBy(f) {
				delete(p.marked, o)
			}
			continue
		}
		if rapid.IntRange(0, 3).Draw(m.t, "refused") == 0 {
			ev.uncommitted = append(ev.uncommitted, f.incarnation)
		} else {
			m.committed[f.topicPartition] = f
		}
	}
	m.round = nil
	m.step(ev)
}

// step passes an event to the scheduler, checks each effect, and checks that the scheduler's counts agree with the
// model.
func (m *model) step(ev event) {
	for _, e := range m.s.step(ev) {
		m.check(e)
	}
	if m.busy != m.s.workers || m.busy > m.s.concurrency {
		m.t.Fatalf("%d workers, want %d, at most %d", m.s.workers, m.busy, m.s.concurrency)
	}
	if m.s.retrying != len(m.waiting) {
		m.t.Fatalf("%d items wait for another attempt, want %d", m.s.retrying, len(m.waiting))
	}
	if m.busy < m.s.concurrency {
		m.checkNothingCouldRun()
	}
	m.checkMemory()
}

// check checks an effect and applies it to the model.
func (m *model) check(e effect) {
	switch e := e.(type) {
	case run:
		m.checkRun(e)
	case fold:
		p := m.owned[topicPartition{e.event.Topic, e.event.Partition}]
		m.checkFold(p, e.event)
		if e.event.Offset >= p.position && !p.done[e.event.Offset] {
			m.t.Fatalf("%s@%d is folded without its handler, and is to be handled", p.topicPartition, e.event.Offset)
		}
	case commit:
		m.round = e.parts
		for _, f := range e.parts {
			m.checkFinished(f)
		}
	case armRetry:
		if armed, waits := m.waiting[e.item]; armed || !waits {
			m.t.Fatalf("a retry of %s@%d is armed", e.item.partition, e.item.event.Offset)
		}
		m.waiting[e.item] = true
	case disarmRetry:
		if !slices.Contains(m.stale, e.item) {
			m.t.Fatalf("a retry of %s@%d is disarmed", e.item.partition, e.item.event.Offset)
		}
	case becomeIdle:
		if m.idle[e.incarnation] {
			m.t.Fatalf("incarnation %d becomes idle twice", e.incarnation)
		}
		m.idle[e.incarnation] = true
	case pauseFetch:
		if p := m.owned[e.topicPartition]; p == nil || p.revoking || m.paused[e.topicPartition] {
			m.t.Fatalf("%s is paused: %+v", e.topicPartition, p)
		}
		m.paused[e.topicPartition] = true
	case resumeFetch:
		if !m.paused[e.topicPartition] {
			m.t.Fatalf("%s is resumed", e.topicPartition)
		}
		delete(m.paused, e.topicPartition)
	case wantRefetch:
		if m.wanted || m.reread != nil {
			m.t.Fatal("a refetch is wanted twice")
		}
		m.wanted = true
	case refetch:
		m.checkRefetch(e)
	case pausePolling, resumePolling:
		_, stop := e.(pausePolling)
		if m.stopped == stop {
			m.t.Fatalf("%T twice", e)
		}
		m.stopped = stop
	case checkTypes:
		m.asked = true
	case standDown:
		m.stood = true
	case armFlush:
		if m.flush {
			m.t.Fatal("a flush is armed twice")
		}
		m.flush = true
	case becomeReady:
		if m.ready {
			m.t.Fatal("ready twice")
		}
		m.ready = true
		for _, p := range m.owned {
			if m.s.stateful && !p.taken {
				m.t.Fatalf("ready while %s is replayed", p.topicPartition)
			}
		}
	}
}

// checkRun checks that an item may run now.
func (m *model) checkRun(e run) {
	it := e.item
	o, p := it.event.Offset, m.byIncarnation(it.partition.incarnation)
	name := fmt.Sprintf("%s@%d", it.partition, o)
	subject, open := "", false
	switch {
	case p == nil || p.revoking:
		m.t.Fatalf("%s runs, and its partition is given up", name)
	case m.gateClosed(p.partition):
		m.t.Fatalf("%s runs while states are rebuilt", name)
	case m.s.draining:
		m.t.Fatalf("%s runs while draining", name)
	}
	if subject, open = p.open[o]; !open {
		m.t.Fatalf("%s runs, and is done or no event to be handled", name)
	}
	for other, s := range p.open {
		if subject != "" && s == subject && other < o {
			m.t.Fatalf("%s runs before offset %d of the same subject", name, other)
		}
	}
	if m.blocked(p.topicPartition, o, subject) {
		m.t.Fatalf("%s runs while another event of its subject is out or waits", name)
	}
	if e.fold {
		m.checkFold(p, &it.event)
	} else if m.s.stateful && !p.folded[o] {
		m.t.Fatalf("%s runs before it is folded", name)
	}
	m.out[it] = true
	if m.turns[it.turn] == nil {
		m.busy++
		it.fold = false // by the worker, which folds it
	}
	m.turns[it.turn] = append(m.turns[it.turn], it)
	if len(m.turns[it.turn]) > max(1, m.s.turn) {
		m.t.Fatalf("%d items in a turn", len(m.turns[it.turn]))
	}
}

// blocked reports whether an event has to wait for another: for an item of the same subject that is given out or waits
// for another attempt; if it has no subject, for itself in an earlier incarnation; or for an earlier event of its
// subject that is withheld.
func (m *model) blocked(tp topicPartition, offset int64, subject string) bool {
	for _, items := range []map[*item]bool{m.out, m.waiting} {
		for it := range items {
			same := it.partition.topicPartition == tp && it.event.Offset == offset
			if it.event.Subject == subject && (subject != "" || same) {
				return true
			}
		}
	}
	// An earlier event of the subject may be withheld.
	p := m.owned[tp]
	for _, held := range []map[int64]string{p.withheld, p.passing} {
		for o := range held {
			i := slices.IndexFunc(m.log[tp], func(r record) bool { return r.Offset == o })
			if o < offset && subject != "" && m.log[tp][i].Subject == subject {
				return true
			}
		}
	}
	return false
}

// gateClosed reports whether a partition with this number is being replayed to rebuild states.
func (m *model) gateClosed(number int32) bool {
	for _, p := range m.owned {
		if m.s.stateful && p.partition == number && !p.taken {
			return true
		}
	}
	return false
}

// checkFold checks that an event may be folded now.
func (m *model) checkFold(p *modelPartition, e *cloudevent.Event) {
	if newest, any := p.newest[e.Subject]; p.folded[e.Offset] || any && e.Subject != "" && newest > e.Offset {
		m.t.Fatalf("%s@%d is folded a second time, or after offset %d", p.topicPartition, e.Offset, newest)
	}
	p.folded[e.Offset], p.newest[e.Subject] = true, e.Offset
}

// markedBy returns the offsets that a part of a round marks, as done or as copies.
func markedBy(f finished) (marked []int64) {
	for _, r := range f.done {
		for o := r.Lo; o < r.Hi; o++ {
			marked = append(marked, o)
		}
	}
	for _, c := range f.copies {
		marked = append(marked, c.Offset)
	}
	return marked
}

// checkFinished checks a part of a commit round: its position, its marks and its metadata.
func (m *model) checkFinished(f finished) {
	p := m.owned[f.topicPartition]
	if p == nil || p.incarnation != f.incarnation {
		m.t.Fatalf("%s is committed in incarnation %d, which is not owned", f.topicPartition, f.incarnation)
	}
	if p.sealed || f.epoch != p.epoch {
		m.t.Fatalf("%s is committed in epoch %d, want %d; sealed: %v", f.topicPartition, f.epoch, p.epoch, p.sealed)
	}
	want := p.position
	for p.done[want] {
		want++
	}
	if f.position != want {
		m.t.Fatalf("position %d of %s is committed, want %d", f.position, f.topicPartition, want)
	}
	for _, o := range markedBy(f) {
		if !p.done[o] || p.marked[o] {
			m.t.Fatalf("%s@%d is marked; done: %v, marked before: %v", f.topicPartition, o, p.done[o], p.marked[o])
		}
		p.marked[o] = true
	}
	for _, c := range f.copies {
		log := m.log[f.topicPartition]
		idOf := func(o int64) string {
			i := slices.IndexFunc(log, func(r record) bool { return r.Offset == o })
			return log[i].ID
		}
		if idOf(c.Offset) != idOf(c.Of) || c.Of >= c.Offset {
			m.t.Fatalf("%s@%d is marked as a copy of %d", f.topicPartition, c.Offset, c.Of)
		}
	}
	meta, err := decodeMetadata(f.position, f.draft.text(0))
	if err != nil {
		m.t.Fatal(err)
	}
	for o := range p.next + 5 {
		if ahead := o > f.position && p.done[o]; meta.ahead.Contains(o) != ahead {
			m.t.Fatalf("metadata of %s says that %d is done ahead of %d: %v", f.topicPartition, o, f.position, !ahead)
		}
	}
}

// checkNothingCouldRun checks that no open event could run. It is called while a worker is free.
func (m *model) checkNothingCouldRun() {
	for _, p := range m.owned {
		if p.revoking || m.gateClosed(p.partition) {
			continue
		}
		for o, subject := range p.open {
			if !m.blocked(p.topicPartition, o, subject) && !m.inBacklog(p, o, subject) {
				m.t.Fatalf("%s@%d (%q) could run, and a worker is free", p.topicPartition, o, subject)
			}
		}
	}
}

// finishAll ends everything successfully, and checks that every event was marked and that the scheduler holds nothing
// any more.
func (m *model) finishAll() {
	if m.round != nil {
		m.round = nil
		m.step(roundEnded{marked: true})
	}
	if m.stood {
		m.rejoin()
	}
	for len(m.owned) < 4 || slices.ContainsFunc(slices.Collect(maps.Values(m.owned)), func(p *modelPartition) bool { return !p.taken || p.revoking }) {
		for number := range int32(2) {
			tps := []topicPartition{{"orders", number}, {"returns", number}}
			if slices.ContainsFunc(tps, func(tp topicPartition) bool { p := m.owned[tp]; return p == nil || p.revoking }) {
				m.assign(tps)
			}
			for _, tp := range tps {
				if !m.owned[tp].taken {
					m.arrive(tp, 20)
				}
			}
		}
	}
	if m.asked {
		m.pass("none")
	}
	if m.pass("none"); m.asked {
		m.pass("none")
	}
	for len(m.out) > 0 || len(m.waiting) > 0 || m.wanted || m.reread != nil {
		m.readAgain()
		for it := range m.waiting {
			delete(m.waiting, it)
			m.step(retryDue{it})
		}
		for t, items := range maps.Clone(m.turns) {
			delete(m.turns, t)
			m.busy--
			ev := &ended{free: t}
			for _, it := range items {
				ev.handled = append(ev.handled, handled{attempt: attempt{item: it}})
				m.succeed(it)
			}
			m.step(ev)
		}
		for it, worker := range maps.Clone(m.out) {
			if !worker {
				late := m.late[it]
				m.succeed(it)
				m.step(handled{attempt: attempt{item: it, freeWorker: late}})
			}
		}
	}
	var all []incarnation
	for _, p := range m.owned {
		all = append(all, p.incarnation)
	}
	m.step(roundBegun{of: all})
	for _, p := range m.owned {
		for o := p.position; o < p.next; o++ {
			if !p.marked[o] && !p.ahead.Contains(o) {
				m.t.Fatalf("%s@%d was never marked", p.topicPartition, o)
			}
		}
		q := m.s.partitions[p.topicPartition]
		if len(p.open) > 0 || len(q.held) > 0 || q.out != 0 || q.tracker.open != 0 || q.tracker.position < q.tracker.next {
			m.t.Fatalf("left of %s: %v; %+v", p.topicPartition, p.open, q)
		}
		for _, r := range m.log[p.topicPartition] {
			first := r.ID == fmt.Sprint(p.topicPartition, "@", r.Offset) || m.s.window == 0
			if m.s.stateful && r.Offset >= p.replayFrom && r.Offset < p.next && r.handler != nil && first && !p.folded[r.Offset] {
				m.t.Fatalf("%s@%d was never folded", p.topicPartition, r.Offset)
			}
		}
	}
	if s := m.s; s.lanes.queued != 0 || s.lanes.table.len != 0 || len(s.backlogs) != 0 || s.inBacklogs != 0 || s.bytes != 0 || s.heldBytes != 0 || len(s.blocked) != 0 || len(s.due) != 0 || !s.polling {
		m.t.Fatalf("left: %+v", s)
	}
}

package story

import (
	"fmt"
	"hash/fnv"
	"maps"
	"slices"

	"tidings.dev/internal/obligation"
)

// world is a model of everything that writes to a log: producers, reactions with their instances, and people. It knows
// what is true by its own means, and shares no code with the judge.
type world struct {
	choose func(n int, what string) int // in [0, n)

	logs      map[partition][]entry // topics 1..3 are an application's, the others are below
	topics    []topicNum
	reactions []*actor
	runs      []*run
	roots     int
	markFirst bool // sabotage: a reaction marks before it emits
}

// The topics of obligations in the model.
const (
	worldSubscriptions topicNum = 100 + iota
	worldReactions
	worldStory
)

// entry is a record: an event, or a fact of obligations.
type entry struct {
	id, correlation string
	typ             nameNum
	depth           int
	fact            obligation.Fact
}

// actor is a reaction on one topic.
type actor struct {
	name  string
	topic topicNum
	types []nameNum
	sub   *obligation.Subscription
	told  bool // the subscription is in the log
	parts map[int32]*owner
}

// owner is the instance that has a partition, as it sees things itself.
type owner struct {
	position int64
	epoch    int64
	done     map[int64]bool // beyond the position
	running  map[int64]bool
}

// run is one run of a handler. It outlives its owner: then it is a zombie.
type run struct {
	a      *actor
	at     place
	epoch  int64
	owner  *owner
	emit   []entry
	emitTo []partition
	marked bool
}

func newWorld(choose func(int, string) int) *world {
	w := &world{choose: choose, logs: make(map[partition][]entry), topics: []topicNum{1}}
	for _, p := range []partition{{1, 0}, {1, 1}, {worldSubscriptions, 0}, {worldReactions, 0}, {worldStory, 0}} {
		w.logs[p] = nil
	}
	return w
}

func (w *world) append(p partition, e entry) int64 {
	w.logs[p] = append(w.logs[p], e)
	return int64(len(w.logs[p]) - 1)
}

func (w *world) parts() []partition {
	return slices.SortedFunc(maps.Keys(w.logs), func(a, b partition) int {
		return int(a.topic)*10 + int(a.partition) - int(b.topic)*10 - int(b.partition)
	})
}

// emissions is what a reaction emits for an event: decided by their names, so that a second run emits the same.
func (w *world) emissions(a *actor, e entry) ([]entry, []partition) {
	h := fnv.New32a()
	fmt.Fprint(h, a.name, e.id)
	n := h.Sum32()
	var out []entry
	var to []partition
	for i := range int(n % 3) {
		if e.depth >= 2 {
			break
		}
		topic := w.topics[int(n>>4+uint32(i))%len(w.topics)]
		out = append(out, entry{id: fmt.Sprintf("%s>%s%d", e.id, a.name, i), correlation: e.correlation, typ: nameNum(1 + (n>>8+uint32(i))%3), depth: e.depth + 1})
		to = append(to, partition{topic, int32(n >> 12 % 2)})
	}
	return out, to
}

// step lets one thing happen.
func (w *world) step() {
	acts := []func(){w.start, w.start, w.advance, w.advance, w.advance, w.root, w.join, w.announce, w.rebalance, w.seek, w.retire, w.newTopic, w.late}
	acts[w.choose(len(acts), "act")]()
}

// drain lets every reaction do what there is to do, and nothing else happen.
func (w *world) drain() {
	chaotic := w.choose
	defer func() { w.choose = chaotic }()
	w.choose = func(int, string) int { return 0 }
	for range w.reactions {
		w.announce()
	}
	for busy := true; busy; {
		busy = false
		for len(w.runs) > 0 {
			busy = true
			w.advance()
		}
		for _, a := range w.reactions {
			for p, o := range a.parts {
				if !a.sub.Retired && o.position < int64(len(w.logs[partition{a.topic, p}])) {
					busy = true
					w.begin(a, p)
				}
			}
		}
	}
}

func (w *world) root() {
	id := fmt.Sprintf("e%d", w.roots)
	w.roots++
	p := partition{w.topics[w.choose(len(w.topics), "topic")], int32(w.choose(2, "partition"))}
	w.append(p, entry{id: id, correlation: id, typ: nameNum(1 + w.choose(3, "type"))})
}

// late emits one more event into a story that has begun.
func (w *world) late() {
	if w.roots > 0 {
		id := fmt.Sprintf("e%d", w.choose(w.roots, "story"))
		w.append(partition{1, int32(w.choose(2, "partition"))}, entry{id: fmt.Sprintf("late%d", w.roots), correlation: id, typ: nameNum(1 + w.choose(3, "type"))})
		w.roots++
	}
}

func (w *world) newTopic() {
	if len(w.topics) < 3 {
		t := topicNum(len(w.topics) + 1)
		w.topics = append(w.topics, t)
		w.logs[partition{t, 0}], w.logs[partition{t, 1}] = nil, nil
	}
}

// join resolves where a new reaction starts. Its subscription lands later, and events may come in between.
func (w *world) join() {
	if len(w.reactions) >= 4 {
		return
	}
	t := w.topics[w.choose(len(w.topics), "topic")]
	a := &actor{name: string(rune('A' + len(w.reactions))), topic: t, parts: make(map[int32]*owner)}
	for typ := nameNum(1); typ <= 3; typ++ {
		if w.choose(4, "wants") > 0 {
			a.types = append(a.types, typ)
		}
	}
	if len(a.types) == 0 {
		a.types = []nameNum{1}
	}
	a.sub = &obligation.Subscription{Reaction: a.name, Topic: fmt.Sprint(t), Start: map[int32]int64{}, Since: map[int32]int64{}}
	beginning := w.choose(2, "from beginning") == 1
	for p := range int32(2) {
		end := int64(len(w.logs[partition{t, p}]))
		a.sub.Since[p], a.sub.Start[p] = end, end
		if beginning {
			a.sub.Start[p] = 0
		}
		a.parts[p] = newOwner(a.sub.Start[p], 0)
	}
	w.reactions = append(w.reactions, a)
}

func newOwner(position, epoch int64) *owner {
	return &owner{position, epoch, make(map[int64]bool), make(map[int64]bool)}
}

func (w *world) announce() {
	for _, a := range w.reactions {
		if !a.told {
			a.told = true
			w.append(partition{worldSubscriptions, 0}, entry{fact: a.sub, typ: 0})
			return
		}
	}
}

func (w *world) actor() *actor {
	if len(w.reactions) == 0 {
		return nil
	}
	if a := w.reactions[w.choose(len(w.reactions), "reaction")]; a.told && !a.sub.Retired {
		return a
	}
	return nil
}

// start begins to handle an event, not always the next one: subjects run in parallel.
func (w *world) start() {
	if a := w.actor(); a != nil {
		w.begin(a, int32(w.choose(2, "partition")))
	}
}

func (w *world) begin(a *actor, p int32) {
	o, log := a.parts[p], w.logs[partition{a.topic, p}]
	var free []int64
	for off := o.position; off < int64(len(log)) && len(free) < 3; off++ {
		if !o.done[off] && !o.running[off] {
			free = append(free, off)
		}
	}
	if len(free) == 0 {
		return
	}
	off := free[w.choose(len(free), "offset")]
	r := &run{a: a, at: place{partition{a.topic, p}, off}, epoch: o.epoch, owner: o}
	if slices.Contains(a.types, log[off].typ) {
		r.emit, r.emitTo = w.emissions(a, log[off])
	}
	o.running[off] = true
	w.runs = append(w.runs, r)
}

// advance takes one run one step on: an emission is acknowledged, or at last the mark is appended.
func (w *world) advance() {
	if len(w.runs) == 0 {
		return
	}
	i := w.choose(len(w.runs), "run")
	r := w.runs[i]
	if w.markFirst && !r.marked {
		w.mark(r)
		return
	}
	if len(r.emit) > 0 {
		w.append(r.emitTo[0], r.emit[0])
		r.emit, r.emitTo = r.emit[1:], r.emitTo[1:]
		return
	}
	if !r.marked {
		w.mark(r)
	}
	w.runs = slices.Delete(w.runs, i, i+1)
}

func (w *world) mark(r *run) {
	r.marked = true
	o := r.owner
	delete(o.running, r.at.offset)
	o.done[r.at.offset] = true
	for o.done[o.position] {
		delete(o.done, o.position)
		o.position++
	}
	w.append(partition{worldReactions, 0}, entry{fact: &obligation.Marks{Reaction: r.a.name, Topic: fmt.Sprint(r.at.topic), Partition: r.at.partition.partition,
		Epoch: r.epoch, Done: []obligation.Range{{Lo: r.at.offset, Hi: r.at.offset + 1}}, Position: o.position}})
}

// rebalance gives a partition to another instance, which begins again at the committed position. Runs go on.
func (w *world) rebalance() {
	if a := w.actor(); a != nil {
		p := int32(w.choose(2, "partition"))
		o := a.parts[p]
		a.parts[p] = newOwner(max(0, o.position-int64(w.choose(3, "uncommitted"))), o.epoch)
		if a.parts[p].position < a.sub.Start[p] {
			a.parts[p].position = a.sub.Start[p]
		}
	}
}

func (w *world) seek() {
	if a := w.actor(); a != nil && w.choose(3, "really") == 0 {
		p := int32(w.choose(2, "partition"))
		o := a.parts[p]
		to := int64(w.choose(len(w.logs[partition{a.topic, p}])+1, "to"))
		w.append(partition{worldReactions, 0}, entry{fact: &obligation.Seek{Reaction: a.name, Topic: fmt.Sprint(a.topic), Partition: p, From: o.position, To: to, Epoch: o.epoch + 1}})
		a.parts[p] = newOwner(to, o.epoch+1)
	}
}

func (w *world) retire() {
	if a := w.actor(); a != nil && w.choose(8, "really") == 0 {
		gone := *a.sub
		gone.Retired = true
		a.sub = &gone
		w.append(partition{worldSubscriptions, 0}, entry{fact: &gone})
	}
}

// snapshot is how long every log was at one moment.
type snapshot map[partition]int64

func (w *world) snapshot() snapshot {
	s := make(snapshot)
	for p, log := range w.logs {
		s[p] = int64(len(log))
	}
	return s
}

// truth tells what was so about a story at the moment of a snapshot: its number of events, who owed something, and
// what would still be emitted by what had been marked.
func (w *world) truth(s snapshot, correlation string) (events int, owed, toCome []string) {
	subs := make(map[string]*obligation.Subscription)
	for _, e := range w.logs[partition{worldSubscriptions, 0}][:s[partition{worldSubscriptions, 0}]] {
		sub := e.fact.(*obligation.Subscription)
		subs[sub.Reaction] = sub
	}
	// What is done, offset by offset.
	type spot struct {
		reaction string
		part     int32
		offset   int64
	}
	done := make(map[spot]bool)
	epochs := make(map[spot]int64)
	for _, e := range w.logs[partition{worldReactions, 0}][:s[partition{worldReactions, 0}]] {
		switch f := e.fact.(type) {
		case *obligation.Marks:
			if f.Epoch >= epochs[spot{f.Reaction, f.Partition, 0}] {
				for _, r := range f.Done {
					for o := r.Lo; o < r.Hi; o++ {
						done[spot{f.Reaction, f.Partition, o}] = true
					}
				}
			}
		case *obligation.Seek:
			epochs[spot{f.Reaction, f.Partition, 0}] = f.Epoch
			for k := range done {
				if k.reaction == f.Reaction && k.part == f.Partition && k.offset >= f.To {
					delete(done, k)
				}
			}
			for o := f.From; o < f.To; o++ {
				done[spot{f.Reaction, f.Partition, o}] = true
			}
		}
	}
	skippedBySeek := func(a *actor, p int32, off int64) bool {
		for _, e := range w.logs[partition{worldReactions, 0}][:s[partition{worldReactions, 0}]] {
			if f, ok := e.fact.(*obligation.Seek); ok && f.Reaction == a.name && f.Partition == p && f.From <= off && off < f.To {
				return true
			}
		}
		return false
	}
	written := make(map[string]bool)
	for p, log := range w.logs {
		if p.topic < worldSubscriptions {
			for _, e := range log[:s[p]] {
				written[e.id] = true
			}
		}
	}
	type copies struct {
		partition
		id string
	}
	seen := make(map[copies]bool)
	for p, n := range s {
		if p.topic >= worldSubscriptions {
			continue
		}
		for off := int64(0); off < n; off++ {
			e := w.logs[p][off]
			if e.correlation != correlation {
				continue
			}
			first := !seen[copies{p, e.id}]
			seen[copies{p, e.id}] = true
			if !first {
				continue
			}
			events++
			for _, a := range w.reactions {
				sub := subs[a.name]
				if sub == nil || sub.Retired || a.topic != p.topic || !slices.Contains(a.types, e.typ) || off < sub.Start[p.partition] || off < sub.Since[p.partition] {
					continue
				}
				met := false
				jumped := false
				for o := off; o < n; o++ {
					if w.logs[p][o].id == e.id {
						met = met || done[spot{a.name, p.partition, o}]
						jumped = jumped || skippedBySeek(a, p.partition, o)
					}
				}
				if !met {
					owed = append(owed, fmt.Sprintf("%s owes %s at %d/%d@%d", a.name, e.id, p.topic, p.partition, off))
				} else if !jumped {
					out, _ := w.emissions(a, e)
					for _, x := range out {
						if !written[x.id] {
							toCome = append(toCome, fmt.Sprintf("%s will emit %s", a.name, x.id))
						}
					}
				}
			}
		}
	}
	return events, owed, toCome
}

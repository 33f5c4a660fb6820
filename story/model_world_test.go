package story

import (
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"strings"

	"tidings.dev/internal/obligation"
	"tidings.dev/internal/offsets"
)

// world is a model of everything that writes to a log: producers, reactions with their instances, and administrators.
// Its method truth computes what is true of a story; it shares no code with the judge.
type world struct {
	choose func(n int, what string) int // returns a number in [0, n)

	logs          map[partition][]entry // of the topics of an application, also of deleted ones, and of those below
	topics        []topicNum            // those of the application that there are, by name: see topicName
	reactions     []*actor
	runs          []*run              // handlers that are running
	remakes       bool                // topics are deleted and made again
	restores      bool                // the log goes back
	restoresOften bool                // of six chances that it may, it takes all
	removes       bool                // records are removed that the indexer has not read; reactions have fetched them before
	forgets       bool                // partitions lose what they have, as those in memory do, and reactions go on behind it
	starts        map[partition]int64 // where the log of partitions that have lost something begins
	forgot        int64               // the serial when something was lost last
	made          map[string]topicNum // by name, the last topic that was made: also those that a restore has taken keep their numbers
	taken         map[topicNum]bool   // topics that were made after the backup with which the broker has started: as if they were deleted
	joined        int                 // number of reactions that have joined
	leader        int32               // leader epoch of the records that are appended now
	restarts      int                 // number of times that the broker has started again
	unseen        bool                // the indexer has not connected since the broker has started again
	serial        int64               // number of records that were appended, also of those that a restore has taken
	backup        *backup             // nil if there is none
	roots         int                 // number of events that have begun a story
	markFirst     bool                // sabotage: a reaction writes marks before it emits
}

// topicStep is the difference between the number of a topic and that of the one which is made after it under its name.
const topicStep = 10

// topicName returns the name of a topic. Those of one name are 1, 11, 21 and so on.
func topicName(t topicNum) string { return fmt.Sprint(t % topicStep) }

// topicID returns the id of a topic.
func topicID(t topicNum) obligation.TopicID { return obligation.TopicID{byte(t)} }

// topicWith returns the topic with an id.
func topicWith(id obligation.TopicID) topicNum { return topicNum(id[0]) }

// The topics of the facts about obligations.
const (
	worldSubscriptions topicNum = 100 + iota
	worldReactions
	worldStory
)

// entry is a record: an event, or a fact about obligations.
type entry struct {
	id, correlation string
	typ             nameNum
	depth           int             // number of causes above the event
	fact            obligation.Fact // nil for an event
	never           bool            // there has never been a record at this offset
	leader          int32           // leader epoch
	serial          int64           // stands for the time: no two records have the same
}

// actor is a reaction on one topic.
type actor struct {
	name      string
	topic     topicNum
	types     []nameNum
	sub       *obligation.Subscription
	announced bool // the subscription is in the log
	old       bool // it is of an earlier version, whose marks do not say what was emitted: nor what of it was lost with a partition in memory
	parts     map[int32]*owner
}

// owner is the instance to which a partition is assigned, with the state that it knows. Another instance may have taken
// over.
type owner struct {
	position int64
	epoch    int64
	done     map[int64]bool // offsets done beyond the position
	running  map[int64]bool
}

// run is one run of a handler. It may go on after its partition was assigned to another owner.
type run struct {
	a       *actor
	at      location
	epoch   int64
	owner   *owner
	of      int // the offset of the event's first record: if the record at at is another one, it is a copy
	emit    []entry
	emitTo  []partition
	through map[emittedTo]offsets.Range // what was emitted
	marked  bool
	handles bool // the reaction has a handler for the event's type
}

// emittedTo is a partition between two losses of what it had.
type emittedTo struct {
	partition
	start int64 // of its log
}

// newWorld returns a world with one topic and no events.
func newWorld(choose func(int, string) int) *world {
	w := &world{choose: choose, logs: make(map[partition][]entry), topics: []topicNum{1}, made: map[string]topicNum{"1": 1}, taken: make(map[topicNum]bool), starts: make(map[partition]int64)}
	for _, p := range []partition{{1, 0}, {1, 1}, {worldSubscriptions, 0}, {worldReactions, 0}, {worldStory, 0}} {
		w.logs[p] = nil
	}
	return w
}

// append appends an entry and returns its offset.
func (w *world) append(p partition, e entry) int64 {
	w.serial++
	e.leader, e.serial = w.leader, w.serial
	w.logs[p] = append(w.logs[p], e)
	return int64(len(w.logs[p]) - 1)
}

// parts returns all partitions, in order.
func (w *world) parts() []partition {
	return slices.SortedFunc(maps.Keys(w.logs), func(a, b partition) int {
		return int(a.topic)*10 + int(a.partition) - int(b.topic)*10 - int(b.partition)
	})
}

// emissions returns the events that a reaction emits when it handles an event, and their partitions. They depend only
// on the names of the reaction and the event, so that a second run emits the same events.
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

// step makes one random thing happen.
func (w *world) step() {
	acts := []func(){w.start, w.start, w.advance, w.advance, w.advance, w.root, w.join, w.announce, w.rebalance, w.seek, w.retire, w.newTopic, w.late, w.again, w.widen}
	if w.remakes {
		acts = append(acts, w.remake, w.renew)
	}
	if w.restores {
		acts = append(acts, w.goBack)
	}
	if w.forgets {
		acts = append(acts, w.forget)
	}
	acts[w.choose(len(acts), "act")]()
}

// forget makes a partition lose all that it has, as one in memory does when its broker starts again. Its offsets go on further up.
func (w *world) forget() {
	if w.choose(4, "really") > 0 {
		return
	}
	p := partition{w.topics[w.choose(len(w.topics), "topic")], int32(w.choose(2, "partition"))}
	for _, r := range w.runs {
		if len(r.emit) > 0 && len(r.through) > 0 {
			p = partition{w.now(r.emitTo[0].topic), r.emitTo[0].partition} // it may have emitted there, and goes on
		}
	}
	for range 1 + w.choose(3, "never given") {
		w.append(p, entry{never: true})
	}
	w.starts[p], w.forgot = int64(len(w.logs[p])), w.serial
}

// drain makes every reaction append its subscription and handle all events, and nothing else happen.
func (w *world) drain() {
	chaotic := w.choose
	defer func() { w.choose = chaotic }()
	w.choose = func(int, string) int { return 0 }
	for range w.reactions {
		w.announce()
	}
	for range w.reactions {
		w.renew()
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

// root emits an event that begins a story.
func (w *world) root() {
	id := fmt.Sprintf("e%d", w.roots)
	w.roots++
	p := partition{w.topics[w.choose(len(w.topics), "topic")], int32(w.choose(2, "partition"))}
	w.append(p, entry{id: id, correlation: id, typ: nameNum(1 + w.choose(3, "type"))})
}

// again emits an event a second time, as an emitter does that has not received an acknowledgement.
func (w *world) again() {
	p := partition{w.topics[w.choose(len(w.topics), "topic")], int32(w.choose(2, "partition"))}
	if log := w.logs[p]; len(log) > 0 {
		if e := log[w.choose(len(log), "event")]; !e.never {
			w.append(p, e)
		}
	}
}

// late emits another event into a story that has begun.
func (w *world) late() {
	if w.roots > 0 {
		id := fmt.Sprintf("e%d", w.choose(w.roots, "story"))
		w.append(partition{w.topics[0], int32(w.choose(2, "partition"))}, entry{id: fmt.Sprintf("late%d", w.roots), correlation: id, typ: nameNum(1 + w.choose(3, "type"))})
		w.roots++
	}
}

// newTopic adds a topic, up to three.
func (w *world) newTopic() {
	if len(w.topics) < 3 {
		w.topics = append(w.topics, w.makeTopic(topicNum(len(w.topics)+1)))
	}
}

// remake deletes a topic and makes it again under its name. Who has read something of the deleted one may handle and mark it still.
// An indexer that learns of this and of a restore at once cannot tell what the deleted topic had.
func (w *world) remake() {
	if w.choose(4, "really") > 0 || w.unseen {
		return
	}
	i := w.choose(len(w.topics), "topic")
	if w.made[topicName(w.topics[i])]+topicStep < worldSubscriptions {
		w.topics[i] = w.makeTopic(w.topics[i])
	}
}

// makeTopic returns a topic that has just been made under the name of t.
func (w *world) makeTopic(t topicNum) topicNum {
	name := topicName(t)
	if last, ok := w.made[name]; ok {
		t = last + topicStep
	}
	w.made[name] = t
	w.logs[partition{t, 0}], w.logs[partition{t, 1}] = nil, nil
	return t
}

// now returns the topic that there is of the name of t.
func (w *world) now(t topicNum) topicNum { return w.topics[t%topicStep-1] }

// renew makes the first reaction whose topic was deleted subscribe to the one that was made again, and read it from the start.
func (w *world) renew() {
	for _, a := range w.reactions {
		if t := w.now(a.topic); t != a.topic && a.announced && !a.sub.Retired {
			a.topic = t
			a.parts = map[int32]*owner{0: newOwner(0, 0), 1: newOwner(0, 0)}
			revision := a.sub.Revision
			a.sub = a.sub.On(topicID(t))
			a.sub.Revision = revision + 1
			w.append(partition{worldSubscriptions, 0}, entry{fact: a.sub})
			return
		}
	}
}

// join adds a reaction and determines the offsets at which it starts. Its subscription is appended later, by announce,
// and events may come in between.
func (w *world) join() {
	if len(w.reactions) >= 4 {
		return
	}
	t := w.topics[w.choose(len(w.topics), "topic")]
	a := &actor{name: string(rune('A' + w.joined)), topic: t, parts: make(map[int32]*owner), old: w.choose(4, "version") == 3 && !w.forgets}
	for typ := nameNum(1); typ <= 3; typ++ {
		if w.choose(4, "wants") > 0 {
			a.types = append(a.types, typ)
		}
	}
	if len(a.types) == 0 {
		a.types = []nameNum{1}
	}
	a.sub = &obligation.Subscription{Reaction: a.name, Topic: topicName(t), TopicID: topicID(t), Start: map[int32]int64{}, Since: map[int32]int64{}, Revision: 1}
	for _, typ := range a.types {
		a.sub.Types = append(a.sub.Types, fmt.Sprint(typ))
	}
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
	w.joined++
}

// newOwner returns an owner that has done nothing beyond its position.
func newOwner(position, epoch int64) *owner {
	return &owner{position, epoch, make(map[int64]bool), make(map[int64]bool)}
}

// advance moves the position past the offsets that are done.
func (o *owner) advance() {
	for o.done[o.position] {
		delete(o.done, o.position)
		o.position++
	}
}

// announce appends the subscription of the first reaction that has none in the log.
func (w *world) announce() {
	for _, a := range w.reactions {
		if !a.announced {
			a.announced = true
			w.append(partition{worldSubscriptions, 0}, entry{fact: a.sub, typ: 0})
			return
		}
	}
}

// widen makes a reaction handle another type: its subscription first has the type as joining. If a type is joining,
// widen instead determines the offsets from which on it is owed.
func (w *world) widen() {
	a := w.actor()
	if a == nil {
		return
	}
	next := a.sub.Clone()
	next.Revision++
	if len(next.Joining) > 0 {
		next.TypeSince = make(map[string]map[int32]int64)
		maps.Copy(next.TypeSince, a.sub.TypeSince)
		for _, typ := range next.Joining {
			next.TypeSince[typ] = map[int32]int64{0: int64(len(w.logs[partition{a.topic, 0}])), 1: int64(len(w.logs[partition{a.topic, 1}]))}
		}
		next.Joining = nil
	} else {
		typ := nameNum(1 + w.choose(3, "type"))
		if slices.Contains(a.types, typ) {
			return
		}
		a.types = append(slices.Clone(a.types), typ)
		next.Types, next.Joining = append(next.Types, fmt.Sprint(typ)), []string{fmt.Sprint(typ)}
	}
	a.sub = next
	w.append(partition{worldSubscriptions, 0}, entry{fact: next})
}

// actor returns a random reaction, or nil if its subscription is not in the log or is retired.
func (w *world) actor() *actor {
	if len(w.reactions) == 0 {
		return nil
	}
	if a := w.reactions[w.choose(len(w.reactions), "reaction")]; a.announced && !a.sub.Retired {
		return a
	}
	return nil
}

// start begins to handle an event of a random reaction. It need not be the next event, since subjects are handled in
// parallel.
func (w *world) start() {
	if a := w.actor(); a != nil {
		w.begin(a, int32(w.choose(2, "partition")))
	}
}

// begin starts a run for one of the first three events of a partition that are neither done nor running.
func (w *world) begin(a *actor, p int32) {
	o, log, start := a.parts[p], w.logs[partition{a.topic, p}], w.starts[partition{a.topic, p}]
	o.position = max(o.position, start)
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
	r := &run{a: a, through: make(map[emittedTo]offsets.Range), at: location{partition{a.topic, p}, off}, epoch: o.epoch, owner: o}
	r.of = int(start) + slices.IndexFunc(log[start:], func(e entry) bool { return e.id == log[off].id })
	r.handles = slices.Contains(a.types, log[off].typ)
	if r.of == int(off) && r.handles {
		r.emit, r.emitTo = w.emissions(a, log[off])
	}
	o.running[off] = true
	w.runs = append(w.runs, r)
}

// advance moves a random run one step on: one of its emissions is acknowledged or, after all of them, its marks are
// appended.
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
		to := partition{w.now(r.emitTo[0].topic), r.emitTo[0].partition}
		at := w.append(to, r.emit[0])
		all, more := r.through[emittedTo{to, w.starts[to]}]
		if !more {
			all.Lo = at
		}
		all.Hi = at + 1
		r.through[emittedTo{to, w.starts[to]}] = all
		r.emit, r.emitTo = r.emit[1:], r.emitTo[1:]
		return
	}
	if !r.marked {
		w.mark(r)
	}
	w.runs = slices.Delete(w.runs, i, i+1)
}

// mark appends the marks of a run.
func (w *world) mark(r *run) {
	r.marked = true
	o := r.owner
	delete(o.running, r.at.offset)
	if typ := w.logs[r.at.partition][r.at.offset].typ; !r.handles && slices.Contains(r.a.types, typ) {
		return // a newer version of the reaction handles the type by now, so this one must not pass over the event
	}
	o.done[r.at.offset] = true
	o.advance()
	m := &obligation.Marks{Reaction: r.a.name, Topic: topicName(r.at.topic), TopicID: topicID(r.at.topic), Partition: r.at.partition.partition, Epoch: r.epoch, Position: o.position}
	if int64(r.of) == r.at.offset {
		m.Done = []offsets.Range{{Lo: r.at.offset, Hi: r.at.offset + 1}}
		if !r.handles {
			m.Unhandled = m.Done
		}
	} else {
		m.Copies = []obligation.Copy{{Offset: r.at.offset, Of: int64(r.of)}}
	}
	if !r.a.old {
		m.Emitted = []offsets.Range{}
		if len(r.through) > 0 {
			m.Emitted = m.Done
		}
		for to, all := range r.through {
			m.Through = append(m.Through, obligation.Position{Topic: topicName(to.topic), TopicID: topicID(to.topic), Partition: to.partition.partition, Offset: all.Hi, Span: all.Hi - all.Lo})
		}
	}
	w.append(partition{worldReactions, 0}, entry{fact: m})
}

// rebalance assigns a partition to another instance, which begins at the committed position. Handlers of the old
// instance go on.
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

// seek moves a position by hand.
func (w *world) seek() {
	if a := w.actor(); a != nil && w.choose(3, "really") == 0 {
		p := int32(w.choose(2, "partition"))
		o := a.parts[p]
		to := int64(w.choose(len(w.logs[partition{a.topic, p}])+1, "to"))
		w.append(partition{worldReactions, 0}, entry{fact: &obligation.Seek{Reaction: a.name, Topic: topicName(a.topic), TopicID: topicID(a.topic), Partition: p, From: o.position, To: to, Epoch: o.epoch + 1}})
		a.parts[p] = newOwner(to, o.epoch+1)
		if to >= o.position { // what was done beyond the new position stays done
			for off := range o.done {
				if off >= to {
					a.parts[p].done[off] = true
				}
			}
			a.parts[p].advance()
		}
	}
}

// retire ends a subscription for good.
func (w *world) retire() {
	if a := w.actor(); a != nil && w.choose(8, "really") == 0 {
		gone := a.sub.Clone()
		gone.Retired = true
		gone.Revision++
		a.sub = gone
		w.append(partition{worldSubscriptions, 0}, entry{fact: gone})
	}
}

// snapshot is the number of entries in each partition at one moment.
type snapshot map[partition]int64

// snapshot returns the present numbers of entries.
func (w *world) snapshot() snapshot {
	s := make(snapshot)
	for p, log := range w.logs {
		s[p] = int64(len(log))
	}
	return s
}

// subscriptionTo returns the subscription of a reaction that applies to a topic: the newest of those to it or, if it has none,
// what the newest to an earlier topic of its name means for it. The reaction has retired from all topics of the name if it
// has from the last. It returns nil if there is none. subs are the subscriptions of the reaction, in order.
func subscriptionTo(t topicNum, subs []*obligation.Subscription) (sub *obligation.Subscription) {
	for _, s := range subs {
		if topicWith(s.TopicID) <= t {
			sub = s.On(topicID(t))
		}
	}
	if sub != nil {
		sub.Retired = subs[len(subs)-1].Retired
	}
	return sub
}

// truth returns what was true of a story at the moment of s: the number of its events, the obligations that were not
// met, and the events that runs which had already marked would still emit, or whose emission was lost: s has no more of a
// partition of a topic that was deleted than what the indexer has read. Losses are known if the marks tell of them, as those of
// earlier versions do not. gone reports whether the indexer knows that a topic was deleted. removed has what was removed before the indexer
// read it: missedOwed tells of that.
func (w *world) truth(s snapshot, removed map[location]bool, gone func(topicNum) bool, correlation string) (events int, owed, toCome []string) {
	subs := make(map[string][]*obligation.Subscription)
	for _, e := range w.logs[partition{worldSubscriptions, 0}][:s[partition{worldSubscriptions, 0}]] {
		sub := e.fact.(*obligation.Subscription)
		subs[sub.Reaction] = append(subs[sub.Reaction], sub)
	}
	// The offsets that are done, by reaction.
	type spot struct {
		reaction string
		partition
		offset int64
	}
	done, handled := make(map[spot]bool), make(map[spot]bool)
	copies, linked := make(map[spot]bool), make(map[spot]bool) // originals that marks of copies name; those that were handled, too
	epochs := make(map[spot]int64)
	for _, e := range w.logs[partition{worldReactions, 0}][:s[partition{worldReactions, 0}]] {
		switch f := e.fact.(type) {
		case *obligation.Marks:
			p := partition{topicWith(f.TopicID), f.Partition}
			if f.Epoch >= epochs[spot{f.Reaction, p, 0}] {
				for _, r := range f.Done {
					for o := r.Lo; o < r.Hi; o++ {
						done[spot{f.Reaction, p, o}] = true
						handled[spot{f.Reaction, p, o}] = len(f.Unhandled) == 0
						linked[spot{f.Reaction, p, o}] = linked[spot{f.Reaction, p, o}] || copies[spot{f.Reaction, p, o}]
					}
				}
				for _, c := range f.Copies {
					of := spot{f.Reaction, p, c.Of}
					linked[of] = linked[of] || handled[of]
					copies[of] = copies[of] || !done[of]
				}
			}
		case *obligation.Seek:
			p := partition{topicWith(f.TopicID), f.Partition}
			epochs[spot{f.Reaction, p, 0}] = f.Epoch
			for k := range done {
				if f.To < f.From && k.reaction == f.Reaction && k.partition == p && k.offset >= f.To {
					delete(done, k)
				}
			}
			for o := f.From; o < f.To; o++ {
				done[spot{f.Reaction, p, o}] = true
			}
		}
	}
	skippedBySeek := func(a *actor, p partition, off int64) bool {
		for _, e := range w.logs[partition{worldReactions, 0}][:s[partition{worldReactions, 0}]] {
			if f, ok := e.fact.(*obligation.Seek); ok && f.Reaction == a.name && topicWith(f.TopicID) == p.topic && f.Partition == p.partition && f.From <= off && off < f.To {
				return true
			}
		}
		return false
	}
	written, lost := make(map[string]bool), make(map[string]bool)
	for p, log := range w.logs {
		if p.topic < worldSubscriptions {
			for _, e := range log[:s[p]] {
				written[e.id] = true
			}
			if gone(p.topic) {
				for _, e := range log[s[p]:] {
					lost[e.id] = true
				}
			}
		}
	}
	type event struct {
		partition
		id string
	}
	seen := make(map[event]bool)
	for p, n := range s {
		if p.topic >= worldSubscriptions {
			continue
		}
		for off := int64(0); off < n; off++ {
			e := w.logs[p][off]
			if e.correlation != correlation || removed[location{p, off}] {
				continue
			}
			first := !seen[event{p, e.id}]
			seen[event{p, e.id}] = true
			if !first {
				continue
			}
			events++
			for _, a := range w.reactions {
				if topicName(a.topic) != topicName(p.topic) {
					continue
				}
				sub := subscriptionTo(p.topic, subs[a.name])
				if sub == nil || sub.Retired || !subscribedThen(sub, p.partition, off, fmt.Sprint(e.typ)) {
					continue
				}
				met, emits, jumped := false, false, false
				for o := range n { // those below off were removed unread
					if w.logs[p][o].id == e.id {
						at := spot{a.name, p, o}
						met = met || done[at]
						// Not if the original was removed, and had come before the reaction handled its type, or no mark names its copy.
						emits = emits || done[at] && handled[at] && (linked[at] || !removed[location{p, o}])
						jumped = jumped || skippedBySeek(a, p, o)
					}
				}
				if !met {
					owed = append(owed, fmt.Sprintf("%s owes %s at %d/%d@%d", a.name, e.id, p.topic, p.partition, off))
				} else if emits && !jumped {
					out, _ := w.emissions(a, e)
					for _, x := range out {
						if !written[x.id] && !(a.old && lost[x.id]) {
							toCome = append(toCome, fmt.Sprintf("%s will emit %s", a.name, x.id))
						}
					}
				}
			}
		}
	}
	return events, owed, toCome
}

// missingCause returns the id of an event that is not in a cut, though one is that has followed from it and from the event which has
// begun the story; empty if there is none. Events do not count that were lost with their topics: truth tells of those. Nor do those of
// handlers that have not marked: they owe nothing, if their reaction has retired or was made to jump over the event.
func (w *world) missingCause(cut snapshot, removed map[location]bool, gone func(topicNum) bool, correlation string) string {
	there, lost := make(map[string]bool), make(map[string]bool)
	for p, log := range w.logs {
		read := min(cut[p], int64(len(log)))
		for off, e := range log[:read] {
			if removed[location{p, int64(off)}] {
				lost[e.id] = true
			} else {
				there[e.id] = true
			}
		}
		if gone(p.topic) {
			for _, e := range log[read:] {
				lost[e.id] = true
			}
		}
	}
	marked := make(map[string]bool) // the ids of events, with ">" and the name of the reaction
	epochs := make(map[string]map[partition]int64)
	for _, e := range w.logs[partition{worldReactions, 0}][:cut[partition{worldReactions, 0}]] {
		switch f := e.fact.(type) {
		case *obligation.Marks:
			p := partition{topicWith(f.TopicID), f.Partition}
			if f.Epoch < epochs[f.Reaction][p] {
				continue
			}
			for _, r := range f.Done {
				marked[w.logs[p][r.Lo].id+">"+f.Reaction] = true
			}
		case *obligation.Seek:
			if epochs[f.Reaction] == nil {
				epochs[f.Reaction] = make(map[partition]int64)
			}
			epochs[f.Reaction][partition{topicWith(f.TopicID), f.Partition}] = f.Epoch
		}
	}
	for id := range there {
		for cut := strings.LastIndexByte(id, '>'); cut >= 0 && strings.HasPrefix(id, correlation+">"); cut = strings.LastIndexByte(id, '>') {
			id = id[:cut]
			if there[id] || lost[id] {
				continue
			}
			if by := strings.LastIndexByte(id, '>'); by < 0 || marked[id[:len(id)-1]] {
				return id
			}
		}
	}
	return ""
}

// missedOwed returns what a reaction owes to an event of a story that was removed before the indexer had read it, and that has followed, by marks,
// from one that it has read, if only over others that were removed, or that has begun the story, of which only what handlers have emitted was read;
// empty if there is nothing. cut is what the indexer has read.
func (w *world) missedOwed(cut snapshot, removed map[location]bool, correlation string) string {
	copied, outside := make(map[string]bool), false               // partitions and ids of events that were read
	marked, known := make(map[string]bool), make(map[string]bool) // ids with ">" and a reaction: handled by it; and read where it has handled them
	done, epochs := make(map[string]*offsets.Set), make(map[string]int64)
	set := func(reaction string, p partition) (string, *offsets.Set) {
		k := fmt.Sprint(reaction, p)
		if done[k] == nil {
			done[k] = new(offsets.Set)
		}
		return k, done[k]
	}
	for p, log := range w.logs {
		for off, e := range log[:min(cut[p], int64(len(log)))] {
			if !removed[location{p, int64(off)}] {
				outside = outside || e.correlation == correlation && e.depth == 0
				copied[fmt.Sprint(p, e.id)] = true
			}
		}
	}
	for _, e := range w.logs[partition{worldReactions, 0}][:cut[partition{worldReactions, 0}]] {
		switch f := e.fact.(type) {
		case *obligation.Marks:
			p := partition{topicWith(f.TopicID), f.Partition}
			if k, d := set(f.Reaction, p); f.Epoch >= epochs[k] {
				for _, r := range f.Done {
					d.Add(r.Lo, r.Hi)
					if id := w.logs[p][r.Lo].id; len(f.Unhandled) == 0 {
						marked[id+">"+f.Reaction] = true
						known[id+">"+f.Reaction] = known[id+">"+f.Reaction] || r.Lo < cut[p] && !removed[location{p, r.Lo}]
					}
				}
			}
		case *obligation.Seek:
			k, d := set(f.Reaction, partition{topicWith(f.TopicID), f.Partition})
			epochs[k] = f.Epoch
			if f.Back() {
				d.CutFrom(f.To)
			}
			d.Add(f.From, max(f.From, f.To))
		}
	}
	subs, since := make(map[string][]*obligation.Subscription), make(map[string]int64)
	for _, e := range w.logs[partition{worldSubscriptions, 0}][:cut[partition{worldSubscriptions, 0}]] {
		sub := e.fact.(*obligation.Subscription)
		if since[sub.Reaction] == 0 {
			since[sub.Reaction] = e.serial
		}
		subs[sub.Reaction] = append(subs[sub.Reaction], sub)
	}
	// follows reports whether an event has followed, by marks, from one that was read.
	var follows func(id string) bool
	follows = func(id string) bool {
		by := strings.LastIndexByte(id, '>')
		return by >= 0 && marked[id[:len(id)-1]] && (known[id[:len(id)-1]] || follows(id[:by]))
	}
	for at := range removed {
		log := w.logs[at.partition]
		e := log[at.offset]
		if e.correlation != correlation || copied[fmt.Sprint(at.partition, e.id)] {
			continue
		}
		if root := e.depth == 0; root && outside || !root && !follows(e.id) {
			continue
		}
		if slices.IndexFunc(log, func(o entry) bool { return o.id == e.id }) != int(at.offset) {
			continue
		}
		if w.elsewhere(at.partition, e.id) {
			continue // by another run of the handler: the marks of the one that has emitted it here may not count
		}
		for _, a := range w.reactions {
			sub := subscriptionTo(at.topic, subs[a.name])
			if topicName(a.topic) != topicName(at.topic) || sub == nil || sub.Retired || !subscribedThen(sub, at.partition.partition, at.offset, fmt.Sprint(e.typ)) {
				continue
			}
			if e.serial < since[a.name] {
				continue // what has led to the event may have been forgotten before the subscription came
			}
			if _, d := set(a.name, at.partition); !d.Contains(at.offset) {
				return fmt.Sprintf("%s owes %s at %v, which was removed", a.name, e.id, at)
			}
		}
	}
	return ""
}

// elsewhere reports whether an event has a record in another partition than p.
func (w *world) elsewhere(p partition, id string) bool {
	for other, log := range w.logs {
		if other != p && slices.ContainsFunc(log, func(e entry) bool { return e.id == id }) {
			return true
		}
	}
	return false
}

// subscribedThen reports whether a subscription is to events of type typ that were appended at offset of partition p.
func subscribedThen(sub *obligation.Subscription, p int32, offset int64, typ string) bool {
	if !slices.Contains(sub.Types, typ) || slices.Contains(sub.Joining, typ) || offset < sub.Start[p] || offset < sub.Since[p] {
		return false
	}
	return offset >= sub.TypeSince[typ][p]
}

// modelType returns the number of a type of the model.
func modelType(typ string) nameNum {
	n, err := strconv.Atoi(typ)
	if err != nil {
		panic(err)
	}
	return nameNum(n)
}

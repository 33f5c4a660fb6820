package story

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"tidings.dev/internal/obligation"
	"tidings.dev/internal/offsets"
)

// memoryStore implements eventStore in memory.
type memoryStore struct {
	records map[partition][]storedRecord
	stories []*storedStory
	byName  map[string]storyNum
	read    snapshot
	misses  map[partition]miss
	removed map[location]bool // what was removed before it was read; records has an empty record in its place
	ends    snapshot          // of the world when something was missed last
}

type storedRecord struct {
	eventHead
	id string
}

type storedStory struct {
	standing
	correlation string
	records     int
}

// scan calls yield for the events of p at offsets in [lo, hi), until it returns false.
func (m *memoryStore) scan(p partition, lo, hi int64, yield func(int64, eventHead) bool) {
	for o := lo; o < min(hi, int64(len(m.records[p]))); o++ {
		if !m.removed[location{p, o}] && !yield(o, m.records[p][o].eventHead) {
			return
		}
	}
}

// copies returns the offsets of all records of the event at a place, itself included.
func (m *memoryStore) copies(at location) (offsets []int64) {
	for o, r := range m.records[at.partition] {
		if r.id == m.records[at.partition][at.offset].id {
			offsets = append(offsets, int64(o))
		}
	}
	return offsets
}

// standing returns the standing of a story, which the judge changes.
func (m *memoryStore) standing(n storyNum) *standing { return &m.stories[n].standing }

func (m *memoryStore) position(p partition) int64 { return m.read[p] }

func (m *memoryStore) missed(p partition) miss {
	of := m.misses[p]
	of.end = m.ends[p]
	return of
}

func (m *memoryStore) allMissed() (all []location) {
	for p, of := range m.misses {
		all = append(all, location{p, of.Hi})
	}
	return all
}

func (m *memoryStore) marksRemoved() bool { return false }

func (m *memoryStore) eventsOf(n storyNum, yield func(location) bool) {
	for p, log := range m.records {
		for o, r := range log {
			if at := (location{p, int64(o)}); r.story == n && !m.removed[at] && !yield(at) {
				return
			}
		}
	}
}

// modelIndexer reads the log of a world into a judge, each partition at its own pace, and appends the judge's verdicts
// to the log.
type modelIndexer struct {
	w         *world
	j         *judge
	m         *memoryStore
	read      snapshot
	topics    map[string]topicNum                   // those that the indexer has found to exist, by name
	subs      map[string][]*obligation.Subscription // those that were read, by reaction
	all       modelRound                            // of the log
	marks     modelRound                            // of the marks
	passed    modelRound                            // the last round of the marks that has ended
	early     snapshot                              // the watermarks that the sabotage earlyBarrier read
	underWay  []underWay                            // facts that are being appended
	acked     []acknowledged                        // facts that were appended and may not have been read
	ahead     map[string]obligation.Fact            // the newest fact of each story, by correlation
	tails     map[partition]*tail                   // of what was read
	connected int                                   // the starts of the world when index and log were compared last
	froze     []storyNum                            // the candidates of the present round of the log, for the sabotage keepCandidate
	how       sabotage
}

// underWay is a fact that is being appended about a story.
type underWay struct {
	entry
	story storyNum
}

// acknowledged is a fact about a story that was appended.
type acknowledged struct {
	story  storyNum
	offset int64
}

// modelRound is a round of the judge.
type modelRound struct {
	id     uint64
	wait   snapshot // the offsets that the indexer waits for; nil: there is no round
	moment snapshot // the world when the round had begun
}

// sabotage is what is wrong with the judge, or with what it is passed.
type sabotage struct {
	noBarrier     bool       // verdicts do not wait for the watermarks
	earlyBarrier  bool       // watermarks are read before the candidates are frozen
	without       []topicNum // topics that the barrier leaves out
	knownOnly     bool       // the barrier has only the topics that the index has read something of
	ignoreEpochs  bool       // marks count whatever their writer knew
	keepCandidate bool       // a candidate stays one when its story is touched
	noUnfreeze    bool       // a candidate stays one when an event of it becomes done that nobody was known to owe
	markFirst     bool       // the framework marks before it emits

	marksByName   bool // marks of a deleted topic count for the one that has its name
	throughByName bool // what was emitted to a deleted topic is looked for in the one that has its name
	settleLosses  bool // events that were lost with their topics are not missed
	noDiscovery   bool // the barrier has only topics that were known before
	noRenewal     bool // who was subscribed to a deleted topic is not to the one that has its name

	steady       bool       // nothing is wrong, but no topic is made again: the other faults of some judges are found sooner then
	onlyAll      bool       // every candidate waits for the log, as those do that are not traced
	marksAtOnce  bool       // rounds of the marks wait for nothing
	marksWithout []topicNum // topics that rounds of the marks leave out
	noReach      bool       // nothing that marks have led to is waited for
	emittedNone  bool       // marks that do not say what was emitted count as if nothing was
	anybody      bool       // every story counts as traced
	removing     bool       // nothing is wrong, but records are removed in each game
	missNothing  bool       // what was removed unread counts as read
	forgetting   bool       // nothing is wrong, but partitions lose what they have in each game
	ignoreSpans  bool       // marks only say where what was emitted ends, in all

	restoring      bool // nothing is wrong, but the log goes back often: the other faults are found sooner then
	neverCompare   bool // the index is not compared with the log
	keepRounds     bool // rounds go on after a comparison, and so does waiting for facts that were appended
	ignoreReturned bool // a topic that was deleted and is there again is no misfit
	ignoreLast     bool // the last record that was read is not compared
}

// newModelIndexer returns a modelIndexer that has read nothing of w.
func newModelIndexer(w *world, how sabotage) *modelIndexer {
	read := make(snapshot)
	return &modelIndexer{w: w, j: newJudge(), m: &memoryStore{records: make(map[partition][]storedRecord), byName: make(map[string]storyNum), read: read, misses: make(map[partition]miss), removed: make(map[location]bool)}, read: read, how: how,
		ahead: make(map[string]obligation.Fact), tails: make(map[partition]*tail), topics: map[string]topicNum{"1": 1, "2": 2, "3": 3}, subs: make(map[string][]*obligation.Subscription)}
}

// gone reports whether the indexer has found that a topic was deleted. It reads no more of it then.
func (x *modelIndexer) gone(t topicNum) bool {
	return t < worldSubscriptions && t < x.topics[topicName(t)] || x.w.taken[t]
}

// follows reports whether the indexer reads a topic: it has not found it to be deleted, and it has found it if it was made again.
func (x *modelIndexer) follows(t topicNum) bool {
	return t >= worldSubscriptions || t == x.topics[topicName(t)] && !x.w.taken[t]
}

// discover finds the topics that there are now. Reactions are subscribed to those that were made again.
func (x *modelIndexer) discover() {
	for _, t := range x.w.topics {
		if x.topics[topicName(t)] != t {
			x.topics[topicName(t)] = t
			for _, reaction := range slices.Sorted(maps.Keys(x.subs)) {
				if !x.how.noRenewal {
					x.subscribe(reaction, t)
				}
			}
		}
	}
}

// subscribe passes the judge the subscription of a reaction that applies to a topic.
func (x *modelIndexer) subscribe(reaction string, t topicNum) {
	subs := x.subs[reaction]
	sub := subscriptionTo(t, subs)
	if sub == nil || sub.Topic != topicName(t) {
		return
	}
	ends := make(map[int32]int64)
	for p, n := range x.read {
		if p.topic == t {
			ends[p.partition] = n
		}
	}
	x.j.onSubscription(x.m, x.listener(reaction, t), sub, modelType, ends)
}

// take reads the next entry of a partition, if there is one.
func (x *modelIndexer) take(p partition) {
	if start := x.w.starts[p]; x.read[p] < start {
		x.pass(p, start)
		return
	}
	if !x.follows(p.topic) || x.read[p] >= int64(len(x.w.logs[p])) {
		return
	}
	at := location{p, x.read[p]}
	e := x.w.logs[p][at.offset]
	x.read[p]++
	switch f := e.fact.(type) {
	case nil:
		x.addEvent(at, e)
	case *obligation.Subscription:
		x.subs[f.Reaction] = append(x.subs[f.Reaction], f)
		for t := topicWith(obligation.TopicID{byte(modelType(f.Topic))}); t <= max(topicWith(f.TopicID), x.topics[f.Topic]); t += topicStep {
			if t >= topicWith(f.TopicID) || f.Retired {
				x.subscribe(f.Reaction, t)
			}
		}
		x.discover()
	case *obligation.Marks:
		t := topicWith(f.TopicID)
		if x.how.marksByName {
			t = x.topics[f.Topic]
		}
		li := x.listener(f.Reaction, t)
		if x.how.ignoreEpochs {
			believed := *f
			believed.Epoch = li.coverage(f.Partition).epoch
			f = &believed
		}
		if x.how.emittedNone && f.Emitted == nil {
			believed := *f
			believed.Emitted = []offsets.Range{}
			f = &believed
		}
		frozen := maps.Clone(x.j.frozen)
		var through []reach
		for _, p := range f.Through {
			t := topicWith(p.TopicID)
			if x.how.throughByName {
				t = x.topics[p.Topic]
			}
			at := reach{location{partition{t, p.Partition}, p.Offset}, p.Span}
			if i := slices.IndexFunc(through, func(have reach) bool { return x.how.ignoreSpans && have.partition == at.partition }); i >= 0 {
				through[i].offset = max(through[i].offset, at.offset)
				continue
			}
			if x.how.ignoreSpans {
				at.span = 0
			}
			through = append(through, at)
		}
		x.j.onMarks(x.m, li, f, through)
		for n, froze := range frozen {
			if s := x.m.stories[n]; x.how.noUnfreeze && s.open == 0 && s.due() {
				x.j.frozen[n] = froze
				delete(x.j.pending, n)
			}
		}
	case *obligation.Seek:
		x.j.onSeek(x.m, x.listener(f.Reaction, topicWith(f.TopicID)), f)
	case *obligation.Settled:
		x.ahead[f.Correlation] = f
		if n, ok := x.m.byName[f.Correlation]; ok {
			x.j.onVerdict(x.m, n, f.Episode, true, x.covers(f, n))
		}
	case *obligation.Reopened:
		x.ahead[f.Correlation] = f
		if n, ok := x.m.byName[f.Correlation]; ok {
			x.j.onVerdict(x.m, n, f.Episode, false, false)
		}
	}
	if t := x.tails[p]; t == nil {
		x.tails[p] = newTail()
	}
	x.tails[p].add(x.w.record(at))
	x.retryMissing(math.MaxInt64)
}

// retryMissing makes the stories due again whose facts were appended and are not in the log any more: they are not below its end, or
// were not read where they were.
func (x *modelIndexer) retryMissing(end int64) {
	x.acked = slices.DeleteFunc(x.acked, func(a acknowledged) bool {
		if a.offset >= x.read[partition{worldStory, 0}] && a.offset < end {
			return false
		}
		if _, ok := x.j.publishing[a.story]; ok && !x.how.keepRounds {
			x.j.retryVerdict(x.m, a.story)
		}
		return true
	})
}

// covers reports whether a fact covers all events of a story that were read, but for those of topics that were deleted.
func (x *modelIndexer) covers(f *obligation.Settled, n storyNum) bool {
	covers := true
	x.m.eventsOf(n, func(at location) bool {
		covers = x.gone(at.topic) || f.CoversIn(topicName(at.topic), topicID(at.topic), at.partition.partition, at.offset)
		return covers
	})
	return covers
}

// through returns the positions after the events of a story that were read.
func (x *modelIndexer) through(n storyNum) (through []obligation.Position) {
	ends := make(snapshot)
	x.m.eventsOf(n, func(at location) bool {
		ends[at.partition] = max(ends[at.partition], at.offset+1)
		return true
	})
	for p, end := range ends {
		through = append(through, obligation.Position{Topic: topicName(p.topic), TopicID: topicID(p.topic), Partition: p.partition, Offset: end})
	}
	return through
}

// addEvent adds an event to the store and passes it to the judge.
func (x *modelIndexer) addEvent(at location, e entry) {
	n, ok := x.m.byName[e.correlation]
	if !ok {
		n = storyNum(len(x.m.stories))
		x.m.byName[e.correlation] = n
		x.m.stories = append(x.m.stories, &storedStory{correlation: e.correlation, standing: standing{publishable: true}})
	}
	x.m.stories[n].records++
	r := storedRecord{eventHead{story: n, typ: e.typ}, e.id}
	log := x.m.records[at.partition]
	for i := range log {
		if log[i].id == e.id {
			r.copy = laterCopy
			if log[i].copy == onlyCopy {
				log[i].copy = firstCopy
			}
		}
	}
	s := x.m.stories[n]
	switch {
	case e.depth > 0:
	case e.id == e.correlation && !s.rooted:
		s.rooted = true
	case r.copy == onlyCopy:
		s.joined = !x.how.anybody
	}
	s.rooted = s.rooted || x.how.anybody
	x.m.records[at.partition] = append(log, r)
	current := s.current
	x.j.onEvent(x.m, at, r.eventHead)
	switch f := x.ahead[e.correlation].(type) { // as Index.onEventBehind
	case *obligation.Settled:
		covers := f.CoversIn(topicName(at.topic), topicID(at.topic), at.partition.partition, at.offset)
		if s.records == 1 {
			x.j.onVerdict(x.m, n, f.Episode, true, covers)
		} else if covers && current && s.episode == f.Episode {
			s.current = true
			x.j.touch(n, &s.standing)
		}
	case *obligation.Reopened:
		if s.records == 1 {
			x.j.onVerdict(x.m, n, f.Episode, false, false)
		}
	}
}

// listener returns the listener for a reaction on a topic, and adds it if it is new.
func (x *modelIndexer) listener(reaction string, t topicNum) *listener {
	key := obligation.SubscriptionKey(reaction, topicName(t))
	li := x.j.listener(key, t)
	if li == nil {
		li = &listener{key: key, reaction: reaction, topic: t, covers: make(map[int32]*coverage)}
		x.j.add(li)
	}
	return li
}

// step makes the indexer take one random step. An error describes a false verdict.
func (x *modelIndexer) step() error {
	if x.connected != x.w.restarts && x.w.choose(3, "connect") > 0 {
		if len(x.underWay) > 0 && x.w.choose(2, "lands") == 0 { // before the indexer notices
			x.land()
		}
		return nil
	}
	x.connect()
	switch x.w.choose(10, "indexer") {
	case 0:
		x.beginMarks()
	case 1:
		return x.endMarks()
	case 2:
		if x.how.earlyBarrier && x.early == nil {
			x.discover()
			x.early = x.barrier()
			break
		}
		x.beginAll()
	case 3:
		return x.endAll()
	case 4: // a fact lands, or never does
		if len(x.underWay) > 0 {
			x.land()
		}
	case 5:
		switch x.w.choose(6, "crash") {
		case 0:
			x.crash()
		case 1:
			x.discover()
		case 2:
			if x.w.removes {
				x.miss()
			}
		}
	default:
		x.takeSome(3)
	}
	return nil
}

// beginMarks begins a round of the marks.
func (x *modelIndexer) beginMarks() {
	if x.marks.wait == nil && !x.how.onlyAll && x.j.hasPending() {
		x.marks = modelRound{id: x.j.freeze(), wait: make(snapshot), moment: x.w.snapshot()}
		for _, topic := range []topicNum{worldSubscriptions, worldReactions} {
			if !slices.Contains(x.how.marksWithout, topic) {
				x.marks.wait[partition{topic, 0}] = x.marks.moment[partition{topic, 0}]
			}
		}
	}
}

// endMarks ends a round of the marks if the index has passed its offsets, and judges the candidates of the last one that has
// ended. The error is a verdict that was not true of the events that were read, at the moment of the round.
func (x *modelIndexer) endMarks() error {
	if x.marks.wait != nil && (x.how.marksAtOnce || x.passes(x.marks.wait)) {
		x.passed, x.marks = x.marks, modelRound{}
	}
	if x.passed.moment == nil {
		return nil
	}
	if x.how.noReach {
		for c := range x.j.reaching {
			c.emitted = nil
		}
	}
	sure, _ := x.j.verdicts(x.m, x.passed.id)
	cut := maps.Clone(x.passed.moment)
	for p, n := range x.read {
		if p.topic < worldSubscriptions {
			cut[p] = n
		}
	}
	for p := range x.w.logs {
		if p.topic < worldSubscriptions && x.read[p] == 0 {
			cut[p] = 0
		}
	}
	for _, n := range sure {
		if missing := x.w.missingCause(cut, x.m.removed, x.gone, x.m.stories[n].correlation); missing != "" && x.m.stories[n].open == 0 {
			return fmt.Errorf("settled %s falsely: %s was not read", x.m.stories[n].correlation, missing)
		}
	}
	return x.publish(sure, cut)
}

// beginAll begins a round of the log.
func (x *modelIndexer) beginAll() {
	if x.how.onlyAll {
		if x.all.wait == nil && x.j.hasPending() {
			x.j.freeze()
		}
	}
	if x.all.wait == nil && len(x.j.frozen) > 0 {
		x.froze = slices.Sorted(maps.Keys(x.j.frozen))
		id := x.j.beginAll()
		if !x.how.noDiscovery {
			x.discover()
		}
		x.all = modelRound{id: id, wait: x.barrier(), moment: x.w.snapshot()}
		if x.early != nil {
			x.all.wait, x.early = x.early, nil
		}
	}
}

// endAll ends a round of the log if the index has passed its watermarks. The error is a verdict that was not true at the moment
// when it had begun.
func (x *modelIndexer) endAll() error {
	if x.all.wait == nil || !x.how.noBarrier && !x.passes(x.all.wait) {
		return nil
	}
	if x.how.settleLosses {
		for c := range x.j.reaching {
			for i, e := range c.emitted {
				c.emitted[i].through = slices.DeleteFunc(e.through, func(at reach) bool { return x.gone(at.topic) })
			}
		}
	}
	sure := x.j.allRead(x.m, x.all.id)
	if x.how.keepCandidate {
		sure = x.froze
	}
	moment := x.all.moment
	x.all = modelRound{}
	return x.publish(sure, moment)
}

// passes reports whether the index has read up to offsets, but for those of topics that were deleted.
func (x *modelIndexer) passes(wait snapshot) bool {
	for p, n := range wait {
		if x.read[p] < n && !x.gone(p.topic) {
			return false
		}
	}
	return true
}

// barrier returns the watermarks that brokers would report now, without those that a sabotage leaves out.
func (x *modelIndexer) barrier() snapshot {
	s := x.w.snapshot()
	for p := range s {
		if !x.follows(p.topic) || slices.Contains(x.how.without, p.topic) || x.how.knownOnly && x.read[p] == 0 {
			delete(s, p)
		}
	}
	return s
}

// miss removes the next records of a random partition, which the indexer has not read, and makes it pass them.
func (x *modelIndexer) miss() {
	parts := slices.DeleteFunc(x.w.parts(), func(p partition) bool { return p.topic >= worldSubscriptions || x.read[p] >= int64(len(x.w.logs[p])) })
	if len(parts) == 0 {
		return
	}
	p := parts[x.w.choose(len(parts), "removed from")]
	x.pass(p, min(int64(len(x.w.logs[p])), x.read[p]+1+int64(x.w.choose(4, "removed"))))
}

// pass makes the indexer pass what was removed of a partition up to an offset.
func (x *modelIndexer) pass(p partition, to int64) {
	from := x.read[p]
	for ; x.read[p] < to; x.read[p]++ {
		x.m.removed[location{p, x.read[p]}] = true
		x.m.records[p] = append(x.m.records[p], storedRecord{})
	}
	if x.how.missNothing {
		return
	}
	of, ok := x.m.misses[p]
	if !ok {
		of.Lo = from
	}
	of.Hi = to
	x.m.misses[p], x.m.ends = of, x.w.snapshot()
}

// lostOriginal reports whether a record of a story was removed unread of whose event another one was read. The index then takes that one for the
// original, and reactions do not: it may be owed by those who began to read in between, and be left undone.
func (x *modelIndexer) lostOriginal(correlation string) bool {
	for at := range x.m.removed {
		e := x.w.logs[at.partition][at.offset]
		if e.correlation == correlation && slices.ContainsFunc(x.m.records[at.partition], func(r storedRecord) bool { return r.id == e.id }) {
			return true
		}
	}
	return false
}

// takeSome reads up to n entries of a random partition.
func (x *modelIndexer) takeSome(n int) {
	parts := slices.DeleteFunc(x.w.parts(), func(p partition) bool { return !x.follows(p.topic) })
	p := parts[x.w.choose(len(parts), "read")]
	for range 1 + x.w.choose(n, "records") {
		x.take(p)
	}
}

// land appends the first of the facts that are under way.
func (x *modelIndexer) land() {
	f := x.underWay[0]
	x.underWay = x.underWay[1:]
	x.acked = append(x.acked, acknowledged{f.story, x.w.append(partition{worldStory, 0}, f.entry)})
}

// crash forgets the state that is not in the index file. Each fact that is under way is appended or lost.
func (x *modelIndexer) crash() {
	for len(x.underWay) > 0 {
		if x.w.choose(2, "lost") == 0 {
			x.underWay = x.underWay[1:]
		} else {
			x.land()
		}
	}
	clear(x.j.frozen)
	clear(x.j.publishing)
	clear(x.j.pending)
	clear(x.j.incomplete)
	x.acked = nil
	for n, s := range x.m.stories {
		if s.due() {
			x.j.pending[storyNum(n)] = struct{}{}
		}
	}
	x.all, x.marks, x.passed = modelRound{}, modelRound{}, modelRound{}
	for _, of := range x.j.listeners {
		for _, li := range of {
			for p, c := range li.covers { // as the file has it
				clear, err := decodeCoverage(c.encode())
				if err != nil {
					panic(err)
				}
				delete(x.j.reaching, c)
				li.covers[p] = clear
				if len(clear.emitted) > 0 {
					x.j.reaching[clear] = partition{li.topic, p}
				}
			}
		}
	}
}

// publish makes facts of verdicts. The error is one that was not true of a cut through the world.
func (x *modelIndexer) publish(sure []storyNum, cut snapshot) error {
	cut = x.left(cut)
	for p, n := range cut {
		if n > int64(len(x.w.logs[p])) && len(sure) > 0 {
			return fmt.Errorf("judged by offset %d of %d/%d, and the log ends at %d", n, p.topic, p.partition, len(x.w.logs[p]))
		}
	}
	for _, n := range sure {
		s := x.m.stories[n]
		events, owed, toCome := x.w.truth(cut, x.m.removed, x.gone, s.correlation)
		if s.open == 0 {
			if what := x.w.missedOwed(x.read, x.m.removed, s.correlation); what != "" && !x.lostOriginal(s.correlation) {
				return fmt.Errorf("settled %s falsely: %s", s.correlation, what)
			}
			if s.events != events || len(owed) > 0 || len(toCome) > 0 {
				return fmt.Errorf("settled %s falsely: %d events of %d, owed %q, to come %q", s.correlation, s.events, events, owed, toCome)
			}
			x.underWay = append(x.underWay, underWay{entry{fact: &obligation.Settled{Correlation: s.correlation, Episode: s.episode + 1, Events: s.records, Through: x.through(n)}}, n})
		} else {
			if len(owed) == 0 && !x.lostOriginal(s.correlation) {
				return fmt.Errorf("reopened %s falsely", s.correlation)
			}
			x.underWay = append(x.underWay, underWay{entry{fact: &obligation.Reopened{Correlation: s.correlation, Episode: s.episode + 1}}, n})
		}
	}
	return nil
}

// left returns what is left of a cut: of topics that were deleted only what was read.
func (x *modelIndexer) left(cut snapshot) snapshot {
	cut = maps.Clone(cut)
	for p := range cut {
		if x.gone(p.topic) {
			cut[p] = min(cut[p], x.read[p])
		}
	}
	return cut
}

// incomplete reports whether marks that count, of reactions that handle an event of a story which was read, tell of an emission that
// was lost with its topic. unsure is true if there are so many such emissions of a reaction that the judge does not tell them apart.
func (x *modelIndexer) incomplete(correlation string) (incomplete, unsure bool) {
	type where struct {
		reaction string
		partition
	}
	epochs, losses := make(map[where]int64), make(map[where]int)
	for _, e := range x.w.logs[partition{worldReactions, 0}] {
		switch f := e.fact.(type) {
		case *obligation.Seek:
			epochs[where{f.Reaction, partition{topicWith(f.TopicID), f.Partition}}] = f.Epoch
		case *obligation.Marks:
			at := where{f.Reaction, partition{topicWith(f.TopicID), f.Partition}}
			if f.Epoch < epochs[at] || !slices.ContainsFunc(f.Through, func(to obligation.Position) bool {
				return x.gone(topicWith(to.TopicID)) && x.read[partition{topicWith(to.TopicID), to.Partition}] < to.Offset
			}) {
				continue
			}
			losses[at]++
			for _, r := range f.Emitted {
				incomplete = incomplete || r.Lo < x.read[at.partition] && x.w.logs[at.partition][r.Lo].correlation == correlation
			}
		}
	}
	for _, n := range losses {
		unsure = unsure || n > maxEmissions
	}
	return incomplete, unsure
}

// mayBeForgotten reports whether something of a story may have been lost with what a partition had, so that who owes it never handles it.
func (x *modelIndexer) mayBeForgotten(correlation string) bool {
	if x.w.forgot == 0 {
		return false
	}
	for p, log := range x.w.logs {
		if first := slices.IndexFunc(log, func(e entry) bool { return e.id == correlation }); first >= 0 {
			return log[first].serial < x.w.forgot || x.m.removed[location{p, int64(first)}]
		}
	}
	return true
}

// finish lets the world finish and the indexer read everything. An error describes a story that has not settled then,
// or was settled falsely.
func (x *modelIndexer) finish() error {
	x.w.drain()
	x.connect()
	x.discover()
	for range 20 {
		for _, p := range x.w.parts() {
			for x.follows(p.topic) && x.read[p] < int64(len(x.w.logs[p])) {
				x.take(p)
			}
		}
		x.beginMarks()
		if err := x.endMarks(); err != nil {
			return err
		}
		x.beginAll()
		if err := x.endAll(); err != nil {
			return err
		}
		for len(x.underWay) > 0 {
			x.land()
		}
	}
	for n, s := range x.m.stories {
		events, owed, toCome := x.w.truth(x.left(x.w.snapshot()), x.m.removed, x.gone, s.correlation)
		_, told := x.j.incomplete[storyNum(n)]
		settled := s.settled && s.current
		incomplete, unsure := x.incomplete(s.correlation)
		switch {
		case x.lostOriginal(s.correlation):
			continue
		case s.open != len(owed) || s.events != events:
		case len(owed) > 0: // lost with the topic
			if !s.settled {
				continue
			}
		case settled || unsure:
			continue
		case told:
			if incomplete || x.mayBeForgotten(s.correlation) {
				continue
			}
		}
		return fmt.Errorf("%s never settles, or should not: %+v, incomplete %v (told %v); in truth %d events, owed %q, to come %q", s.correlation, s.standing, incomplete, told, events, owed, toCome)
	}
	return nil
}

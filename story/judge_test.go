package story

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"
	"tidings.dev/internal/obligation"
)

// memory is a ledger in memory.
type memory struct {
	records map[partition][]memoryRecord
	stories []*memoryStory
	byName  map[string]storyNum
}

type memoryRecord struct {
	fact
	id string
}

type memoryStory struct {
	standing
	correlation string
	records     int
}

func (m *memory) scan(p partition, lo, hi int64, yield func(int64, fact) bool) {
	for o := lo; o < min(hi, int64(len(m.records[p]))); o++ {
		if !yield(o, m.records[p][o].fact) {
			return
		}
	}
}

func (m *memory) copies(at place) (offsets []int64) {
	for o, r := range m.records[at.partition] {
		if r.id == m.records[at.partition][at.offset].id {
			offsets = append(offsets, int64(o))
		}
	}
	return offsets
}

func (m *memory) standing(n storyNum) *standing { return &m.stories[n].standing }

// reader reads the model's log into a judge, each partition at its own pace, and tells its verdicts.
type modelIndexer struct {
	w      *world
	j      *judge
	m      *memory
	read   snapshot
	wait   snapshot   // nil: not frozen
	early  snapshot   // for a sabotage
	moment snapshot   // the world when the watermarks were to be read
	told   []entry    // facts on their way to the log
	froze  []storyNum // for a sabotage
	how    sabotage
}

// sabotage is what is wrong with the judge, or with what it is told.
type sabotage struct {
	noBarrier     bool       // verdicts at once
	earlyBarrier  bool       // watermarks are read before the candidates are frozen
	without       []topicNum // topics that the barrier leaves out
	knownOnly     bool       // the barrier has only the topics that the index has read something of
	ignoreEpochs  bool       // marks count whatever their writer knew
	keepCandidate bool       // a candidate stays one when its story changes
	noThaw        bool       // and when something is done for it that it was not known to owe
	markFirst     bool       // the framework marks before it emits
}

func newModelIndexer(w *world, how sabotage) *modelIndexer {
	return &modelIndexer{w: w, j: newJudge(), m: &memory{records: make(map[partition][]memoryRecord), byName: make(map[string]storyNum)}, read: make(snapshot), how: how}
}

// take reads the next record of a partition.
func (x *modelIndexer) take(p partition) {
	if x.read[p] >= int64(len(x.w.logs[p])) {
		return
	}
	at := place{p, x.read[p]}
	e := x.w.logs[p][at.offset]
	x.read[p]++
	switch f := e.fact.(type) {
	case nil:
		x.event(at, e)
	case *obligation.Subscription:
		li := x.listener(f.Reaction, f.Topic)
		var types []nameNum
		for _, a := range x.w.reactions {
			if a.name == f.Reaction {
				types = a.types
			}
		}
		ends := make(map[int32]int64)
		for p, n := range x.read {
			if p.topic == li.topic {
				ends[p.partition] = n
			}
		}
		x.j.subscribe(x.m, li, f, slices.Clone(types), ends)
	case *obligation.Marks:
		li := x.listener(f.Reaction, f.Topic)
		if x.how.ignoreEpochs {
			believed := *f
			believed.Epoch = li.cover(f.Partition).epoch
			f = &believed
		}
		frozen := maps.Clone(x.j.frozen)
		x.j.marks(x.m, li, f)
		for n := range frozen {
			if s := x.m.stories[n]; x.how.noThaw && s.open == 0 && s.due() {
				x.j.frozen[n] = struct{}{}
				delete(x.j.pending, n)
			}
		}
	case *obligation.Seek:
		x.j.seek(x.m, x.listener(f.Reaction, f.Topic), f)
	case *obligation.Settled:
		s := x.m.stories[x.m.byName[f.Correlation]]
		x.j.told(x.m, x.m.byName[f.Correlation], f.Episode, true, f.Events == s.records)
	case *obligation.Reopened:
		x.j.told(x.m, x.m.byName[f.Correlation], f.Episode, false, false)
	}
}

func (x *modelIndexer) event(at place, e entry) {
	n, ok := x.m.byName[e.correlation]
	if !ok {
		n = storyNum(len(x.m.stories))
		x.m.byName[e.correlation] = n
		x.m.stories = append(x.m.stories, &memoryStory{correlation: e.correlation, standing: standing{telling: true}})
	}
	x.m.stories[n].records++
	r := memoryRecord{fact{story: n, typ: e.typ}, e.id}
	log := x.m.records[at.partition]
	for i := range log {
		if log[i].id == e.id {
			r.copy = laterCopy
			if log[i].copy == onlyCopy {
				log[i].copy = firstCopy
			}
		}
	}
	x.m.records[at.partition] = append(log, r)
	x.j.event(x.m, at, r.fact)
}

func (x *modelIndexer) listener(reaction, topic string) *listener {
	key := obligation.SubscriptionKey(reaction, topic)
	li := x.j.listeners[key]
	if li == nil {
		n, _ := strconv.Atoi(topic)
		li = &listener{key: key, reaction: reaction, topic: topicNum(n), covers: make(map[int32]*coverage)}
		x.j.listeners[key] = li
		x.j.byTopic[li.topic] = append(x.j.byTopic[li.topic], li)
	}
	return li
}

// step lets the indexer do one thing, and gives what it settled falsely.
func (x *modelIndexer) step() error {
	switch x.w.choose(8, "indexer") {
	case 0:
		if x.wait == nil {
			if x.how.earlyBarrier && x.early == nil {
				x.early = x.barrier()
				break
			}
			if x.j.freeze() {
				x.froze = slices.Sorted(maps.Keys(x.j.frozen))
				x.wait, x.moment = x.barrier(), x.w.snapshot()
				if x.early != nil {
					x.wait, x.early = x.early, nil
				}
			}
		}
	case 1:
		return x.judge()
	case 2: // a fact lands, or never does
		if len(x.told) > 0 {
			x.land()
		}
	case 3:
		if x.w.choose(6, "crash") == 0 {
			x.crash()
		}
	default:
		x.takeSome(3)
	}
	return nil
}

// barrier is what the brokers say when they are asked: the world as it is now.
func (x *modelIndexer) barrier() snapshot {
	s := x.w.snapshot()
	for p := range s {
		if slices.Contains(x.how.without, p.topic) || x.how.knownOnly && x.read[p] == 0 {
			delete(s, p)
		}
	}
	return s
}

func (x *modelIndexer) takeSome(n int) {
	parts := x.w.parts()
	p := parts[x.w.choose(len(parts), "read")]
	for range 1 + x.w.choose(n, "records") {
		x.take(p)
	}
}

func (x *modelIndexer) land() {
	x.w.append(partition{worldStory, 0}, x.told[0])
	x.told = x.told[1:]
}

// crash forgets what is not in the index file. A fact on its way lands now, or is lost.
func (x *modelIndexer) crash() {
	for len(x.told) > 0 {
		if x.w.choose(2, "lost") == 0 {
			x.told = x.told[1:]
		} else {
			x.land()
		}
	}
	clear(x.j.frozen)
	clear(x.j.telling)
	clear(x.j.pending)
	for n, s := range x.m.stories {
		if s.due() {
			x.j.pending[storyNum(n)] = struct{}{}
		}
	}
	x.wait = nil
}

// judge gives verdicts, if it is time, and holds them against the truth at the moment of the barrier.
func (x *modelIndexer) judge() error {
	if x.wait == nil {
		return nil
	}
	for p, n := range x.wait {
		if x.read[p] < n && !x.how.noBarrier {
			return nil
		}
	}
	x.wait = nil
	sure := x.j.verdicts()
	if x.how.keepCandidate {
		sure = x.froze
	}
	for _, n := range sure {
		s := x.m.stories[n]
		events, owed, toCome := x.w.truth(x.moment, s.correlation)
		if s.open == 0 {
			if s.events != events || len(owed) > 0 || len(toCome) > 0 {
				return fmt.Errorf("settled %s falsely: %d events of %d, owed %q, to come %q", s.correlation, s.events, events, owed, toCome)
			}
			x.told = append(x.told, entry{fact: &obligation.Settled{Correlation: s.correlation, Episode: s.episode + 1, Events: s.records}})
		} else {
			if len(owed) == 0 {
				return fmt.Errorf("reopened %s falsely", s.correlation)
			}
			x.told = append(x.told, entry{fact: &obligation.Reopened{Correlation: s.correlation, Episode: s.episode + 1}})
		}
	}
	return nil
}

// finish lets everybody end what they do. Then everything must have settled, with nothing owed.
func (x *modelIndexer) finish() error {
	x.w.drain()
	for range 20 {
		for _, p := range x.w.parts() {
			for x.read[p] < int64(len(x.w.logs[p])) {
				x.take(p)
			}
		}
		if x.wait == nil && x.j.freeze() {
			x.wait, x.moment = x.barrier(), x.w.snapshot()
		}
		if err := x.judge(); err != nil {
			return err
		}
		for len(x.told) > 0 {
			x.land()
		}
	}
	for _, s := range x.m.stories {
		events, owed, toCome := x.w.truth(x.w.snapshot(), s.correlation)
		if !s.settled || !s.fresh || s.open != 0 || s.events != events || len(owed) > 0 {
			return fmt.Errorf("%s never settles: %+v; in truth %d events, owed %q, to come %q", s.correlation, s.standing, events, owed, toCome)
		}
	}
	return nil
}

// play lets world and indexer run against each other. It gives the first false verdict.
func play(choose func(int, string) int, steps int, how sabotage) error {
	w := newWorld(choose)
	w.markFirst = how.markFirst
	x := newModelIndexer(w, how)
	for range steps {
		if choose(2, "who") == 0 {
			w.step()
		} else if err := x.step(); err != nil {
			return err
		}
	}
	if how.markFirst || how.ignoreEpochs {
		return nil // nothing can be promised of the end
	}
	return x.finish()
}

func TestNothingMakesTheJudgeSettleFalsely(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		choose := func(n int, what string) int { return rapid.IntRange(0, n-1).Draw(t, what) }
		if err := play(choose, 250, sabotage{}); err != nil {
			t.Fatal(err)
		}
	})
}

func TestNothingMakesTheJudgeSettleFalselyInLongRuns(t *testing.T) {
	seed := rand.Uint64()
	games := 1000
	if testing.Short() {
		games = 200
	}
	for i := range games {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		if err := play(func(n int, _ string) int { return r.IntN(n) }, 100+i%900, sabotage{}); err != nil {
			t.Fatalf("seed %d, game %d: %v", seed, i, err)
		}
	}
}

// A test that cannot fail proves nothing: each of these judges is wrong in one point, and the model finds it out.
func TestTheModelFindsAWrongJudge(t *testing.T) {
	for name, how := range map[string]sabotage{
		"judges without waiting for watermarks":         {noBarrier: true},
		"reads watermarks before it freezes":            {earlyBarrier: true},
		"leaves the subscriptions out of the barrier":   {without: []topicNum{worldSubscriptions}},
		"leaves the reactions out of the barrier":       {without: []topicNum{worldReactions}},
		"leaves events out of the barrier":              {without: []topicNum{1, 2, 3}},
		"leaves topics out that it does not know yet":   {knownOnly: true},
		"believes marks of before a seek":               {ignoreEpochs: true},
		"keeps a candidate whose story has changed":     {keepCandidate: true},
		"does not see what was done before it was owed": {noThaw: true},
		"is told of marks before emissions are in log":  {markFirst: true},
	} {
		t.Run(name, func(t *testing.T) {
			for i := range 5000 {
				r := rand.New(rand.NewPCG(1, uint64(i)))
				if err := play(func(n int, _ string) int { return r.IntN(n) }, 400, how); err != nil {
					t.Logf("game %d: %v", i, err)
					return
				}
			}
			t.Error("5000 games, and nothing found")
		})
	}
}

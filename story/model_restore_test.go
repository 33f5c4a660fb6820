package story

import (
	"slices"

	"tidings.dev/internal/logclient"
)

// backup is a moment of a world: its log, and the reactions that were subscribed. An instance that starts again goes on from
// there.
type backup struct {
	leader    int32
	logs      map[partition][]entry
	topics    []topicNum
	reactions []*actor
}

// backUp returns a backup of the world at this moment.
func (w *world) backUp() *backup {
	b := &backup{leader: w.leader, logs: make(map[partition][]entry), topics: slices.Clone(w.topics)}
	for p, log := range w.logs {
		b.logs[p] = slices.Clone(log)
	}
	for _, a := range w.reactions {
		if a.announced {
			b.reactions = append(b.reactions, a.startedAgain())
		}
	}
	return b
}

// startedAgain returns a copy of the reaction whose instances have just started: they know what is committed.
func (a *actor) startedAgain() *actor {
	again := *a
	again.parts = make(map[int32]*owner)
	for p, o := range a.parts {
		again.parts[p] = newOwner(o.position, o.epoch)
	}
	return &again
}

// goBack makes a backup or, if there is one, the broker start with it sometimes: the log has gone back, as after a restore, or a
// power cut that has taken what was not synced. All instances start again.
func (w *world) goBack() {
	switch {
	case !w.restoresOften && w.choose(6, "really") > 0:
	case w.backup == nil || w.choose(2, "backup") == 0:
		w.backup = w.backUp()
	default:
		b := w.backup
		for p, log := range w.logs {
			if _, there := b.logs[p]; !there {
				b.logs[p], w.taken[p.topic] = log, true
			}
		}
		w.leader, w.logs, w.topics, w.reactions, w.runs = b.leader, b.logs, b.topics, b.reactions, nil
		w.backup = w.backUp() // of what was restored, which the world changes from now on
		w.restart()
	}
}

// restart makes the broker start again. Leader epochs begin, and clients connect anew.
func (w *world) restart() {
	w.leader++
	w.restarts++
	w.unseen = true
}

// connect compares the index with the log, if the broker has started again since the last comparison, and empties the index if it
// does not fit. It is called before anything that needs a connection.
func (x *modelIndexer) connect() {
	if x.connected == x.w.restarts {
		return
	}
	x.connected, x.w.unseen = x.w.restarts, false
	if x.how.neverCompare {
		return
	}
	if x.fits() {
		if !x.how.keepRounds {
			x.all, x.marks, x.passed, x.early = modelRound{}, modelRound{}, modelRound{}, nil
			x.j.thaw()
			x.retryMissing(int64(len(x.w.logs[partition{worldStory, 0}])))
		}
		x.discover()
		return
	}
	fresh := newModelIndexer(x.w, x.how)
	fresh.connected, fresh.underWay, fresh.topics = x.connected, x.underWay, make(map[string]topicNum)
	for _, t := range x.w.topics {
		fresh.topics[topicName(t)] = t
	}
	*x = *fresh
}

// fits reports whether what the index has read of the topics that there are is what the log has.
func (x *modelIndexer) fits() bool {
	for _, t := range x.w.topics {
		if x.gone(t) && !x.how.ignoreReturned {
			return false
		}
	}
	for p, t := range x.tails {
		log := x.w.logs[p]
		if !x.follows(p.topic) {
			continue
		}
		positionRow{next: x.read[p], tail: t}.encode()
		l := logged{end: int64(len(log)), last: epochEnd(log, t.epoch)}
		if t.before >= 0 {
			l.before = epochEnd(log, t.before)
		}
		r := reading{x.read[p], *t}
		if r.misfit(l) != "" {
			return false
		}
		if !x.how.ignoreLast && t.sum != hashOf(x.w.record(location{p, t.last})) {
			return false
		}
	}
	return true
}

// epochEnd returns what a broker answers about a leader epoch: the newest epoch that is not later, and where it ends.
func epochEnd(log []entry, epoch int32) *logclient.EpochEnd {
	n := slices.IndexFunc(log, func(e entry) bool { return e.leader > epoch })
	if n < 0 {
		n = len(log)
	}
	if n == 0 {
		return &logclient.EpochEnd{Epoch: -1, Offset: -1}
	}
	return &logclient.EpochEnd{Epoch: log[n-1].leader, Offset: int64(n)}
}

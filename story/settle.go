package story

import (
	"maps"
	"slices"

	"tidings.dev/internal/obligation"
)

// Settling. A story has settled when every obligation of its events is met and no record that is still unread can
// belong to it. Five files implement this:
//
//	settle.go          the rule: which stories are candidates, and when a candidate is certain (judge)
//	settle_count.go    the count of open obligations of each story, updated for each record that is read
//	settle_reach.go    how far in the log the emissions for events of a story reach, by the marks
//	settle_publish.go  the rounds in which the rule is applied and verdicts are appended to tidings.story (settlePublisher)
//	settle_verdict.go  the verdict itself: its record, and its retry when an append has failed
//
// Waiting for a verdict is implemented elsewhere: in Indexer.WaitSettled, and in Receipt.Settled by package internal/settled.

// standing is what the judge knows about one story. It is part of the row of the story, and the judge changes it in
// place.
//
// Invariants, after every record:
//
//	open >= 0
//	open == the number of pairs (event, listener) with listener.obliges(event) and no copy of the event done
//	events == the number of records of the story that are neither a laterCopy nor a surplusCopy
//	current implies settled
type standing struct {
	events int // events of the story; copies count once
	open   int // obligations that are not met, each a pair of an event and a listener
	// publishable is true once the story has an event with an id. A story of foreign records alone gets no verdict,
	// because no receipt can wait for it.
	publishable bool
	// rooted is true once the event was read that the story has its correlation from: its id is the correlation, and no other
	// event has caused it. joined is true once another event was read that no handler has emitted.
	rooted, joined bool

	// The following fields describe the facts of tidings.story about this story that were read.
	episode int  // of the newest fact; 0 if there is none
	settled bool // the newest fact is a story.settled
	current bool // the newest fact is a story.settled that covers every event of the story that was read
}

// traced reports whether every further event of the story follows from one of those that were read, as far as these tell: somebody
// may join it yet.
func (s *standing) traced() bool { return s.rooted && !s.joined }

// due reports whether a verdict has to be appended to tidings.story: there is none yet, or the newest one is no
// longer right.
func (s *standing) due() bool {
	switch {
	case !s.publishable || s.events == 0:
		return false
	case s.open == 0:
		return !s.settled || !s.current
	default:
		return s.settled
	}
}

// judge decides which stories have settled and which have to be reopened. It has no clock, no lock and does no I/O.
// Index passes it each record that was read, together with an eventStore in which it looks up earlier records.
// Records of one partition must be passed in order of offset; partitions may be interleaved in any way.
//
// # The rule
//
// A story without open obligations has not thereby settled: what its handlers emitted may lie unread in another partition,
// and so may the subscription of a reaction that it obliges. What helps is the order in which reactions write: emissions
// are acknowledged before the mark is appended (ADR 3), and the mark says how far they reach (ADR 28). A candidate is
// certain after four steps:
//
//  1. freeze: the stories that are due become candidates, judged by the marks that were read so far.
//  2. The caller reads the last stable offsets of tidings.subscriptions and tidings.reactions.
//  3. The caller passes the judge every record below these.
//  4. verdicts: a candidate that nothing has touched since step 1 is certain once all that its events have led to was read.
//
// What is certain is this: at the moment of step 2 no obligation of an event of the story that was read was open, by what
// anybody can read of those two topics; and every emission of a handling that was marked then was read and is among these
// events. For every event of the story but its root was emitted by a handler. If one were missing that a marked handling has
// emitted, then the first such handling in the chain from the root on is that of an event that was read; its mark was read in
// step 3 at the latest, and says that something was emitted which was not read: the candidate is in doubt.
//
// That needs a chain: the root was read, and nothing else has come from outside. Events that join a story, as another root
// emission under its correlation does, follow from nothing that was read, and marks of earlier versions do not say how far
// emissions reach. Then all of the log must be read (ADR 4):
//
//  2. The caller reads the high watermarks of all partitions of all topics that there are, tidings.* included.
//  3. The caller passes the judge every record below these watermarks.
//  4. allRead: a candidate that nothing has touched since step 1 is certain.
//
// What is certain then is the state of the log at the moment of step 2: no obligation of the story was open, and every
// emission of what had been done was in the log. For all marks of the story that count were read before step 1, so that its
// emissions are below the watermarks, and were read before step 4; none of them was an event of this story, or the
// candidate would have been touched. Watermarks that were read before step 1 would miss an emission between the two.
// Whatever was in doubt since before step 1 is in doubt no more.
//
// What the shorter way misses, and the longer does not: an event that joins a story for the first time, is in the log, and
// was not read. It reopens the story.
//
// A story is touched when an event of it is read, when its number of open obligations changes, when a fact of tidings.story
// about it is read, or when a mark or seek makes one of its events done or not done. The last case counts even if no known
// subscription obliges a reaction to handle the event, because that subscription may still be unread (found by the model test).
//
// A verdict describes one moment. Records that are read later may touch the story again. The story is then due again, and
// gets a story.reopened, or another story.settled, with the next episode.
//
// # The states of a story
//
//	          due                freeze       verdicts, allRead          its fact is read
//	(in none) ────▶ pending ──────────────▶ frozen ──────────▶ publishing ──────────────────▶ (in none), or pending
//	                   ▲                      │                     │
//	                   ├──── it is touched ───┘                     │
//	                   └──── retryVerdict: its append has failed ───┘
//
// allRead puts a frozen story into incomplete if an event of it was lost with its topic, or one that a handler has emitted, or that it began with,
// may have been removed from the log before it was read and handled. It stays there until it is touched, a reaction may owe less of what was removed, or the indexer is elected anew.
//
// Invariants between calls:
//
//	a story that is due is in pending, frozen, incomplete or publishing
//	a story in pending, frozen or incomplete is due
//	frozen has no story that is in pending or in publishing
//
// A story may be in both pending and publishing, if it was touched while its fact was being appended. It is frozen again only
// after that fact was read or its append has failed, so that the facts of one story follow each other in order. After a
// restart, all stories that are due are pending. A fact that had been appended but not read is then appended again, with the
// same id.
//
// The judge is part of the Index and protected by Index.mu. Everything but freeze, verdicts, allRead and the sets is called
// within a write transaction (writeTx), which is the eventStore.
type judge struct {
	// listeners has all listeners by obligation.SubscriptionKey. A key has one listener for each topic that has, had or will
	// have the name in the key.
	listeners map[string][]*listener
	byTopic   map[topicNum][]*listener

	pending    map[storyNum]struct{}
	frozen     map[storyNum]uint64 // the tick of the freeze
	publishing map[storyNum]struct{}
	incomplete map[storyNum]struct{}

	tick     uint64                  // counts the rounds that were begun
	reaching map[*coverage]partition // those with an emission that was not read when it was last looked at, and where the events are

	// tried has the facts whose append has failed, by story. An entry is deleted when a fact about its story is read.
	tried map[storyNum]obligation.Fact
}

func newJudge() *judge {
	return &judge{
		listeners:  make(map[string][]*listener),
		byTopic:    make(map[topicNum][]*listener),
		pending:    make(map[storyNum]struct{}),
		frozen:     make(map[storyNum]uint64),
		publishing: make(map[storyNum]struct{}),
		incomplete: make(map[storyNum]struct{}),
		reaching:   make(map[*coverage]partition),
		tried:      make(map[storyNum]obligation.Fact),
	}
}

// add registers a new listener.
func (j *judge) add(li *listener) {
	j.listeners[li.key] = append(j.listeners[li.key], li)
	j.byTopic[li.topic] = append(j.byTopic[li.topic], li)
}

// listener returns the listener with the given subscription key and topic, or nil if there is none.
func (j *judge) listener(key string, topic topicNum) *listener {
	for _, li := range j.listeners[key] {
		if li.topic == topic {
			return li
		}
	}
	return nil
}

// touch updates the sets after a change of story n, whose standing is s. It removes the story from the candidates,
// and makes it pending if it is due. It must be called after every change of a standing.
func (j *judge) touch(n storyNum, s *standing) {
	delete(j.frozen, n)
	delete(j.incomplete, n)
	if s.due() {
		j.pending[n] = struct{}{}
	} else {
		delete(j.pending, n)
	}
}

// unfreeze removes story n from the candidates and makes it pending, although its standing has not changed. It is
// called when an event of the story became done or not done: emissions of that handling may be above the watermarks
// of the present round.
func (j *judge) unfreeze(n storyNum) {
	if _, ok := j.frozen[n]; ok {
		delete(j.frozen, n)
		j.pending[n] = struct{}{}
	}
}

// thaw ends the candidacy of all stories, and gives those that are incomplete another chance.
func (j *judge) thaw() {
	for n := range j.frozen {
		j.pending[n] = struct{}{}
	}
	clear(j.frozen)
	j.retryIncomplete()
}

// retryIncomplete makes the stories that are incomplete due again.
func (j *judge) retryIncomplete() {
	for n := range j.incomplete {
		j.pending[n] = struct{}{}
	}
	clear(j.incomplete)
}

// hasPending reports whether freeze would make a story a candidate.
func (j *judge) hasPending() bool {
	for n := range j.pending {
		if _, ok := j.publishing[n]; !ok {
			return true
		}
	}
	return false
}

// freeze makes the pending stories candidates. It is step 1 of the rule: the caller reads the offsets of step 2 only after it has
// returned, and passes round to verdicts. Candidates of earlier rounds stay candidates; later offsets serve them as well.
func (j *judge) freeze() (round uint64) {
	j.tick++
	for n := range j.pending {
		if _, ok := j.publishing[n]; !ok {
			j.frozen[n] = j.tick
			delete(j.pending, n)
		}
	}
	return j.tick
}

// beginAll is step 1 of the rule for those who are candidates: the caller reads the high watermarks of step 2 only after it has
// returned, and passes round to allRead.
func (j *judge) beginAll() (round uint64) {
	j.tick++
	return j.tick
}

// verdicts returns the candidates of a round, and of earlier ones, that are certain, in ascending order, and moves them to
// publishing. It is step 4 of the rule: everything below the offsets of step 2 of that round must have been passed to the judge.
// doubtful has the doubts about the others. The caller must have a fact appended for each story that is returned, or call
// retryVerdict: otherwise it is not judged again before the index is opened anew. The fact is story.reopened if the story has open
// obligations, story.settled if not.
func (j *judge) verdicts(store storyReader, round uint64) (certain []storyNum, doubtful doubts) {
	j.forgetRead(store, passing{round: round})
	for _, n := range slices.Sorted(maps.Keys(j.frozen)) {
		froze := j.frozen[n]
		if froze > round {
			continue
		}
		switch j.doubtOf(store, n) {
		case noDoubt:
			certain = append(certain, n)
		case unread:
			doubtful.unread++
			if doubtful.oldest == 0 || froze < doubtful.oldest {
				doubtful.oldest = froze
			}
		case untraced:
			doubtful.untraced++
		}
	}
	j.publish(certain)
	return certain, doubtful
}

// doubts counts the candidates about which there is doubt.
type doubts struct {
	unread, untraced int
	oldest           uint64 // the first round of those that are unread; 0: there is none
}

// allRead is verdicts for when everything below the high watermarks of a round was passed to the judge: all candidates of that
// round, and of earlier ones, are certain, but for those to which the marks say that an event belongs, or may belong, which was not read.
// The topic of that event was deleted, or the event was removed from it. A reaction may not have handled it, so that the story does not
// settle: it becomes incomplete.
func (j *judge) allRead(store storyReader, round uint64) (certain []storyNum) {
	now := passing{round, true}
	j.forgetRead(store, now)
	for n, froze := range j.frozen {
		if froze >= round {
			continue
		}
		switch j.doubtOfAll(store, n, now) {
		case noDoubt:
			certain = append(certain, n)
		case lost:
			delete(j.frozen, n)
			j.incomplete[n] = struct{}{}
		}
	}
	slices.Sort(certain)
	j.publish(certain)
	return certain
}

// publish moves candidates to publishing.
func (j *judge) publish(certain []storyNum) {
	for _, n := range certain {
		delete(j.frozen, n)
		j.publishing[n] = struct{}{}
	}
}

// onVerdict updates story n for a fact that was read from tidings.story. Any indexer may have appended the fact.
// settled is true if the fact is a story.settled; complete is true if the fact covers all events of the story that
// were read. onVerdict reports whether the fact counts. A fact does not count if its episode is lower than that of
// the newest fact, as when another indexer appended it late, or is too high to follow it, as when some other program
// wrote it.
func (j *judge) onVerdict(store eventStore, n storyNum, episode int, settled, complete bool) bool {
	s := store.standing(n)
	if !obligation.EpisodeFollows(s.episode, episode) {
		if _, ok := j.publishing[n]; ok && episode <= s.episode { // it may be the fact that this indexer has appended
			delete(j.publishing, n)
			j.touch(n, s)
		}
		return false
	}
	s.episode, s.settled, s.current = episode, settled, settled && complete
	delete(j.publishing, n)
	delete(j.tried, n)
	j.touch(n, s)
	return true
}

// retryVerdict makes a story due again after the append of its fact has failed. The failed append may have reached
// the log nevertheless; the same fact is then in the log twice.
func (j *judge) retryVerdict(store eventStore, n storyNum) {
	delete(j.publishing, n)
	j.touch(n, store.standing(n))
}

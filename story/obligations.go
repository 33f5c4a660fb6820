package story

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"tidings.dev/internal/obligation"
)

// obligations computes the obligations of the events of one answer. An obligation is never stored: it follows from
// the event, the subscriptions, and what each listener has done. docs/format/obligations.md has the rules.
type obligations struct {
	*readTx
	live Live
	asOf time.Time // when the question was asked
	// waiting has the obligations in state Waiting whose Behind countBehind must still compute. Until then, their Behind
	// holds the offset of the event.
	waiting map[waitKey][]*Obligation
}

// waitKey is a listener in one partition.
type waitKey struct {
	li   *listener
	part int32
}

func newObligations(tx *readTx, live Live) *obligations {
	return &obligations{readTx: tx, live: live, asOf: time.Now(), waiting: make(map[waitKey][]*Obligation)}
}

// addTo sets e.Obligations: first those of the listeners on its topic, by name, then those of other consumer groups,
// by name. countBehind must be called after addTo was called for the last event.
func (o *obligations) addTo(e *locatedEvent) {
	listeners := o.listenersOn(e)
	// o.waiting points into the slice, so the slice must have its full capacity from the start.
	e.Obligations = make([]Obligation, 0, len(listeners)+len(o.live.Committed)+1)
	for _, li := range listeners {
		ob, ok := o.obligationFor(li, e)
		if !ok {
			continue
		}
		e.Obligations = append(e.Obligations, ob)
		o.await(li, e, &e.Obligations[len(e.Obligations)-1])
	}
	for _, group := range slices.Sorted(maps.Keys(o.live.Committed)) {
		if o.ix.topicOf[e.at.topic].gone {
			break // committed positions are those of the topic that has the name now
		}
		if at, ok := o.live.Committed[group][e.Topic][e.Partition]; ok && at >= 0 && !o.writesMarks(group, e.Topic) {
			ob := Obligation{Reaction: group, State: Handled, Certainty: Inferred}
			if at <= e.Offset {
				ob.State, ob.Behind = Waiting, e.Offset-at+1
			}
			e.Obligations = append(e.Obligations, ob)
		}
	}
	if len(e.Obligations) == 0 {
		e.Obligations = append(e.Obligations, Obligation{State: NobodyListening, Certainty: Recorded})
	}
}

// owed returns the open obligations of an event, by the name of the reaction. countBehind must be called after owed
// was called for the last event.
func (o *obligations) owed(e *locatedEvent) (open []*Obligation) {
	for _, li := range o.listenersOn(e) {
		if li.readCoverage(e.Partition).hasAny(e.offsets()) {
			continue
		}
		if ob, ok := o.obligationFor(li, e); ok && ob.Open() {
			open = append(open, &ob)
			o.await(li, e, &ob)
		}
	}
	return open
}

// listenersOn returns the listeners on the topic of an event, sorted by the name of the reaction.
func (o *obligations) listenersOn(e *locatedEvent) []*listener {
	return slices.SortedFunc(slices.Values(o.ix.judge.byTopic[e.at.topic]), func(a, b *listener) int { return cmp.Compare(a.reaction, b.reaction) })
}

// await registers an obligation in state Waiting with countBehind, which will set its Behind. The obligation must
// stay in place until then.
func (o *obligations) await(li *listener, e *locatedEvent, ob *Obligation) {
	if ob.State == Waiting {
		ob.Behind = e.Offset
		k := waitKey{li, e.Partition}
		o.waiting[k] = append(o.waiting[k], ob)
	}
}

// writesMarks reports whether a group is a reaction on the topic or a group of the framework. For such a group, the
// committed position does not tell what was handled.
func (o *obligations) writesMarks(group, topic string) bool {
	if strings.HasPrefix(group, "tidings.") {
		return true
	}
	return slices.ContainsFunc(o.ix.judge.listeners[obligation.SubscriptionKey(group, topic)], func(li *listener) bool { return li.sub != nil })
}

// obligationFor returns the obligation of a listener to an event. ok is false if there is none.
func (o *obligations) obligationFor(li *listener, e *locatedEvent) (ob Obligation, ok bool) {
	ob = Obligation{Reaction: li.reaction, Certainty: Recorded}
	handles, ended := li.handles(e.typ), li.endedFor(e.Partition, e.Offset, e.typ)
	if _, ever := li.ended[e.typ]; !handles && !ever {
		return ob, false
	}
	c := li.readCoverage(e.Partition)
	if c.hasAny(e.offsets()) {
		if c.passedOver(e.offsets()) { // the reaction had no handler for the type then
			if ob.State = JoinedLater; ended {
				ob.State = Retired
			} else {
				ob.Joined = li.joined(e.typ)
			}
			return ob, handles && li.sub != nil || ended
		}
		o.describeDone(&ob, li, c, e)
		if li.sub != nil && !ended && !li.subscribedAt(e.Partition, e.Offset, e.typ) {
			ob.Late, ob.Joined = true, li.joined(e.typ)
		}
		return ob, true
	}
	switch {
	case li.sub == nil || li.sub.Retired && e.Offset < li.sub.Start[e.Partition]:
		return ob, false
	case li.sub.Retired, ended:
		ob.State = Retired
	case !handles:
		return ob, false
	case e.Offset < li.sub.Start[e.Partition] || !li.subscribedAt(e.Partition, e.Offset, e.typ):
		ob.State, ob.Joined = JoinedLater, li.joined(e.typ)
	case o.ix.topicOf[li.topic].gone:
		ob.State = Lost // lost with the topic
	case o.live.Starts[e.Topic][e.Partition] > e.Offset:
		ob.State = Lost
		ob.LostFrom, ob.LostTo = li.lostAround(e.Partition, e.Offset, o.live.Starts[e.Topic][e.Partition])
	case o.live.Committed[li.reaction][e.Topic][e.Partition] > e.Offset:
		ob.State, ob.Certainty = UnknownState, Unknown
	default:
		ob.State = Waiting
		switch n, ok := o.newestNote(li, e); {
		case !ok:
		case n.kind == noteRetrying:
			ob.State, ob.Attempts, ob.Error, ob.At, ob.Next, ob.Since = Retrying, n.attempts, n.text, n.at, n.next, n.since
		case n.kind == noteRunning && o.asOf.Sub(n.at) < 2*obligation.RunningEvery: // a running handler renews its note
			ob.State, ob.Attempts, ob.At, ob.Since = Running, n.attempts, n.at, n.since
		}
	}
	return ob, true
}

// lostAround returns the range of offsets with an offset in it that the listener has not done and that were removed from a partition
// whose log begins at start.
func (li *listener) lostAround(p int32, offset, start int64) (from, to int64) {
	c := li.readCoverage(p)
	from = li.sub.Start[p]
	if c.position <= offset {
		from = max(from, c.position)
	}
	for lo, hi := range c.done.Gaps(from, start) {
		if lo <= offset && offset < hi {
			return lo, hi
		}
	}
	return offset, offset + 1
}

// describeDone completes the obligation of a listener that has done the event: when it did, after how many attempts,
// or why it skipped the event. If a timing and a note disagree, the newer one counts.
func (o *obligations) describeDone(ob *Obligation, li *listener, c *coverage, e *locatedEvent) {
	ob.State = Handled
	t, timed := o.newestTiming(li, e)
	if timed {
		ob.At, ob.Took = t.finished, t.took
	}
	for _, g := range c.skipped {
		if !timed && g.Lo <= e.Offset && e.Offset < g.Hi {
			ob.State, ob.At, ob.Reason = SkippedEvent, g.at, "a seek jumped over it"
			if g.who != "" {
				ob.Reason = "a seek by " + g.who + " jumped over it"
			}
			return
		}
	}
	n, noted := o.newestNote(li, e)
	if !noted || timed && n.order < t.order {
		return
	}
	switch n.kind {
	case noteSkipped:
		*ob = Obligation{Reaction: ob.Reaction, Certainty: ob.Certainty, State: SkippedEvent, At: n.at, Reason: n.text}
	case noteRetried:
		ob.Attempts, ob.Error = n.attempts, n.text
	case noteDuplicate:
		if !timed {
			ob.Duplicate, ob.At = true, n.at
		}
	}
}

// countBehind sets Behind of all obligations that were registered since the last call, with one scan per listener and
// partition.
func (o *obligations) countBehind() {
	for k, obs := range o.waiting {
		slices.SortFunc(obs, func(a, b *Obligation) int { return cmp.Compare(a.Behind, b.Behind) })
		last := obs[len(obs)-1].Behind // until it is set below, Behind holds an offset
		behind, next := int64(0), 0
		for lo, hi := range k.li.readCoverage(k.part).done.Gaps(k.li.sub.Start[k.part], last+1) {
			o.fail(scanEvents(o.bolt.Bucket(bucketEvents).Cursor(), partition{k.li.topic, k.part}, lo, hi, func(offset int64, e eventHead) bool {
				if e.copy.counts() && k.li.handles(e.typ) {
					behind++
				}
				for next < len(obs) && obs[next].Behind == offset {
					obs[next].Behind = behind
					next++
				}
				return true
			}))
		}
	}
	clear(o.waiting)
}

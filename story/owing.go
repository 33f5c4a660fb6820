package story

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"maps"
	"slices"
	"strings"

	"tidings.dev/internal/obligation"
)

// owing finds what is owed to the events of one story.
type owing struct {
	*view
	live    Live
	waiting map[waitKey][]*Obligation // whose Behind is to be counted; it holds the event's offset until then
}

type waitKey struct {
	li   *listener
	part int32
}

// fill writes down what every reaction owes to an event, or gave it.
func (o *owing) fill(e *placed) {
	listening := slices.SortedFunc(slices.Values(o.ix.judge.byTopic[e.at.topic]), func(a, b *listener) int { return cmp.Compare(a.reaction, b.reaction) })
	// Obligations are pointed at until they are counted: the slice must not move.
	e.Obligations = make([]Obligation, 0, len(listening)+len(o.live.Committed)+1)
	for _, li := range listening {
		ob, ok := o.of(li, e)
		if !ok {
			continue
		}
		e.Obligations = append(e.Obligations, ob)
		if ob.State == Waiting {
			p := &e.Obligations[len(e.Obligations)-1]
			p.Behind = e.Offset
			k := waitKey{li, e.Partition}
			o.waiting[k] = append(o.waiting[k], p)
		}
	}
	for _, group := range slices.Sorted(maps.Keys(o.live.Committed)) {
		if at, ok := o.live.Committed[group][e.Topic][e.Partition]; ok && at >= 0 && !o.reaction(group, e.Topic) {
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

// reaction tells whether a group is one of ours, which tells by marks what it does.
func (o *owing) reaction(group, topic string) bool {
	if strings.HasPrefix(group, "tidings.") {
		return true
	}
	li := o.ix.judge.listeners[obligation.SubscriptionKey(group, topic)]
	return li != nil && li.sub != nil
}

// of gives what one listener owes to an event; false when there is nothing between them.
func (o *owing) of(li *listener, e *placed) (Obligation, bool) {
	ob := Obligation{Reaction: li.reaction, Certainty: Recorded}
	if !li.wants(e.typ) {
		return ob, false
	}
	c := li.covers[e.Partition]
	if c == nil {
		c = new(coverage)
	}
	if c.any(e.offsets()) {
		o.done(&ob, li, c, e)
		return ob, true
	}
	switch {
	case li.sub == nil || e.Offset < li.sub.Start[e.Partition]:
		return ob, false
	case li.sub.Retired:
		ob.State = Retired
	case e.Offset < li.since(e.Partition):
		ob.State = JoinedLater
	case o.live.Starts[e.Topic][e.Partition] > e.Offset:
		ob.State = Lost
		ob.LostFrom, ob.LostTo = max(c.position, li.sub.Start[e.Partition]), o.live.Starts[e.Topic][e.Partition]
	case o.live.Committed[li.reaction][e.Topic][e.Partition] > e.Offset:
		ob.State, ob.Certainty = UnknownState, Unknown
	default:
		ob.State = Waiting
		if n, ok := o.note(li, e); ok && n.kind == noteRetrying {
			ob.State, ob.Attempts, ob.Error, ob.At, ob.Next = Retrying, n.attempts, n.text, n.at, n.next
		}
	}
	return ob, true
}

// done describes an obligation that is met.
func (o *owing) done(ob *Obligation, li *listener, c *coverage, e *placed) {
	ob.State = Handled
	n, noted := o.note(li, e)
	order, timed := o.timing(ob, li, e)
	for _, g := range c.sought {
		if !timed && g.Lo <= e.Offset && e.Offset < g.Hi {
			ob.State, ob.At, ob.Reason = SkippedEvent, g.at, "a seek jumped over it"
			if g.who != "" {
				ob.Reason = "a seek by " + g.who + " jumped over it"
			}
			return
		}
	}
	if !noted || timed && n.order < order {
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

// note gives the newest note on an event.
func (o *owing) note(li *listener, e *placed) (newest note, ok bool) {
	for _, offset := range e.offsets() {
		b := o.tx.Bucket(bucketNotes).Get(noteKey(li.num, e.Partition, offset))
		if b == nil {
			continue
		}
		n, err := decodeNote(b)
		if err != nil {
			o.fail(err)
			continue
		}
		if !ok || n.order > newest.order {
			newest, ok = n, true
		}
	}
	return newest, ok
}

// timing fills in when an event was handled, the last time that it was, and gives the place of the marks that said so.
func (o *owing) timing(ob *Obligation, li *listener, e *placed) (order int64, ok bool) {
	for _, offset := range e.offsets() {
		prefix := noteKey(li.num, e.Partition, offset>>8)
		c := o.tx.Bucket(bucketTimes).Cursor()
		for k, b := c.Seek(prefix); len(k) == len(prefix)+8 && bytes.HasPrefix(k, prefix); k, b = c.Next() {
			said := int64(binary.BigEndian.Uint64(k[len(prefix):]))
			if ok && said < order {
				continue
			}
			for r := (&reader{b: b}); r.more(); {
				at, took, finished := r.uint(), r.int(), r.time()
				if r.bad {
					o.fail(errRow)
				} else if int64(at) == offset&0xff {
					ob.Took, ob.At = microseconds(took), finished
					order, ok = said, true
				}
			}
		}
	}
	return order, ok
}

// countBehind counts, in one scan for each listener and partition, how far each is behind.
func (o *owing) countBehind() {
	for k, obs := range o.waiting {
		slices.SortFunc(obs, func(a, b *Obligation) int { return cmp.Compare(a.Behind, b.Behind) })
		c := k.li.covers[k.part]
		if c == nil {
			c = new(coverage)
		}
		at := partition{k.li.topic, k.part}
		behind, next := int64(0), 0
		for lo, hi := range c.done.gaps(k.li.sub.Start[k.part], obs[len(obs)-1].Behind+1) {
			err := scanFacts(o.tx.Bucket(bucketEvents).Cursor(), at, lo, hi, func(offset int64, f fact) bool {
				if f.copy != laterCopy && k.li.wants(f.typ) {
					behind++
				}
				for next < len(obs) && obs[next].Behind == offset {
					obs[next].Behind = behind
					next++
				}
				return true
			})
			if err != nil {
				o.fail(err)
			}
		}
	}
}

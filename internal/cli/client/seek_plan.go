package client

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"tidings.dev/internal/cli/shell"
	"tidings.dev/internal/cloudevent"
	"tidings.dev/internal/logclient"
	"tidings.dev/internal/obligation"
	"tidings.dev/internal/offsets"
)

// seek moves the position of a group in one topic, or makes a reaction handle single events again or jump them. The
// caller sets the first fields, up to idGiven; plan fills the others.
type seek struct {
	connection
	group string
	topic string
	id    string // of the seek
	why   string
	// idGiven is set if the id was given, and not made up.
	idGiven bool

	ledger       *ledger
	sub          *obligation.Subscription // nil if the group is no reaction to the topic
	starts, ends map[int32]int64
	committed    map[int32]int64 // -1 if none is committed
	running      bool            // the group has members: the instances of the reaction must do it
}

// move is what a seek does in one partition.
type move struct {
	topicPartition
	From   int64 `json:"from"` // the committed position; -1 if there is none
	To     int64 `json:"to"`
	Repeat int64 `json:"repeat"` // number of events that the group will handle again; Types has them by type
	Skip   int64 `json:"skip"`   // number of events that the group has not handled and will not get; Types has them by type, but for Lost
	// Lost is the number of offsets, of Skip, that the log has no more. Whether each had an event, and of which type, is not known.
	Lost  int64       `json:"lost,omitempty"`
	Types []typeCount `json:"types"`

	Result *moveResult `json:"result,omitempty"` // what has become of it; nil if the group does not run, or nothing was done

	from  int64       // offset at which the group would go on without the seek; below the log's start if events were removed before that
	exact bool        // only the events in again and jump change
	again offsets.Set // events that are done and will be handled again
	jump  offsets.Set // events that are not done and will be jumped
}

// typeCount is the number of events of one type that a move affects.
type typeCount struct {
	Type   string `json:"type"` // empty for records without a type
	Repeat int64  `json:"repeat"`
	Skip   int64  `json:"skip"`
}

// plan returns the moves of a seek, sorted by partition, without changing anything. If only is not empty, the seek is
// limited to these partitions.
func (k *seek) plan(ctx context.Context, goal seekGoal, only []int32) ([]move, error) {
	if err := k.look(ctx, goal); err != nil {
		return nil, err
	}
	partitions := slices.Sorted(maps.Keys(k.ends))
	for _, p := range only {
		if !slices.Contains(partitions, p) {
			return nil, shell.NotFoundf(fmt.Sprintf("it has partitions 0 to %d", len(partitions)-1), "topic %s has no partition %d", k.topic, p)
		}
	}
	if len(only) > 0 {
		partitions = slices.Compact(slices.Sorted(slices.Values(only)))
	}
	if goal.exact() {
		return k.planExactly(ctx, goal, partitions)
	}
	targets, err := k.targets(ctx, goal, partitions)
	if err != nil {
		return nil, err
	}
	plan := []move{}
	for _, p := range partitions {
		m := k.move(p)
		m.To = targets[p]
		if err := k.count(ctx, &m); err != nil {
			return nil, err
		}
		plan = append(plan, m)
	}
	return plan, nil
}

// look reads the state of the group into k. It returns a fault if the group cannot be moved.
func (k *seek) look(ctx context.Context, goal seekGoal) error {
	if _, err := k.connection.topic(ctx, k.topic); err != nil {
		return err
	}
	group, err := k.connection.group(ctx, k.group)
	if err != nil {
		return err
	}
	k.running = len(group.Members) > 0
	if k.ledger, err = k.readLedger(ctx, func(reaction string) bool { return reaction == k.group }); err != nil {
		return err
	}
	k.sub = k.ledger.subscription(k.group, k.topic)
	if err := k.refuseRunning(len(group.Members)); err != nil {
		return err
	}
	if k.sub == nil && goal.exact() {
		return shell.Failedf("no_reaction", "use --to or --by, which move its position", "group %s is no reaction to topic %s: it has no record of single events", k.group, k.topic)
	}
	starts, ends, err := k.bounds(ctx, k.topic)
	if err != nil {
		return err
	}
	k.starts, k.ends, k.committed = starts[k.topic], ends[k.topic], make(map[int32]int64)
	committed, err := k.adm.FetchOffsets(ctx, k.group)
	if err != nil {
		return err
	}
	for p := range k.ends {
		k.committed[p] = -1
		if c, ok := committed.Lookup(k.topic, p); ok && c.Err == nil {
			k.committed[p] = c.At
		}
	}
	return nil
}

// refuseRunning refuses a group with members which cannot be told to move: one that is no reaction to the topic, or whose program
// knows no commands.
func (k *seek) refuseRunning(members int) error {
	_, commands := k.ledger.ids[obligation.ControlTopic]
	switch has := shell.Plural(members, "member"); {
	case members == 0:
	case k.sub == nil:
		return shell.Failedf("group_active", "stop them first: a running member would go on from where it is", "group %s is no reaction to topic %s, and has %s", k.group, k.topic, has)
	case !commands:
		return shell.Failedf("group_active", "stop them first", "group %s has %s, of a version that cannot be told to move while it runs", k.group, has)
	}
	return nil
}

// move returns a move of partition p that changes nothing yet.
func (k *seek) move(p int32) move {
	m := move{topicPartition: topicPartition{k.topic, p}, From: k.committed[p], Types: []typeCount{}}
	switch {
	case m.From >= 0:
		m.from = m.From
	case k.sub == nil:
		m.from = k.starts[p]
	default: // it goes on after what it has marked
		a := k.account(p)
		m.from = k.sub.Start[p]
		if a.Seek != nil {
			m.from = a.Seek.To
		}
		done := a.Done.Clone()
		m.from = done.AdvancePast(m.from)
	}
	m.To = m.from
	return m
}

// account returns the account of the group in partition p. It is empty if the group is no reaction.
func (k *seek) account(p int32) *obligation.Account {
	return k.ledger.account(accountKey{k.group, topicPartition{k.topic, p}})
}

// handles reports whether the group handles an event. A group that is no reaction handles all events. A reaction does
// not handle copies.
func (k *seek) handles(e *cloudevent.Event) bool {
	if _, copied := k.account(e.Partition).Copies[e.Offset]; copied {
		return false
	}
	return k.sub == nil || len(k.sub.Types) == 0 || slices.Contains(k.sub.Types, e.Type)
}

// targets returns the new position in each of the partitions.
func (k *seek) targets(ctx context.Context, goal seekGoal, partitions []int32) (map[int32]int64, error) {
	if goal.to == nil {
		targets := make(map[int32]int64)
		for _, p := range partitions {
			var err error
			if targets[p], err = k.relative(ctx, k.move(p), goal.by); err != nil {
				return nil, err
			}
		}
		return targets, nil
	}
	if err := k.refusePastEnd(goal, partitions); err != nil {
		return nil, err
	}
	found, err := goal.to.resolve(ctx, k.log, logclient.Offsets{k.topic: k.starts}, logclient.Offsets{k.topic: k.ends}, k.topic)
	return found[k.topic], err
}

// refusePastEnd returns a usage fault if the goal is an offset past the end of one of the partitions, because such a
// seek would jump all events.
func (k *seek) refusePastEnd(goal seekGoal, partitions []int32) error {
	if goal.to.earliest || goal.to.latest || !goal.to.at.IsZero() {
		return nil
	}
	for _, p := range partitions {
		if goal.to.offset <= k.ends[p] {
			continue
		}
		hint := "`--to latest` goes to the end; --partition chooses partitions"
		if at, ok := plainlyTime(goal.to.offset); ok {
			hint = fmt.Sprintf("if it is a time, write it as one: --to %s", at.Format(time.RFC3339Nano))
		}
		return shell.Usagef(hint, "--to %s is past the end of partition %d of %s, which is at %d", goal.text, p, k.topic, k.ends[p])
	}
	return nil
}

// plainlyTime reports whether n looks like a time since 2001, in seconds, milliseconds, microseconds or nanoseconds
// since 1970, and returns that time.
func plainlyTime(n int64) (at time.Time, ok bool) {
	const first = 1e9 // in seconds since 1970: 9 September 2001
	switch {
	case n < first:
		return at, false
	case n < first*1e2:
		return time.Unix(n, 0).UTC(), true
	case n < first*1e5:
		return time.UnixMilli(n).UTC(), true
	case n < first*1e8:
		return time.UnixMicro(n).UTC(), true
	}
	return time.Unix(0, n).UTC(), true
}

// relative returns the offset that is by events of the group ahead of m.from, or -by events back if by is negative.
// Ahead, it counts only events that are not done. If there are fewer events, it returns the end or the start of the
// partition.
func (k *seek) relative(ctx context.Context, m move, by int64) (int64, error) {
	if by > 0 {
		return k.ahead(ctx, m, by)
	}
	from := max(m.from, k.starts[m.Partition])
	for window := -4 * by; ; window *= 4 {
		lo := max(from-window, k.starts[m.Partition])
		var theirs []int64
		err := k.read(ctx, m.Partition, lo, from, func(e *cloudevent.Event) bool {
			if k.handles(e) {
				theirs = append(theirs, e.Offset)
			}
			return true
		})
		switch n := int64(len(theirs)); {
		case err != nil:
			return 0, err
		case n >= -by:
			return theirs[n+by], nil
		case lo <= k.starts[m.Partition]:
			return lo, nil
		}
	}
}

// ahead implements relative for a positive number of events.
func (k *seek) ahead(ctx context.Context, m move, by int64) (int64, error) {
	to := max(k.ends[m.Partition], m.from)
	done := &k.account(m.Partition).Done
	err := k.read(ctx, m.Partition, m.from, k.ends[m.Partition], func(e *cloudevent.Event) bool {
		if k.handles(e) && !done.Contains(e.Offset) {
			if by--; by == 0 {
				to = e.Offset + 1
			}
		}
		return by > 0
	})
	return to, err
}

// count counts the events that the group will handle again, and those that it will jump, if its position moves from
// m.from to m.To. What the log has no more of what it jumps is counted by offsets.
func (k *seek) count(ctx context.Context, m *move) error {
	done := &k.account(m.Partition).Done
	for lo, hi := range done.Gaps(m.from, min(m.To, k.starts[m.Partition])) {
		m.Lost += hi - lo
	}
	m.Skip += m.Lost
	hi := max(m.from, m.To)
	if ranges := done.Ranges(); m.To < m.from && len(ranges) > 0 {
		hi = max(hi, ranges[len(ranges)-1].Hi) // a seek back also repeats the events that were done ahead
	}
	return k.read(ctx, m.Partition, min(m.from, m.To), min(hi, k.ends[m.Partition]), func(e *cloudevent.Event) bool {
		if !k.handles(e) {
			return true
		}
		ready := e.Offset >= m.from && !done.Contains(e.Offset)
		then := e.Offset >= m.To && (m.To < m.from || !done.Contains(e.Offset))
		m.tally(e.Type, ready, then)
		return true
	})
}

// tally counts an event of a type. before tells whether the group would handle the event without the seek, and after
// whether it will with it.
func (m *move) tally(typ string, before, after bool) {
	if before == after {
		return
	}
	i, ok := slices.BinarySearchFunc(m.Types, typ, func(t typeCount, typ string) int { return strings.Compare(t.Type, typ) })
	if !ok {
		m.Types = slices.Insert(m.Types, i, typeCount{Type: typ})
	}
	if after {
		m.Repeat++
		m.Types[i].Repeat++
	} else {
		m.Skip++
		m.Types[i].Skip++
	}
}

// read calls f for the events at offsets [lo, hi) of a partition, in order, until f returns false.
func (k *seek) read(ctx context.Context, p int32, lo, hi int64, f func(*cloudevent.Event) bool) error {
	from, until := logclient.Offsets{k.topic: {p: max(lo, k.starts[p])}}, logclient.Offsets{k.topic: {p: hi}}
	for r, err := range k.log.Read(ctx, from, until) {
		if err != nil {
			return fmt.Errorf("read %s: %w", k.topic, err)
		}
		if e := cloudevent.FromRecord(r); !f(&e) {
			return nil
		}
	}
	return nil
}

// planExactly returns the moves that make the group handle the events of a goal again, or jump them, without
// affecting other events. It returns no move for a partition that has none of these events.
func (k *seek) planExactly(ctx context.Context, goal seekGoal, partitions []int32) ([]move, error) {
	plan, named, theirs := []move{}, 0, 0
	for _, p := range partitions {
		m, done := k.move(p), &k.account(p).Done
		m.exact = true
		err := k.read(ctx, p, k.starts[p], k.ends[p], func(e *cloudevent.Event) bool {
			if !slices.Contains(goal.events, e.ID) && !slices.Contains(goal.subjects, e.Subject) {
				return true
			}
			if named++; !k.handles(e) {
				return true
			}
			theirs++
			open := e.Offset >= m.from && !done.Contains(e.Offset)
			if open == goal.jump {
				if goal.jump {
					m.jump.Add(e.Offset, e.Offset+1)
				} else {
					m.again.Add(e.Offset, e.Offset+1)
					m.To = min(m.To, e.Offset)
				}
				m.tally(e.Type, open, !open)
			}
			return true
		})
		if err != nil {
			return nil, err
		}
		if len(m.Types) > 0 {
			plan = append(plan, m)
		}
	}
	what := strings.Join(slices.Concat(goal.events, goal.subjects), ", ")
	switch {
	case named == 0:
		return nil, shell.NotFoundf(fmt.Sprintf("`tidings tail %s` shows ids and subjects", k.topic), "topic %s has no event of %s", k.topic, what)
	case theirs == 0:
		return nil, shell.NotFoundf(fmt.Sprintf("it handles %s", typesText(k.sub.Types)), "reaction %s handles none of the events of %s", k.group, what)
	case len(plan) == 0 && goal.jump:
		return nil, shell.Failedf("nothing_to_do", "without --jump they are handled again", "reaction %s has done all events of %s already", k.group, what)
	case len(plan) == 0:
		return nil, shell.Failedf("nothing_to_do", "it handles them when it runs; `--jump` jumps them", "reaction %s has done none of the events of %s yet", k.group, what)
	}
	slices.SortFunc(plan, func(a, b move) int { return cmp.Compare(a.Partition, b.Partition) })
	return plan, nil
}

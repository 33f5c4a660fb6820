package client

import (
	"cmp"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"tidings.dev/internal/logclient"
	"tidings.dev/internal/obligation"
)

// groupPosition is the state of a group in one partition.
type groupPosition struct {
	topicPartition
	Position int64  `json:"position"` // -1 if none is committed
	End      int64  `json:"end"`
	Behind   int64  `json:"behind"` // for a reaction, records that are not done; for another group, records after its position
	Retrying int    `json:"retrying"`
	Running  int    `json:"running"`
	Owner    string `json:"owner,omitempty"` // member that the partition is assigned to
}

// failingEvent is an event whose last attempt has failed and that will be tried again.
type failingEvent struct {
	topicPartition
	Offset   int64     `json:"offset"`
	Since    time.Time `json:"since,omitzero"` // time of the first failure
	Attempts int       `json:"attempts"`
	Error    string    `json:"error,omitempty"`
	Next     time.Time `json:"next,omitzero"`
}

// runningEvent is an event whose handler has been running for long.
type runningEvent struct {
	topicPartition
	Offset  int64     `json:"offset"`
	Since   time.Time `json:"since,omitzero"`
	Attempt int       `json:"attempt"`
}

// standing is the state of a group, from its positions and, if it is a reaction, from its records.
type standing struct {
	positions []groupPosition // sorted by topic and partition
	failing   []failingEvent  // the longest failing first
	running   []runningEvent  // the longest running first
	needs     string          // lowest version of the program that may run the reaction; empty: any version may
	reaction  bool
}

// behind returns the sum of Behind over all partitions.
func (s *standing) behind() (n int64) {
	for _, p := range s.positions {
		n += p.Behind
	}
	return n
}

// standingOf returns the state of group g. starts and ends are the bounds of the topics of the ledger's
// subscriptions.
func (l *ledger) standingOf(g kadm.DescribedGroupLag, starts, ends logclient.Offsets, now time.Time) standing {
	s := standing{positions: []groupPosition{}, failing: []failingEvent{}, running: []runningEvent{}}
	committed := make(map[topicPartition]kadm.GroupMemberLag)
	for _, p := range g.Lag.Sorted() {
		tp := topicPartition{p.Topic, p.Partition}
		committed[tp] = p
		if l.subscription(g.Group, p.Topic) == nil {
			s.positions = append(s.positions, groupPosition{topicPartition: tp, Position: p.Commit.At, End: p.End.Offset, Behind: max(p.Lag, 0), Owner: ownerOf(p)})
		}
	}
	for _, sub := range l.subscriptionsOf(g.Group) {
		s.reaction = true
		if !sub.Version.IsZero() {
			s.needs = sub.Version.String()
		}
		for number, end := range ends[sub.Topic] {
			tp := topicPartition{sub.Topic, number}
			p := groupPosition{topicPartition: tp, Position: -1, End: end}
			if c, ok := committed[tp]; ok {
				p.Position, p.Owner = c.Commit.At, ownerOf(c)
			}
			a := l.account(accountKey{g.Group, tp})
			p.Behind = a.Open(max(starts[sub.Topic][number], sub.Start[number], p.Position), end)
			s.note(&p, a, now)
			s.positions = append(s.positions, p)
		}
	}
	slices.SortFunc(s.positions, func(a, b groupPosition) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	slices.SortFunc(s.failing, func(a, b failingEvent) int { return a.Since.Compare(b.Since) })
	slices.SortFunc(s.running, func(a, b runningEvent) int { return a.Since.Compare(b.Since) })
	return s
}

// note adds to s, and counts in p, the events of a partition that fail and that run. A handler renews its record
// while it runs, so a record that is older than two intervals is ignored: its handler or its instance has ended.
func (s *standing) note(p *groupPosition, a *obligation.Account, now time.Time) {
	for _, f := range a.Retrying {
		e := failingEvent{p.topicPartition, f.Offset, f.First, f.Attempt, f.Error, f.Next}
		if e.Since.IsZero() {
			e.Since = f.At
		}
		s.failing = append(s.failing, e)
		p.Retrying++
	}
	for _, r := range a.Running {
		if now.Sub(r.At) < 2*obligation.RunningEvery {
			s.running = append(s.running, runningEvent{p.topicPartition, r.Offset, r.Since, r.Attempt})
			p.Running++
		}
	}
}

// ownerOf returns the id of the member that a partition is assigned to, or "" if there is none.
func ownerOf(p kadm.GroupMemberLag) string {
	if p.Member == nil {
		return ""
	}
	return p.Member.MemberID
}

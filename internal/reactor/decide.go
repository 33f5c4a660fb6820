package reactor

import (
	"fmt"
	"time"

	"tidings.dev/internal/obligation"
	"tidings.dev/internal/offsets"
)

// past is what tidings.reactions has of one partition, for the commands that are open in it.
type past struct {
	account *obligation.Account
	topic   obligation.TopicID     // as it is now
	open    map[string]bool        // the ids of the open commands
	begun   map[string]*carriedOut // by id: those of them whose seeks are recorded
}

// carriedOut is the seek of a command that is recorded.
type carriedOut struct {
	seek   *obligation.Seek
	before *obligation.Account // the account as it was before the seek
}

func newPast(topic topicID, commands []obligation.Commanded) *past {
	p := &past{account: obligation.NewAccount(), topic: obligation.TopicID(topic), open: make(map[string]bool), begun: make(map[string]*carriedOut)}
	for _, c := range commands {
		p.open[c.Command.ID] = true
	}
	return p
}

// add takes in a record; they must come in the order of the log.
func (p *past) add(id obligation.TopicID, f obligation.Fact) {
	if !id.Is(p.topic) {
		return
	}
	if s, ok := f.(*obligation.Seek); ok && p.open[s.Command] && p.begun[s.Command] == nil && s.Follows(p.account.Epoch()) {
		p.begun[s.Command] = &carriedOut{s, p.account.Clone()}
	}
	p.account.Add(f)
}

// decision is what is to be done about the open commands of one partition: facts are to be appended; then, if moved, the position
// is to be committed, and the partition taken up there; then results are to be appended.
type decision struct {
	facts   []obligation.Fact
	results []*obligation.Result

	moved           bool
	position, epoch int64
	ahead           offsets.Set // done above position
}

// decide decides about the open commands of one partition, which the reaction has taken up at position, in an epoch. The log has
// the offsets in [start, end). past has all that was appended by now, and is not changed.
//
// A seek that is recorded, but not committed, is carried to its end, even if its command has expired since: the marks that follow
// in its epoch would count for nothing otherwise.
func decide(commands []obligation.Commanded, past *past, position, epoch, start, end int64) decision {
	d := decision{position: position, epoch: epoch}
	account := past.account.Clone()
	record := func(facts []obligation.Fact) {
		for _, f := range facts {
			account.Add(f)
		}
		d.facts = append(d.facts, facts...)
	}
	for _, c := range commands {
		cmd := c.Command
		done := cmd.Result(obligation.ResultDone, "")
		if begun := past.begun[cmd.ID]; begun != nil {
			done.From, done.To, done.Epoch = cmd.Position, begun.seek.To, begun.seek.Epoch
			if begun.seek.Epoch > epoch && account.Seek == begun.seek {
				// Perhaps not all of its marks are there.
				if m, stale := cmd.Move(begun.before, position); stale == "" {
					if facts, err := begun.before.Facts(m, *begun.seek); err == nil {
						record(facts[1:])
					}
				}
				d.position, d.epoch, d.moved = begun.seek.To, begun.seek.Epoch, true
			}
			d.results = append(d.results, done)
			continue
		}
		m, refusal := admit(&c, past, account, d.position, start, end)
		if refusal != nil {
			d.results = append(d.results, refusal)
			continue
		}
		facts, err := account.Facts(m, obligation.Seek{
			Reaction: cmd.Reaction, Topic: cmd.Topic, TopicID: past.topic, Partition: cmd.Partition, Who: cmd.Who, Why: cmd.Why, Command: cmd.ID, At: time.Now().UTC(),
		})
		if err != nil {
			d.results = append(d.results, cmd.Result(obligation.ResultRefused, err.Error()))
			continue
		}
		record(facts)
		d.position, d.epoch, d.moved = m.To, account.Epoch(), true
		done.From, done.To, done.Epoch = m.From, m.To, d.epoch
		d.results = append(d.results, done)
	}
	if d.moved {
		d.ahead = account.Done.CutFrom(d.position)
	}
	return d
}

// admit returns the move of a command that is not begun, or a result by which it is not carried out.
func admit(c *obligation.Commanded, past *past, account *obligation.Account, position, start, end int64) (obligation.Move, *obligation.Result) {
	cmd := c.Command
	refuse := func(state, format string, args ...any) (obligation.Move, *obligation.Result) {
		return obligation.Move{}, cmd.Result(state, fmt.Sprintf(format, args...))
	}
	switch {
	case cmd.Expired(c.Appended, c.Claimed):
		return refuse(obligation.ResultExpired, "no instance took it up within %v", time.Duration(cmd.Valid)*time.Millisecond)
	case cmd.Action != obligation.ActionSeek:
		return refuse(obligation.ResultRefused, "this version of the program knows no action %q", cmd.Action)
	case !cmd.TopicID.Is(past.topic):
		return refuse(obligation.ResultStale, "the topic was deleted and made again")
	case cmd.To != cmd.Position && cmd.To < start || len(cmd.Again) > 0 && cmd.Again[0].Lo < start:
		return refuse(obligation.ResultStale, "retention has removed events of the plan: the log begins at %d", start)
	case cmd.To > end || beyond(cmd.Again, end) || beyond(cmd.Jump, end):
		return refuse(obligation.ResultRefused, "the log ends at %d", end)
	}
	m, stale := cmd.Move(account, position)
	if stale != "" {
		return refuse(obligation.ResultStale, "%s", stale)
	}
	return m, nil
}

// beyond reports whether ranges, in order, go beyond an offset.
func beyond(ranges []offsets.Range, end int64) bool {
	return len(ranges) > 0 && ranges[len(ranges)-1].Hi > end
}

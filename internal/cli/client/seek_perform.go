package client

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/internal/cli/shell"
	"tidings.dev/internal/obligation"
)

// perform carries out a plan. If the group is a reaction, the seeks are first recorded durably, and then the
// positions are committed.
func (k *seek) perform(ctx context.Context, plan []move) error {
	if k.sub != nil {
		var records []*kgo.Record
		for _, m := range plan {
			facts, err := k.facts(m)
			if err != nil {
				return err
			}
			for _, f := range facts {
				records = append(records, &kgo.Record{Topic: f.RecordTopic(), Key: []byte(f.Key()), Value: obligation.Encode(f)})
			}
		}
		if err := k.log.ProduceSync(ctx, records...); err != nil {
			return fmt.Errorf("record the move: %w", err)
		}
	}
	moved := kadm.Offsets{}
	for _, m := range plan {
		moved.AddOffset(m.Topic, m.Partition, m.To, -1)
	}
	answers, err := k.adm.CommitOffsets(ctx, k.group, moved)
	if err == nil {
		err = answers.Error()
	}
	if err != nil {
		return fmt.Errorf("move the position: %w", err)
	}
	return k.noteDone(ctx, plan)
}

// noteDone appends the results of a seek of a stopped reaction that was given an id, so that it is not done twice.
func (k *seek) noteDone(ctx context.Context, plan []move) error {
	if k.sub == nil || !k.idGiven {
		return nil
	}
	var records []*kgo.Record
	for _, m := range plan {
		r := k.commandOf(m).Result(obligation.ResultDone, "")
		r.From, r.To, r.Epoch, r.By, r.At = m.from, m.To, k.account(m.Partition).Epoch()+1, r.Who, time.Now().UTC()
		records = append(records, &kgo.Record{Topic: r.RecordTopic(), Key: []byte(r.Key()), Value: obligation.Encode(r)})
	}
	if err := k.produceControl(ctx, records); err != nil {
		return fmt.Errorf("the position was moved, but not recorded under the id %s: %w", k.id, err)
	}
	return nil
}

// facts returns the facts that record a move: a seek, followed, if the move is about single events, by marks that
// restore the state of all other events.
func (k *seek) facts(m move) ([]obligation.Fact, error) {
	facts, err := k.account(m.Partition).Facts(m.change(), obligation.Seek{
		Reaction: k.group, Topic: m.Topic, TopicID: k.ledger.ids[m.Topic], Partition: m.Partition, Who: userAtHost(), Why: k.why, Command: k.id, At: time.Now().UTC(),
	})
	if err != nil {
		return nil, shell.Failedf("too_many", "use --to", "%v", err)
	}
	return facts, nil
}

// change returns the move as its account is changed by it.
func (m move) change() obligation.Move {
	return obligation.Move{From: m.from, To: m.To, Exact: m.exact, Again: m.again, Jump: m.jump}
}

// userAtHost returns the name of the user of this process and the host, as user@host, as far as they are known.
func userAtHost() string {
	name := os.Getenv("USER")
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		name += "@" + host
	}
	return name
}

package bench

import (
	"context"
	"fmt"
	"time"
)

// Contender is one of the things that are measured in each round: a broker, or a limit of the machine.
type Contender struct {
	Name string
	// Run measures the contender once.
	Run func(context.Context) (Measured, error)
}

// Round has the results of one round, by the name of the contender.
type Round map[string]Measured

// Alternate runs the contenders in turn, A B C A B C …, for the given number of rounds, and returns one Round for
// each. Before each run it pauses for rest, so that background work of the run before can end. It sets the stage of
// p, which may be nil, to the name of the contender and the number of the round. Alternate blocks until the last run
// has ended. It stops at the first run that fails and returns an error that names the contender, together with the
// complete rounds. If ctx is cancelled it returns the cause of ctx.
func Alternate(ctx context.Context, rounds int, rest time.Duration, contenders []Contender, p *Progress) ([]Round, error) {
	var all []Round
	for i := range rounds {
		round := Round{}
		for _, c := range contenders {
			p.Stage("rest")
			if err := pause(ctx, rest); err != nil {
				return all, err
			}
			stage := c.Name
			if rounds > 1 {
				stage = fmt.Sprintf("round %d of %d: %s", i+1, rounds, c.Name)
			}
			p.Stage(stage)
			m, err := c.Run(ctx)
			if err != nil {
				return all, fmt.Errorf("%s: %w", c.Name, err)
			}
			round[c.Name] = m
		}
		all = append(all, round)
	}
	return all, nil
}

// pause blocks for d or until ctx is done. In the latter case it returns the cause of ctx.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

package bench

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Contender is one thing that is measured in rounds.
type Contender struct {
	Name string
	Run  func(context.Context) (Measured, error)
}

// Round is what each contender gave in one round, by name.
type Round map[string]Measured

// Alternate runs the contenders one after the other, rounds times over: A B C A B C …, with a rest before each in which
// what the last one left behind can settle. It blocks until all is done. Progress is told what runs.
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

// Compared is a ratio to be taken in each round.
type Compared struct {
	Name string
	Of   func(Round) float64
	Goal Goal
}

// Goal is what a ratio should be; the zero value is none.
type Goal struct {
	AtLeast, AtMost float64 // 0: no such bound
}

// String says the goal as ">= 0.6"; "" for none.
func (g Goal) String() string {
	switch {
	case g.AtLeast > 0:
		return fmt.Sprintf(">= %g", g.AtLeast)
	case g.AtMost > 0:
		return fmt.Sprintf("<= %g", g.AtMost)
	}
	return ""
}

// Met reports whether a ratio is as good as the goal; without a goal it is.
func (g Goal) Met(ratio float64) bool {
	return (g.AtLeast == 0 || ratio >= g.AtLeast) && (g.AtMost == 0 || ratio > 0 && ratio <= g.AtMost)
}

// Ratio is one ratio over all rounds. It is the median of the rounds' own ratios, since both halves of each were taken
// within moments.
type Ratio struct {
	Name   string  `json:"name"`
	Median float64 `json:"median"`
	Low    float64 `json:"low"`  // the lowest of a round
	High   float64 `json:"high"` // the highest
	Goal   string  `json:"goal,omitempty"`
	Met    *bool   `json:"met,omitempty"` // absent without a goal
}

// Compare takes ratios over rounds. A ratio whose divisor was 0 is 0.
func Compare(rounds []Round, compared []Compared) []Ratio {
	ratios := []Ratio{}
	for _, c := range compared {
		var each []float64
		for _, r := range rounds {
			each = append(each, c.Of(r))
		}
		if len(each) == 0 {
			continue
		}
		r := Ratio{Name: c.Name, Median: median(each), Low: slices.Min(each), High: slices.Max(each), Goal: c.Goal.String()}
		if r.Goal != "" {
			met := c.Goal.Met(r.Median)
			r.Met = &met
		}
		ratios = append(ratios, r)
	}
	return ratios
}

// Divide is a / b, and 0 where there is no b.
func Divide(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

// median is the middle of the values, or the mean of the two in the middle; 0 of none. It leaves them as they are.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

package bench

import (
	"fmt"
	"slices"
)

// Comparison is a figure that is computed in each round, usually a ratio of two contenders.
type Comparison struct {
	Name string
	Of   func(Round) float64
	Goal Goal
}

// Goal is a bound on a figure. The zero value is no bound.
type Goal struct {
	AtLeast, AtMost float64 // 0: no bound on this side
}

// String returns the goal as ">= 0.6" or "<= 1.5", or "" if it has no bound.
func (g Goal) String() string {
	switch {
	case g.AtLeast > 0:
		return fmt.Sprintf(">= %g", g.AtLeast)
	case g.AtMost > 0:
		return fmt.Sprintf("<= %g", g.AtMost)
	}
	return ""
}

// Met reports whether a figure is within the bounds of the goal. A figure of 0 means that it was not measured, and
// never meets an upper bound.
func (g Goal) Met(figure float64) bool {
	return (g.AtLeast == 0 || figure >= g.AtLeast) && (g.AtMost == 0 || figure > 0 && figure <= g.AtMost)
}

// Ratio is the result of a Comparison over all rounds. The ratio is computed in each round, from measurements that
// were taken shortly after each other, and Median is the median of these ratios.
type Ratio struct {
	Name   string  `json:"name"`
	Median float64 `json:"median"`
	Low    float64 `json:"low"`  // the lowest ratio of a round
	High   float64 `json:"high"` // the highest ratio of a round
	Goal   string  `json:"goal,omitempty"`
	Met    *bool   `json:"met,omitempty"` // nil if there is no goal
}

// Judge sets Goal and Met of the ratio. If g has no bounds, it changes nothing.
func (r *Ratio) Judge(g Goal) {
	if text := g.String(); text != "" {
		met := g.Met(r.Median)
		r.Goal, r.Met = text, &met
	}
}

// Compare computes each comparison in each round and returns the results. Without rounds, the result is empty.
func Compare(rounds []Round, comparisons []Comparison) []Ratio {
	ratios := []Ratio{}
	for _, c := range comparisons {
		var each []float64
		for _, r := range rounds {
			each = append(each, c.Of(r))
		}
		if len(each) == 0 {
			continue
		}
		r := Ratio{Name: c.Name, Median: median(each), Low: slices.Min(each), High: slices.Max(each)}
		r.Judge(c.Goal)
		ratios = append(ratios, r)
	}
	return ratios
}

// Divide returns a / b, or 0 if b is 0.
func Divide(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

// median returns the middle value of values, or the mean of the two middle ones, or 0 if there are none. It does not
// change the slice.
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

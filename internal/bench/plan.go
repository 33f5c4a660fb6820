package bench

import (
	"cmp"
	"context"
	"math"
	"time"
)

// BrokerName is the name of the contender that is the measured broker.
const BrokerName = "broker"

// Plan describes a benchmark: the contenders, the number of rounds, and the comparisons.
type Plan struct {
	Benchmark   string // name in the report
	Measures    string // name of the contender that the report has as Result, all others being Ceilings; "": BrokerName
	Target      Target
	Workload    map[string]any
	Rounds      int
	Rest        time.Duration // pause before each run of a contender
	Contenders  []Contender
	Comparisons []Comparison
}

// Run runs the plan and returns its report. began is when the benchmark began, which includes its preparation. If ctx
// is cancelled, Run returns the cause of ctx.
func (p Plan) Run(ctx context.Context, began time.Time, progress *Progress) (Report, error) {
	rounds, err := Alternate(ctx, p.Rounds, p.Rest, p.Contenders, progress)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return Report{}, err
	}
	r := Report{
		Benchmark: p.Benchmark, At: time.Now().UTC().Truncate(time.Second), Machine: ThisMachine(), Target: p.Target,
		Workload: p.Workload, Rounds: p.Rounds, Ceilings: []Result{}, Ratios: Compare(rounds, p.Comparisons),
	}
	for _, c := range p.Contenders {
		result := Summarize(c.Name, rounds)
		if c.Name == cmp.Or(p.Measures, BrokerName) {
			r.Result = result
		} else {
			r.Ceilings = append(r.Ceilings, result)
		}
	}
	progress.Stage("")
	r.TookSeconds = math.Round(time.Since(began).Seconds()*10) / 10
	return r, nil
}

// RateRatio returns the comparison of the broker's records per second with those of another contender.
func RateRatio(other string) Comparison { return RateRatioOf(BrokerName, other) }

// RateRatioOf returns the comparison of the records per second of a contender with those of another one.
func RateRatioOf(contender, other string) Comparison {
	return Comparison{Name: "records_per_s / " + other, Of: func(r Round) float64 {
		return Divide(r[contender].RecordsPerSecond(), r[other].RecordsPerSecond())
	}}
}

// BytesRatio returns the comparison of the broker's bytes per second with those of another contender.
func BytesRatio(other string) Comparison {
	return Comparison{Name: "mb_per_s / " + other, Of: func(r Round) float64 {
		return Divide(r[BrokerName].BytesPerSecond(), r[other].BytesPerSecond())
	}}
}

// QuantileRatio returns the comparison of the quantile q of the broker's latency with that of another contender. name
// is the quantile's name in reports, such as p50 or p99.
func QuantileRatio(name string, q float64, other string) Comparison {
	return QuantileRatioOf(BrokerName, name, q, other)
}

// QuantileRatioOf is like QuantileRatio, for the latency of a contender.
func QuantileRatioOf(contender, name string, q float64, other string) Comparison {
	return Comparison{Name: name + " / " + other, Of: func(r Round) float64 {
		return Divide(r[contender].Quantile(q), r[other].Quantile(q))
	}}
}

// Figure returns the figure of a contender as a comparison, which may have a goal.
func Figure(contender, name string) Comparison {
	return Comparison{Name: name, Of: func(r Round) float64 { return r[contender].Figures[name] }}
}

// FigureRatio returns the comparison of the figure of a contender with that of another one.
func FigureRatio(contender, name, other string) Comparison {
	return Comparison{Name: name + " / " + other, Of: func(r Round) float64 {
		return Divide(r[contender].Figures[name], r[other].Figures[name])
	}}
}

package bench

import (
	"context"
	"math"
	"time"
)

// BrokerName is the name of the contender that is the measured broker. A report has it as Result, and all other
// contenders as Ceilings.
const BrokerName = "broker"

// Plan describes a benchmark: the contenders, the number of rounds, and the comparisons.
type Plan struct {
	Benchmark   string // name in the report
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
		if c.Name == BrokerName {
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
func RateRatio(other string) Comparison {
	return Comparison{Name: "records_per_s / " + other, Of: func(r Round) float64 {
		return Divide(r[BrokerName].RecordsPerSecond(), r[other].RecordsPerSecond())
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
	return Comparison{Name: name + " / " + other, Of: func(r Round) float64 {
		return Divide(r[BrokerName].Quantile(q), r[other].Quantile(q))
	}}
}

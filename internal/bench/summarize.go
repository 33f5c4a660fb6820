package bench

import "time"

// Summarize returns the figures of a contender as medians over the rounds.
func Summarize(name string, rounds []Round) Result {
	each := make([]Measured, 0, len(rounds))
	r := Result{Name: name}
	for _, round := range rounds {
		m := round[name]
		each = append(each, m)
		r.RoundsPerSec = append(r.RoundsPerSec, Rate{m.RecordsPerSecond(), m.BytesPerSecond() / 1e6})
		if m.Latency != nil {
			r.RoundsP50Usecs = append(r.RoundsP50Usecs, micros(m.Latency.Quantile(0.5)))
		}
	}
	of := func(figure func(Measured) float64) float64 { return medianOf(each, figure) }
	r.DeliveredPerSec = of(func(m Measured) float64 { return perSecond(m.Delivered, m.Elapsed) })
	if len(each) > 0 {
		r.Series = summarizeSeries(each[len(each)-1].Series)
	}
	r.Figures = summarizeFigures(each)
	r.Seconds = of(func(m Measured) float64 { return m.Elapsed.Seconds() })
	r.Records = of(func(m Measured) float64 { return float64(m.Records) })
	r.Bytes = of(func(m Measured) float64 { return float64(m.Bytes) })
	r.RecordsPerSec = of(Measured.RecordsPerSecond)
	r.MBPerSec = of(Measured.BytesPerSecond) / 1e6
	r.Latency = summarizeLatency(each, func(m Measured) *Histogram { return m.Latency })
	r.AckLatency = summarizeLatency(each, func(m Measured) *Histogram { return m.Ack })
	r.Client = summarizeProcess(each, func(m Measured) Usage { return m.Client })
	if len(each) > 0 && each[0].Server != nil {
		server := summarizeProcess(each, func(m Measured) Usage {
			if m.Server == nil {
				return Usage{}
			}
			return *m.Server
		})
		r.Server = &server
	}
	return r
}

// medianOf returns the median of a figure over the measurements.
func medianOf(each []Measured, figure func(Measured) float64) float64 {
	values := make([]float64, 0, len(each))
	for _, m := range each {
		values = append(values, figure(m))
	}
	return median(values)
}

// summarizeFigures returns the medians of the further figures, or nil if there are none.
func summarizeFigures(each []Measured) map[string]float64 {
	if len(each) == 0 || each[0].Figures == nil {
		return nil
	}
	figures := map[string]float64{}
	for name := range each[0].Figures {
		figures[name] = medianOf(each, func(m Measured) float64 { return m.Figures[name] })
	}
	return figures
}

// summarizeProcess returns the medians of the usage that the function usage selects.
func summarizeProcess(each []Measured, usage func(Measured) Usage) Process {
	of := func(figure func(Usage) float64) float64 {
		return medianOf(each, func(m Measured) float64 { return figure(usage(m)) })
	}
	return Process{
		CPUSeconds:   of(func(u Usage) float64 { return u.CPU.Seconds() }),
		Allocs:       of(func(u Usage) float64 { return float64(u.Allocs) }),
		AllocBytes:   of(func(u Usage) float64 { return float64(u.AllocBytes) }),
		RSSBytes:     of(func(u Usage) float64 { return float64(u.RSSBytes) }),
		PeakRSSBytes: of(func(u Usage) float64 { return float64(u.PeakRSSBytes) }),
	}
}

// summarizeSeries converts the intervals of a run for the report.
func summarizeSeries(parts []Measured) (series []Interval) {
	var from time.Duration
	for _, m := range parts {
		i := Interval{
			FromSeconds: from.Seconds(), Seconds: m.Elapsed.Seconds(), RecordsPerSec: m.RecordsPerSecond(),
			DeliveredPerSec: perSecond(m.Delivered, m.Elapsed), Latency: summarizeLatency([]Measured{m}, func(m Measured) *Histogram { return m.Latency }),
		}
		if m.Server != nil {
			i.Server = &Process{CPUSeconds: m.Server.CPU.Seconds(), RSSBytes: float64(m.Server.RSSBytes), PeakRSSBytes: float64(m.Server.PeakRSSBytes)}
		}
		series = append(series, i)
		from += m.Elapsed
	}
	return series
}

// summarizeLatency returns the medians of the latencies that of selects, or nil if there are none.
func summarizeLatency(each []Measured, of func(Measured) *Histogram) *Latency {
	var hists []*Histogram
	for _, m := range each {
		if h := of(m); h != nil {
			hists = append(hists, h)
		}
	}
	if len(hists) == 0 {
		return nil
	}
	figure := func(f func(*Histogram) float64) float64 {
		var values []float64
		for _, h := range hists {
			values = append(values, f(h))
		}
		return median(values)
	}
	quantile := func(q float64) Micros {
		return Micros(figure(func(h *Histogram) float64 { return float64(micros(h.Quantile(q))) }))
	}
	return &Latency{
		Count: int64(figure(func(h *Histogram) float64 { return float64(h.Count()) })),
		Mean:  Micros(figure(func(h *Histogram) float64 { return float64(micros(h.Mean())) })),
		P50:   quantile(0.5), P90: quantile(0.9), P99: quantile(0.99), P999: quantile(0.999),
		Max: Micros(figure(func(h *Histogram) float64 { return float64(micros(h.Max())) })),
	}
}

func micros(d time.Duration) Micros { return Micros(float64(d) / 1e3) }

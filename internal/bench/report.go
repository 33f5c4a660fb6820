package bench

import (
	"runtime"
	"time"
)

// Report is what a benchmark prints under -o json. Its names are stable: graphs hang on them. Rates are in records and
// in millions of bytes a second, latencies in microseconds, sizes in bytes; each figure of a Result is the median of
// the rounds' own figures.
type Report struct {
	Benchmark string         `json:"benchmark"` // produce, consume, e2e, fanout, mixed, idle, start
	Preset    string         `json:"preset,omitempty"`
	At        time.Time      `json:"at"`
	Machine   Machine        `json:"machine"`
	Target    Target         `json:"target"`
	Workload  map[string]any `json:"workload"` // the flags that it ran with, by name
	Rounds    int            `json:"rounds"`
	// TookSeconds is how long all of it took, filling and rests included.
	TookSeconds float64 `json:"took_s"`

	Result   Result   `json:"result"`
	Ceilings []Result `json:"ceilings"` // with --ceiling; else empty
	Ratios   []Ratio  `json:"ratios"`   // and figures with a bound of their own, as server_rss_mib
}

// Machine is where it ran.
type Machine struct {
	OS   string `json:"os"`
	Arch string `json:"arch"`
	CPUs int    `json:"cpus"`
	Go   string `json:"go"`
}

// ThisMachine describes the machine of this process.
func ThisMachine() Machine {
	return Machine{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), Go: runtime.Version()}
}

// Target is what was measured.
type Target struct {
	Kind       string `json:"kind"` // process: a broker of ours in another process; in-process; brokers: by address
	Address    string `json:"address,omitempty"`
	Data       string `json:"data,omitempty"`
	FileSystem string `json:"file_system,omitempty"`
}

// Result is one contender's figures.
type Result struct {
	Name           string   `json:"name"`
	Seconds        float64  `json:"seconds"` // measured, of one round
	Records        float64  `json:"records"`
	Bytes          float64  `json:"bytes"`
	RecordsPerSec  float64  `json:"records_per_s"`
	MBPerSec       float64  `json:"mb_per_s"`
	Latency        *Latency `json:"latency,omitempty"`
	AckLatency     *Latency `json:"ack_latency,omitempty"`
	Client         Process  `json:"client"`           // this process; with an in-process broker, both
	Server         *Process `json:"server,omitempty"` // the broker's process, if it is ours
	RoundsPerSec   []Rate   `json:"rounds_rates"`     // each round's rates
	RoundsP50Usecs []Micros `json:"rounds_p50_us,omitempty"`

	DeliveredPerSec float64    `json:"delivered_per_s,omitempty"` // of mixed: to consumers that read along
	Series          []Interval `json:"series,omitempty"`          // of mixed: the parts of the last round
}

// Interval is one of the parts of a run that follow each other.
type Interval struct {
	FromSeconds     float64  `json:"from_s"` // since the first one began
	Seconds         float64  `json:"seconds"`
	RecordsPerSec   float64  `json:"records_per_s"`
	DeliveredPerSec float64  `json:"delivered_per_s"`
	Latency         *Latency `json:"latency,omitempty"`
	Server          *Process `json:"server,omitempty"` // with the highest memory of the interval
}

// Rate is one round's.
type Rate struct {
	RecordsPerSec float64 `json:"records_per_s"`
	MBPerSec      float64 `json:"mb_per_s"`
}

// Micros is a time in microseconds.
type Micros float64

// Latency is a distribution.
type Latency struct {
	Count int64  `json:"count"` // of one round
	Mean  Micros `json:"mean_us"`
	P50   Micros `json:"p50_us"`
	P90   Micros `json:"p90_us"`
	P99   Micros `json:"p99_us"`
	P999  Micros `json:"p999_us"`
	Max   Micros `json:"max_us"`
}

// Process is what one process used.
type Process struct {
	CPUSeconds   float64 `json:"cpu_s"`
	Allocs       float64 `json:"allocs"`      // objects; 0 for the server, which can't be asked
	AllocBytes   float64 `json:"alloc_bytes"` // 0 for the server
	RSSBytes     float64 `json:"rss_bytes"`   // at the end of a round
	PeakRSSBytes float64 `json:"peak_rss_bytes"`
}

// Summarize makes a contender's result of its rounds.
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
	of := func(figure func(Measured) float64) float64 {
		values := make([]float64, 0, len(each))
		for _, m := range each {
			values = append(values, figure(m))
		}
		return median(values)
	}
	r.DeliveredPerSec = of(func(m Measured) float64 { return perSecond(m.Delivered, m.Elapsed) })
	if len(each) > 0 {
		r.Series = summarizeSeries(each[len(each)-1].Series)
	}
	r.Seconds = of(func(m Measured) float64 { return m.Elapsed.Seconds() })
	r.Records = of(func(m Measured) float64 { return float64(m.Records) })
	r.Bytes = of(func(m Measured) float64 { return float64(m.Bytes) })
	r.RecordsPerSec = of(Measured.RecordsPerSecond)
	r.MBPerSec = of(Measured.BytesPerSecond) / 1e6
	r.Latency = summarizeLatency(each, func(m Measured) *Histogram { return m.Latency })
	r.AckLatency = summarizeLatency(each, func(m Measured) *Histogram { return m.Ack })
	process := func(usage func(Measured) Usage) Process {
		return Process{
			CPUSeconds:   of(func(m Measured) float64 { return usage(m).CPU.Seconds() }),
			Allocs:       of(func(m Measured) float64 { return float64(usage(m).Allocs) }),
			AllocBytes:   of(func(m Measured) float64 { return float64(usage(m).AllocBytes) }),
			RSSBytes:     of(func(m Measured) float64 { return float64(usage(m).RSSBytes) }),
			PeakRSSBytes: of(func(m Measured) float64 { return float64(usage(m).PeakRSSBytes) }),
		}
	}
	r.Client = process(func(m Measured) Usage { return m.Client })
	if len(each) > 0 && each[0].Server != nil {
		server := process(func(m Measured) Usage {
			if m.Server == nil {
				return Usage{}
			}
			return *m.Server
		})
		r.Server = &server
	}
	return r
}

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

package bench

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"time"
)

// Report is the output of a benchmark with -o json. The names of its fields are stable, because other programs read
// them. Rates are in records per second and in 10^6 bytes per second, latencies in microseconds, and sizes in bytes.
// Each figure of a Result is the median over the rounds.
type Report struct {
	Benchmark string         `json:"benchmark"` // produce, consume, e2e, fanout, react-…, story-…, mixed, idle or start
	Preset    string         `json:"preset,omitempty"`
	At        time.Time      `json:"at"`
	Machine   Machine        `json:"machine"`
	Target    Target         `json:"target"`
	Workload  map[string]any `json:"workload"` // values of the benchmark's flags, by name
	Rounds    int            `json:"rounds"`
	// TookSeconds is how long the whole benchmark took, including filling topics and pauses.
	TookSeconds float64 `json:"took_s"`

	Result   Result   `json:"result"`
	Ceilings []Result `json:"ceilings"` // the other contenders: limits of the machine, and the broker under other conditions
	Ratios   []Ratio  `json:"ratios"`   // ratios, and other figures that may have a goal, such as server_rss_mib
}

// Machine describes the machine that a benchmark ran on.
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

// Target describes the measured broker.
type Target struct {
	// Kind is "process" for a broker in another process, "in-process" for one in this process, or "brokers" for the
	// one at --brokers.
	Kind       string `json:"kind"`
	Address    string `json:"address,omitempty"`
	Program    string `json:"program,omitempty"` // path of the broker's program, if it was given
	Data       string `json:"data,omitempty"`
	FileSystem string `json:"file_system,omitempty"`
}

// Result has the figures of one contender, as medians over the rounds.
type Result struct {
	Name           string   `json:"name"`
	Seconds        float64  `json:"seconds"` // measured time of a round
	Records        float64  `json:"records"`
	Bytes          float64  `json:"bytes"`
	RecordsPerSec  float64  `json:"records_per_s"`
	MBPerSec       float64  `json:"mb_per_s"`
	Latency        *Latency `json:"latency,omitempty"`
	AckLatency     *Latency `json:"ack_latency,omitempty"`
	Client         Process  `json:"client"`           // usage of this process, including an in-process broker
	Server         *Process `json:"server,omitempty"` // usage of the broker's process; nil if it is not known
	RoundsPerSec   []Rate   `json:"rounds_rates"`     // rates of each round
	RoundsP50Usecs []Micros `json:"rounds_p50_us,omitempty"`

	Figures map[string]float64 `json:"figures,omitempty"` // further figures by name

	DeliveredPerSec float64    `json:"delivered_per_s,omitempty"` // for mixed: records per second that the consumers received
	Series          []Interval `json:"series,omitempty"`          // for mixed: the intervals of the last round
}

// Interval has the figures of one of the consecutive measured intervals of a run.
type Interval struct {
	FromSeconds     float64  `json:"from_s"` // time from the beginning of the first interval
	Seconds         float64  `json:"seconds"`
	RecordsPerSec   float64  `json:"records_per_s"`
	DeliveredPerSec float64  `json:"delivered_per_s"`
	Latency         *Latency `json:"latency,omitempty"`
	Server          *Process `json:"server,omitempty"` // PeakRSSBytes is the peak within the interval
}

// Rate is the rate of one round.
type Rate struct {
	RecordsPerSec float64 `json:"records_per_s"`
	MBPerSec      float64 `json:"mb_per_s"`
}

// Micros is a time in microseconds.
type Micros float64

// Latency describes a distribution of latencies.
type Latency struct {
	Count int64  `json:"count"` // number of latencies in a round
	Mean  Micros `json:"mean_us"`
	P50   Micros `json:"p50_us"`
	P90   Micros `json:"p90_us"`
	P99   Micros `json:"p99_us"`
	P999  Micros `json:"p999_us"`
	Max   Micros `json:"max_us"`
}

// Process is the resource usage of a process.
type Process struct {
	CPUSeconds   float64 `json:"cpu_s"`
	Allocs       float64 `json:"allocs"`      // objects allocated; 0 for the server, whose allocations are not known
	AllocBytes   float64 `json:"alloc_bytes"` // bytes allocated; 0 for the server
	RSSBytes     float64 `json:"rss_bytes"`   // resident memory at the end of a round
	PeakRSSBytes float64 `json:"peak_rss_bytes"`
}

// Judge sets the goals of the ratios whose names are in goals, and returns the ratios that miss their goals. It
// returns an error if a goal has no ratio in the report.
func (r *Report) Judge(goals map[string]Goal) (missed []Ratio, err error) {
	judged := 0
	for i := range r.Ratios {
		ratio := &r.Ratios[i]
		goal, ok := goals[ratio.Name]
		if !ok {
			continue
		}
		judged++
		if ratio.Judge(goal); ratio.Met != nil && !*ratio.Met {
			missed = append(missed, *ratio)
		}
	}
	if judged < len(goals) {
		return missed, fmt.Errorf("the report has only %d of %d ratios with a goal: %v", judged, len(goals), slices.Sorted(maps.Keys(goals)))
	}
	return missed, nil
}

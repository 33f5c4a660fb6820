package bench

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestContendersAlternate(t *testing.T) {
	var order []string
	contender := func(name string) Contender {
		return Contender{name, func(context.Context) (Measured, error) {
			order = append(order, name)
			return Measured{Records: int64(len(order)), Elapsed: time.Second}, nil
		}}
	}
	rounds, err := Alternate(t.Context(), 3, 0, []Contender{contender("a"), contender("b")}, nil)
	if err != nil || strings.Join(order, "") != "ababab" {
		t.Fatalf("ran as %v: %v", order, err)
	}
	if rounds[1]["a"].Records != 3 || rounds[2]["b"].Records != 6 {
		t.Errorf("rounds are %v", rounds)
	}
}

// Case: one contender fails in the second round. The error names it, and nothing runs after it.
func TestAFailureEndsTheRounds(t *testing.T) {
	boom, runs := errors.New("boom"), 0
	_, err := Alternate(t.Context(), 5, 0, []Contender{{"sink", func(context.Context) (Measured, error) {
		if runs++; runs == 2 {
			return Measured{}, boom
		}
		return Measured{}, nil
	}}}, nil)
	if !errors.Is(err, boom) || !strings.Contains(err.Error(), "sink") || runs != 2 {
		t.Errorf("%d runs, %v", runs, err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(boom)
	if _, err := Alternate(ctx, 1, time.Hour, []Contender{{"x", nil}}, nil); !errors.Is(err, boom) {
		t.Errorf("cancelled: %v", err)
	}
}

// Case: the machine gets slower by half from round to round. Both halves of each ratio do, so the ratio stays: that is
// why it is taken within rounds.
func TestRatiosAreTakenWithinRounds(t *testing.T) {
	var rounds []Round
	for _, mood := range []int64{8, 4, 2} {
		rounds = append(rounds, Round{
			"broker": {Records: 60 * mood, Elapsed: time.Second}, "sink": {Records: 100 * mood, Elapsed: time.Second}, "dead": {},
		})
	}
	ratio := func(name, below string, g Goal) Comparison {
		return Comparison{name, func(r Round) float64 { return Divide(r["broker"].RecordsPerSecond(), r[below].RecordsPerSecond()) }, g}
	}
	got := Compare(rounds, []Comparison{
		ratio("to sink", "sink", Goal{AtLeast: 0.6}), ratio("too slow", "sink", Goal{AtLeast: 0.61}),
		ratio("without goal", "sink", Goal{}), ratio("at most", "sink", Goal{AtMost: 0.5}), ratio("of nothing", "dead", Goal{AtMost: 2}),
	})
	for i, want := range []struct {
		median float64
		goal   string
		met    string
	}{{0.6, ">= 0.6", "true"}, {0.6, ">= 0.61", "false"}, {0.6, "", "null"}, {0.6, "<= 0.5", "false"}, {0, "<= 2", "false"}} {
		met, _ := json.Marshal(got[i].Met)
		if r := got[i]; r.Median != want.median || r.Low != want.median || r.High != want.median || r.Goal != want.goal || string(met) != want.met {
			t.Errorf("%+v (met %s), want %+v", r, met, want)
		}
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		of   []float64
		want float64
	}{{nil, 0}, {[]float64{7}, 7}, {[]float64{9, 1, 5}, 5}, {[]float64{4, 1, 3, 2}, 2.5}} {
		if got := median(c.of); got != c.want {
			t.Errorf("median of %v is %g, want %g", c.of, got, c.want)
		}
	}
}

// Case: graphs hang on these names. To change one is to break them: add instead.
func TestNamesInReportsAreStable(t *testing.T) {
	h := &Histogram{}
	h.Record(time.Millisecond)
	m := Measured{Records: 1, Bytes: 1, Elapsed: time.Second, Latency: h, Ack: h, Server: &Usage{CPU: time.Second}, Delivered: 1}
	m.Series = []Measured{m}
	r := Report{
		Benchmark: "produce", Preset: "p", Machine: ThisMachine(), Target: Target{Kind: "process", Address: "a", Data: "d", FileSystem: "ext4"},
		Workload: map[string]any{}, Result: Summarize("broker", []Round{{"broker": m}}), Ceilings: []Result{},
		Ratios: Compare([]Round{{}}, []Comparison{{"r", func(Round) float64 { return 1 }, Goal{AtLeast: 1}}}),
	}
	raw, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	latency := "count mean_us p50_us p90_us p99_us p999_us max_us"
	process := "cpu_s allocs alloc_bytes rss_bytes peak_rss_bytes"
	result := got["result"].(map[string]any)
	for _, c := range []struct {
		of   any
		want string
	}{
		{got, "benchmark preset at machine target workload rounds took_s result ceilings ratios"},
		{got["machine"], "os arch cpus go"},
		{got["target"], "kind address data file_system"},
		{result, "name seconds records bytes records_per_s mb_per_s latency ack_latency client server rounds_rates rounds_p50_us delivered_per_s series"},
		{result["latency"], latency}, {result["ack_latency"], latency}, {result["client"], process}, {result["server"], process},
		{result["rounds_rates"].([]any)[0], "records_per_s mb_per_s"},
		{result["series"].([]any)[0], "from_s seconds records_per_s delivered_per_s latency server"},
		{got["ratios"].([]any)[0], "name median low high goal met"},
	} {
		names := slices.Sorted(maps.Keys(c.of.(map[string]any)))
		want := strings.Fields(c.want)
		slices.Sort(want)
		if !slices.Equal(names, want) {
			t.Errorf("names %v, want %v", names, want)
		}
	}
	if p50 := result["latency"].(map[string]any)["p50_us"].(float64); p50 < 1000 || p50 > 1010 {
		t.Errorf("a millisecond is %g µs", p50)
	}
}

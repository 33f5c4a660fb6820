package cli

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tidings.dev/broker"
	"tidings.dev/internal/bench"
)

// TestMain lets the test program be the other process of a benchmark, as the real one is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "bench" {
		os.Exit(Run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// benched runs a benchmark and decodes its report.
func (s shell) benched(args ...string) bench.Report {
	s.t.Helper()
	r := s.want(s.run(append([]string{"bench"}, append(args, "-o", "json", "--rest", "0s")...)...), 0)
	var report bench.Report
	if err := json.Unmarshal([]byte(r.out), &report); err != nil {
		s.t.Fatalf("%v in %s", err, r.out)
	}
	if report.Result.Records == 0 || report.Result.RecordsPerSec == 0 || report.Result.Name != theBroker {
		s.t.Errorf("nothing was measured: %s", r.out)
	}
	return report
}

// checkRatios looks for ratios, each of them more than nothing.
func checkRatios(t *testing.T, r bench.Report, want ...string) {
	t.Helper()
	var names []string
	for _, ratio := range r.Ratios {
		names = append(names, ratio.Name)
		if ratio.Median <= 0 {
			t.Errorf("%s is %g", ratio.Name, ratio.Median)
		}
	}
	if !slices.Equal(names, want) {
		t.Errorf("ratios %q, want %q", names, want)
	}
}

// Case: each benchmark once, shortly, with a broker in this process.
func TestBenchmarksInProcess(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	s := shell{t, ""}
	short := []string{"--in-process", "--ceiling", "--rounds", "1", "-d", "150ms"}
	with := func(args ...string) []string { return append(args, short...) }

	r := s.benched(with("produce", "--warmup", "0s", "--buffered", "500", "--against-partitions", "2")...)
	checkRatios(t, r, ratioToVariant, ratioToNull, "mb_per_s / fdatasync_1m", "mb_per_s / append_1m", "mb_per_s / memory_pipe")
	if r.Result.Latency == nil || r.Result.Client.CPUSeconds == 0 || r.Target.Kind != "in-process" || r.Workload["size"] != "1KiB" {
		t.Errorf("report %+v", r)
	}
	r = s.benched(with("produce", "--warmup", "0s", "--buffered", "500", "--preset", "one-record-memory")...)
	checkRatios(t, r, ratioToNull, ratioToSyncs, ratioOneRecord)
	if goal := r.Ratios[2]; goal.Goal != "<= 1.25" || goal.Met == nil {
		t.Errorf("the preset's goal is not judged: %+v", goal)
	}

	r = s.benched(with("e2e", "--warmup", "0s", "--buffered", "500", "--rate", "2000", "--groups", "2", "--against-config", "segment.bytes=1048576")...)
	checkRatios(t, r, "p99 / against", "p99 / fdatasync_4k", ratioEndToEnd)
	if r.Result.AckLatency == nil || r.Result.Latency.Count < 2*r.Result.AckLatency.Count {
		t.Errorf("two groups got %+v of %+v", r.Result.Latency, r.Result.AckLatency)
	}

	r = s.benched("consume", "--in-process", "--ceiling", "--rounds", "1", "--bytes", "1MiB", "--cold")
	checkRatios(t, r, ratioToSource, "mb_per_s / memory_pipe", "mb_per_s / cold_read")
	s.benched("consume", "--in-process", "--bytes", "1MiB", "--groups", "2", "--partitions", "3", "--keys", "9")
	r = s.benched("fanout", "--in-process", "-d", "1s", "--bytes", "1MiB", "--groups", "3")
	checkRatios(t, r, "mb_per_s / one_group")
	s.benched("fanout", "--in-process", "--bytes", "1MiB", "--groups", "2", "--raw=false")

	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// Case: the broker and the ceilings in other processes; the report knows what the broker's used. Then a broker that is
// there already, which gets its topics back as they were.
func TestBenchmarksAcrossProcesses(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	data := filepath.Join(t.TempDir(), "data")
	s := shell{t, data}
	r := s.benched("produce", "--ceiling", "--rounds", "1", "-d", "250ms", "--warmup", "0s", "--buffered", "500", "-o", "json")
	checkRatios(t, r, ratioToNull, "mb_per_s / fdatasync_1m", "mb_per_s / append_1m", "mb_per_s / loopback_tcp")
	if r.Target.Kind != "process" || r.Target.Data != data || r.Result.Server == nil {
		t.Errorf("report %+v", r)
	}
	if _, err := os.Stat(data + ".bench"); err == nil {
		t.Error("the raw limits left their directory behind")
	}

	b, err := broker.Open(broker.Config{Dir: data})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	address := freePort(t)
	l, err := listen(address, false)
	if err != nil {
		t.Fatal(err)
	}
	go b.Serve(l)
	other := shell{t, ""}
	other.benched("produce", "--brokers", address, "-d", "250ms", "--warmup", "0s", "--buffered", "500")
	other.benched("fanout", "--brokers", address, "-d", "250ms", "--bytes", "1MiB", "--groups", "2")
	other.benched("consume", "--brokers", address, "--bytes", "1MiB", "--topic", "kept")
	r = other.benched("consume", "--brokers", address, "--bytes", "1MiB", "--topic", "kept") // not filled again
	if r.Target.Kind != "brokers" || r.Result.Server != nil || r.Result.Records != 1024 {
		t.Errorf("report %+v", r)
	}
	other.want(other.run("topic", "ls", "--brokers", address), 0, "kept\t1\t1024")
	if ls := other.run("topic", "ls", "--brokers", address); strings.Contains(ls.out, benchTopicStart) {
		t.Errorf("topics are left: %s", ls.out)
	}
}

// Case: benchmarks that start, kill, ask and watch a broker in another process, each once, shortly; they leave nothing.
func TestBenchmarksOfAProcess(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	s := shell{t, ""}
	r := s.benched("start", "--bytes", "1MiB", "-p", "3", "--rounds", "2")
	checkRatios(t, r, figureReady)
	if r.Result.Latency == nil || r.Result.Latency.Count != 1 || r.Rounds != 2 || r.TookSeconds == 0 {
		t.Errorf("report %+v", r)
	}
	r = s.benched("start", "--preset", "replay-journal", "--bytes", "1MiB", "--cold", "--rounds", "1")
	checkRatios(t, r, figureReady, figureReplay)
	if r.Result.Records != 1024 || r.Ratios[1].Goal != ">= 500" {
		t.Errorf("report %+v", r)
	}
	r = s.benched("produce", "--preset", "checkpoint", "--checkpoints", "2", "-p", "3", "--emitters", "2", "--rounds", "1", "--rate", "0", "--warmup", "0s")
	checkRatios(t, r, ratioCheckpoint, "p50 / "+quiet)
	if len(r.Ceilings) != 1 || r.Ceilings[0].Seconds < 2*quietTime.Seconds() || r.Ceilings[0].Latency == nil {
		t.Errorf("without checkpoints: %+v", r.Ceilings)
	}
	r = s.benched("mixed", "--preset", "half-maximum", "-d", "2s", "--maximum-time", "300ms", "--warmup", "100ms", "--keys", "50", "--buffered", "500")
	if len(r.Result.Series) != mixedParts || r.Result.DeliveredPerSec == 0 || len(r.Ceilings) != 1 || r.Ceilings[0].Name != theMaximum {
		t.Errorf("report %+v", r)
	}
	var records float64
	for _, part := range r.Result.Series {
		records += part.RecordsPerSec * part.Seconds
	}
	if math.Abs(records-r.Result.Records) > 1 {
		t.Errorf("%g records in the parts, %g in all", records, r.Result.Records)
	}

	// An idle broker's consumers get nothing, so there is nothing but what it costs.
	idle := s.want(s.run("bench", "idle", "-o", "json", "--rest", "0s", "-p", "3", "--groups", "2", "-d", "50ms", "--settle", "0s", "--bytes", "1MiB"), 0)
	if err := json.Unmarshal([]byte(idle.out), &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Ratios) != 2 || r.Ratios[0].Name != figureRSS || r.Ratios[0].Median <= 0 || r.Ratios[1].Name != figureCPU {
		t.Errorf("figures %+v", r.Ratios)
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestBenchmarkMistakes(t *testing.T) {
	s := shell{t, ""}
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"produce", "--preset", "nope"}, 2, "nope"},
		{[]string{"produce", "--size", "many"}, 2, "64KiB"},
		{[]string{"produce", "--acks", "2"}, 2, "acks"},
		{[]string{"produce", "--partitions", "0"}, 2, "--partitions"},
		{[]string{"produce", "--rounds", "0"}, 2, "--rounds"},
		{[]string{"produce", "--emitters", "1", "--producers", "2"}, 2, "emitters"},
		{[]string{"produce", "-c", "retention.ms"}, 2, "NAME=VALUE"},
		{[]string{"produce", "--in-process", "--brokers", "localhost:1"}, 2, "--in-process"},
		{[]string{"produce", "--brokers", freePort(t)}, 5, "refused"},
		{[]string{"consume", "--cold", "--brokers", "localhost:1"}, 2, "--cold"},
		{[]string{"consume", "--bytes", "10"}, 2, "less than one record"},
		{[]string{"e2e", "--rate", "0"}, 2, "rate"},
		{[]string{"fanout", "--groups", "0"}, 2, "--groups"},
		{[]string{"produce", "--checkpoints", "1", "--brokers", "localhost:1"}, 2, "of its own"},
		{[]string{"produce", "--checkpoints", "1", "--ceiling"}, 2, "--checkpoints"},
		{[]string{"start", "--brokers", "localhost:1"}, 2, "of its own"},
		{[]string{"start", "--bytes", "10"}, 2, "less than one record"},
		{[]string{"idle", "--brokers", "localhost:1"}, 2, "of its own"},
		{[]string{"idle", "--groups", "-1"}, 2, "--groups"},
		{[]string{"mixed", "--share", "2"}, 2, "--share"},
		{[]string{"mixed", "--keys", "0"}, 2, "--keys"},
	} {
		args := append([]string{"bench"}, c.args...)
		if !strings.Contains(strings.Join(args, " "), "--brokers") && !slices.Contains([]string{"start", "idle", "mixed"}, c.args[0]) {
			args = append(args, "--in-process")
		}
		s.want(s.run(args...), c.code, c.says)
	}
}

// Case: every preset's flags are such that its command takes them, and its goal is of a ratio that somebody takes.
func TestPresetsNameFlagsThatAreThere(t *testing.T) {
	s := &session{}
	for _, p := range presets {
		command, _, err := s.benchCommand().Find([]string{p.command})
		if err != nil {
			t.Fatal(err)
		}
		b := &benchmark{session: s, name: p.command, preset: p.name}
		if err := b.usePreset(command.Flags()); err != nil {
			t.Errorf("%s %s: %v", p.command, p.name, err)
		}
		for _, g := range p.goals {
			if b.goals[g.of].String() == "" {
				t.Errorf("%s %s has no goal for %s", p.command, p.name, g.of)
			}
		}
		if len(p.goals) == 0 {
			t.Errorf("%s %s has no goal", p.command, p.name)
		}
	}
}

func TestCheckFailsOnAMissedGoal(t *testing.T) {
	met, missed := true, false
	b := &benchmark{check: true}
	if err := b.judge([]bench.Ratio{{Name: "a"}, {Name: "b", Met: &met}}); err != nil {
		t.Errorf("all is well: %v", err)
	}
	err := b.judge([]bench.Ratio{{Name: "b", Met: &missed, Goal: ">= 1"}})
	if f, ok := errors.AsType[*Fault](err); !ok || f.Exit != ExitThreshold || !strings.Contains(f.Message, "b is 0") {
		t.Errorf("a missed goal: %v", err)
	}
	b.check = false
	if err := b.judge([]bench.Ratio{{Met: &missed}}); err != nil {
		t.Errorf("without --check: %v", err)
	}
}

func TestByteSizes(t *testing.T) {
	for text, want := range map[string]byteSize{"0": 0, "100": 100, "64KiB": 64 << 10, "1.5GiB": 3 << 29, "10MB": 10_000_000, "7 B": 7, "2TiB": 2 << 40} {
		var got, again byteSize
		if err := got.Set(text); err != nil || got != want {
			t.Errorf("%s: %d %v, want %d", text, got, err, want)
		}
		if err := again.Set(got.String()); err != nil || again != got {
			t.Errorf("%s is written as %s", text, &got)
		}
	}
	for _, text := range []string{"", "KiB", "-1", "NaN", "1e30", "9XB"} {
		if err := new(byteSize).Set(text); err == nil {
			t.Errorf("%q is taken for a size", text)
		}
	}
	if got := thousands(1234567.6); got != "1,234,568" {
		t.Error(got)
	}
}

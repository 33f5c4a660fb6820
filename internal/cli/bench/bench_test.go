package bench

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"tidings.dev/broker"
	"tidings.dev/internal/bench"
	"tidings.dev/internal/bench/framework"
	"tidings.dev/internal/bench/stories"
	"tidings.dev/internal/cli/client"
	"tidings.dev/internal/cli/clitest"
	"tidings.dev/internal/cli/serve"
	"tidings.dev/internal/cli/shell"
)

func commands(s *shell.Session) []*cobra.Command { return append(client.Commands(s), Command(s)) }

// TestMain makes the test program the other process of a benchmark, as the program tidings is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "bench" || os.Args[1] == "story") {
		os.Exit(shell.Run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr, commands))
	}
	os.Exit(m.Run())
}

// report runs a benchmark and decodes its report.
func report(t *testing.T, p clitest.Program, args ...string) bench.Report {
	t.Helper()
	all := append([]string{"bench"}, append(args, "-o", "json", "--rest", "0s")...)
	r := p.Run(all...)
	if strings.Contains(r.Stderr, "no record was acknowledged") { // a machine too busy for so short a run
		r = p.Run(append(all, "-d", "10s")...)
	}
	p.Want(r, 0)
	var report bench.Report
	if err := json.Unmarshal([]byte(r.Stdout), &report); err != nil {
		t.Fatalf("%v in %s", err, r.Stdout)
	}
	benchmark, name := args[0], bench.BrokerName
	if benchmark == "react" {
		benchmark, name = "react-"+args[1], framework.Name
	}
	if benchmark == "story" {
		benchmark, name = "story-"+args[1], stories.Indexer
		if args[1] == "lookup" {
			name = stories.OfIndex
		}
	}
	counts := report.Result.Records > 0 && report.Result.RecordsPerSec > 0 || benchmark == "react-memory"
	if report.Benchmark != benchmark || !counts || report.Result.Name != name {
		t.Errorf("nothing was measured: %s", r.Stdout)
	}
	return report
}

// checkRatios fails the test unless a report has these ratios, each of them above 0.
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

// Case: each benchmark once, shortly, with a broker in this process. Programs depend on the names of the ratios.
func TestBenchmarksInProcess(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	p := clitest.New(t, commands)
	short := []string{"--in-process", "--ceiling", "--rounds", "1", "-d", "150ms"}
	with := func(args ...string) []string { return append(args, short...) }

	r := report(t, p, with("produce", "--warmup", "0s", "--buffered", "500", "--against-partitions", "2")...)
	checkRatios(t, r, "records_per_s / against", "records_per_s / null_sink", "mb_per_s / fdatasync_1m", "mb_per_s / append_1m", "mb_per_s / memory_pipe")
	if r.Result.Latency == nil || r.Result.Client.CPUSeconds == 0 || r.Target.Kind != "in-process" || r.Workload["size"] != "1KiB" || r.Workload["against_partitions"] != "2" {
		t.Errorf("report %+v", r)
	}
	r = report(t, p, with("produce", "--warmup", "0s", "--emitters", "1")...)
	checkRatios(t, r, "records_per_s / null_sink", "records_per_s / fdatasync_4k", "p50 / (fdatasync_4k p50 + null_sink p50)")

	r = report(t, p, with("e2e", "--warmup", "0s", "--buffered", "500", "--rate", "2000", "--groups", "2", "--against-config", "segment.bytes=1048576")...)
	checkRatios(t, r, "p99 / against", "p99 / fdatasync_4k", "p99 / (against p99 + fdatasync_4k p99)")
	if r.Result.AckLatency == nil || r.Result.Latency.Count < 2*r.Result.AckLatency.Count {
		t.Errorf("two groups received %+v of %+v", r.Result.Latency, r.Result.AckLatency)
	}

	r = report(t, p, "consume", "--in-process", "--ceiling", "--rounds", "1", "--bytes", "1MiB", "--cold")
	checkRatios(t, r, "records_per_s / null_source", "mb_per_s / memory_pipe", "mb_per_s / cold_read")
	report(t, p, "consume", "--in-process", "--bytes", "1MiB", "--groups", "2", "--partitions", "3", "--keys", "9")
	r = report(t, p, "fanout", "--in-process", "-d", "1s", "--bytes", "1MiB", "--groups", "3")
	checkRatios(t, r, "mb_per_s / one_group")
	report(t, p, "fanout", "--in-process", "--bytes", "1MiB", "--groups", "2", "--raw=false")

	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// Case: the framework beside bare kgo, shortly. Programs depend on the names of the ratios.
func TestFramework(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	p := clitest.New(t, commands)
	r := report(t, p, "react", "backlog", "--in-process", "--backlog", "2000", "--rounds", "1", "--payload", "struct", "--emit", "--partitions", "2")
	checkRatios(t, r, "records_per_s / bare_kgo", "cpu_us_per_event / bare_kgo", "cpu_us_per_event", "allocs_per_event", "read_bytes_per_log_byte", "peak_rss_mib")
	if len(r.Ceilings) != 1 || r.Ceilings[0].Name != framework.BareKgo || r.Ceilings[0].Figures["emitted_per_event"] != 1 || r.Result.Figures["emitted_per_event"] != 1 || r.Workload["backlog"] != "2000" {
		t.Errorf("report %+v", r)
	}
	r = report(t, p, "react", "latency", "--in-process", "--rounds", "1", "-d", "150ms", "--warmup", "0s", "--rate", "500")
	checkRatios(t, r, "p50 / bare_kgo", "p99 / bare_kgo", "p50 / fdatasync_4k", "p99 / fdatasync_4k")
	r = report(t, p, "react", "emit", "--in-process", "--rounds", "1", "-d", "500ms", "--warmup", "0s", "--partitions", "3")
	checkRatios(t, r, "records_per_s / bare_kgo", "p50 / bare_kgo", "p99 / bare_kgo")
	r = report(t, p, "react", "memory", "--rounds", "1", "--reactions", "3", "--settle", "10ms", "--backlog", "10")
	checkRatios(t, r, "rss_mb_per_reaction", "rss_mb_per_reaction_collected", "rss_mb_per_reaction / bare_kgo", "rss_mb_per_reaction_collected / bare_kgo")
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// Case: the story, shortly. Programs depend on the names of the ratios and figures.
func TestStory(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	p := clitest.New(t, commands)
	r := report(t, p, "story", "index", "--in-process", "--events", "705", "--rounds", "2", "--partitions", "3")
	checkRatios(t, r, "cpu_us_per_event", "disk_bytes_per_event", "records_per_s / bare_kgo", "cpu_us_per_event / bare_kgo")
	if r.Result.Records != 700 || len(r.Ceilings) != 1 || r.Ceilings[0].Name != stories.BareKgo || r.Workload["events"] != "705" {
		t.Errorf("report %+v", r)
	}
	r = report(t, p, "story", "lookup", "--events", "700", "--rounds", "1", "--lookups", "20", "--commands", "2")
	checkRatios(t, r, "index_p50_ms", "index_p99_ms", "indexer_p50_ms", "indexer_p99_ms", "command_p50_ms", "command_p99_ms")
	if r.Result.Latency.Count != 20 || len(r.Ceilings) != 2 || r.Ceilings[1].Latency.Count != 2 {
		t.Errorf("report %+v", r)
	}
	r = report(t, p, "story", "lag", "--in-process", "--events", "700", "--rounds", "2", "--in-flight", "20")
	checkRatios(t, r, "lag_max_ms", "indexer_p50_ms", "indexer_p99_ms")
	r = report(t, p, "story", "settled", "--in-process", "--rounds", "1", "--rate", "100", "-d", "200ms", "--late", "3")
	checkRatios(t, r, "early_p50_ms", "early_p99_ms", "late_p50_ms", "late_p99_ms")
	if r.Result.Latency.Count != 20 {
		t.Errorf("report %+v", r)
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// Case: the broker and the ceilings in other processes; the report has what the broker's process used. Then a broker that
// runs already, on which no topic of the benchmarks is left.
func TestBenchmarksAcrossProcesses(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	data := filepath.Join(t.TempDir(), "data")
	p := clitest.New(t, commands)
	r := report(t, p.On(data), "produce", "--ceiling", "--rounds", "1", "-d", "250ms", "--warmup", "0s", "--buffered", "500")
	checkRatios(t, r, "records_per_s / null_sink", "mb_per_s / fdatasync_1m", "mb_per_s / append_1m", "mb_per_s / loopback_tcp")
	if r.Target.Kind != "process" || r.Target.Data != data || r.Result.Server == nil {
		t.Errorf("report %+v", r)
	}
	if _, err := os.Stat(data + ".bench"); err == nil {
		t.Error("the scratch directory is left")
	}

	b, err := broker.Open(broker.Config{Dir: data})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	address := clitest.FreeAddress(t)
	l, err := serve.Listen(address, false)
	if err != nil {
		t.Fatal(err)
	}
	go b.Serve(l)
	report(t, p, "produce", "--brokers", address, "-d", "250ms", "--warmup", "0s", "--buffered", "500")
	report(t, p, "fanout", "--brokers", address, "-d", "250ms", "--bytes", "1MiB", "--groups", "2")
	report(t, p, "consume", "--brokers", address, "--bytes", "1MiB", "--topic", "kept")
	r = report(t, p, "consume", "--brokers", address, "--bytes", "1MiB", "--topic", "kept") // not filled again
	if r.Target.Kind != "brokers" || r.Result.Server != nil || r.Result.Records != 1024 {
		t.Errorf("report %+v", r)
	}
	log, err := shell.InProcess(b).Log(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	topics, err := log.Topics(t.Context(), nil)
	if err != nil || len(topics.Topics) != 1 || topics.Topics[0].Name != "kept" {
		t.Errorf("topics %v are left: %v", topics.Topics, err)
	}
}

// Case: the report for people, of a benchmark with its broker in another process.
func TestReportText(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	p := clitest.New(t, commands)
	p.Want(p.Run("bench", "e2e", "--rate", "500", "-d", "100ms", "--warmup", "0s", "--ceiling", "--rounds", "1", "--rest", "0s"), 0,
		"e2e: process", "1 round in", "broker ack", "p99 / fdatasync_4k")
}

func TestMistakes(t *testing.T) {
	p := clitest.New(t, commands)
	for _, c := range []struct {
		args string
		code int
		text string
	}{
		{"produce --preset durable-1k", shell.ExitUsage, "--preset"},
		{"produce --size many", shell.ExitUsage, "64KiB"},
		{"produce --size 65MiB", shell.ExitUsage, "--size"},
		{"produce --acks 2", shell.ExitUsage, "acks"},
		{"produce --partitions 0", shell.ExitUsage, "--partitions"},
		{"produce --rounds 0", shell.ExitUsage, "--rounds"},
		{"produce --emitters 1 --producers 2", shell.ExitUsage, "emitters"},
		{"produce -c retention.ms", shell.ExitUsage, "NAME=VALUE"},
		{"produce --against-config retention.ms", shell.ExitUsage, "NAME=VALUE"},
		{"produce --topic t --against-partitions 2", shell.ExitUsage, "--topic"},
		{"produce --in-process --brokers localhost:1", shell.ExitUsage, "--in-process"},
		{"produce --brokers " + clitest.FreeAddress(t), shell.ExitUnreachable, "refused"},
		{"consume --cold --brokers localhost:1", shell.ExitUsage, "--cold"},
		{"consume --bytes 10", shell.ExitUsage, "less than one record"},
		{"consume --groups -1", shell.ExitUsage, "--groups"},
		{"e2e --rate 0", shell.ExitUsage, "rate"},
		{"fanout --groups 0", shell.ExitUsage, "--groups"},
		{"react backlog --payload xml", shell.ExitUsage, "--payload"},
		{"react backlog --size 10", shell.ExitUsage, "--size"},
		{"react backlog --backlog 0", shell.ExitUsage, "--backlog"},
		{"react backlog --reactions 0", shell.ExitUsage, "reactions"},
		{"react latency --rate 0", shell.ExitUsage, "rate"},
		{"react latency --emitters 0", shell.ExitUsage, "emitters"},
		{"react latency -d 0s", shell.ExitUsage, "duration"},
		{"react emit --emitters 0", shell.ExitUsage, "emitters"},
		{"react memory --reactions 0", shell.ExitUsage, "--reactions"},
		{"react memory --in-process", shell.ExitUsage, "--in-process"},
		{"react backlog --subjects 0", shell.ExitUsage, "--subjects"},
		{"story index --events 6", shell.ExitUsage, "--events"},
		{"story lookup --in-process", shell.ExitUsage, "--in-process"},
		{"story lookup --lookups 0", shell.ExitUsage, "--lookups"},
		{"story lookup --commands 0", shell.ExitUsage, "--commands"},
		{"story lag --in-flight 0", shell.ExitUsage, "--in-flight"},
		{"story settled --rate 0", shell.ExitUsage, "--rate"},
		{"story settled --late 0", shell.ExitUsage, "--late"},
		{"idle", shell.ExitUsage, "no command"},
	} {
		p.Want(p.Run(append([]string{"bench"}, strings.Fields(c.args)...)...), c.code, c.text)
	}
}

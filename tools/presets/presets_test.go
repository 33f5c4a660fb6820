package main

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/broker"
	"tidings.dev/internal/bench"
	"tidings.dev/internal/bench/framework"
	"tidings.dev/internal/bench/stories"
	"tidings.dev/internal/cli"
	"tidings.dev/internal/cli/clitest"
)

// TestMain makes the test program the program tidings that presets start.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "bench" || os.Args[1] == "story") {
		os.Exit(cli.Run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// presets runs a command line and returns its exit code, stdout and stderr.
func presets(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errout clitest.Buffer // the processes of a benchmark write to stderr, too
	code = run(t.Context(), args, &out, &errout)
	return code, out.String(), errout.String()
}

// report runs a preset on the test program and decodes its report. Each goal must have been judged. Figures of so short
// a run say nothing, and are not looked at.
func report(t *testing.T, args ...string) (r bench.Report) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	all := append([]string{"--tidings", program, "-o", "json"}, args...)
	code, stdout, stderr := presets(t, all...)
	if strings.Contains(stderr, "no record was acknowledged") { // a machine too busy for so short a run
		code, stdout, stderr = presets(t, append(all, "-d", "10s")...)
	}
	if code != 0 {
		t.Fatalf("%v: exit %d: %s", args, code, stderr)
	}
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatalf("%v in %s", err, stdout)
	}
	judged := 0
	for _, ratio := range r.Ratios {
		if ratio.Met != nil {
			judged++
		}
	}
	measured := r.Result.Name == bench.BrokerName || strings.HasPrefix(args[0], "react-") && r.Result.Name == framework.Name ||
		args[0] == "story-lookup" && r.Result.Name == stories.OfIndex || strings.HasPrefix(args[0], "story-") && r.Result.Name == stories.Indexer
	if r.Preset != args[0] || r.Target.Program != program || !measured || judged == 0 || r.TookSeconds == 0 {
		t.Errorf("%v: %s", args, stdout)
	}
	return r
}

// leavesNothing fails the test if it leaves a file in the directory for temporary ones.
func leavesNothing(t *testing.T) {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	t.Cleanup(func() {
		if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) != 0 {
			t.Errorf("left behind: %v %v", left, err)
		}
	})
}

// Case: each preset of `tidings bench`, with a load that is short and small. The command takes the preset's flags, and the
// report has the figures that its goals are of.
func TestPresetsOfTheProduct(t *testing.T) {
	leavesNothing(t)
	for _, p := range productPresets {
		short := "--rounds 1 --rest 0s"
		switch fields := strings.Fields(p.args); fields[0] {
		case "consume":
			short += " --buffered 500 --bytes 1MiB"
		case "fanout":
			short += " --buffered 500 --bytes 1MiB -d 100ms"
		case "react":
			short += map[string]string{
				"backlog": " --backlog 2000", "latency": " -d 100ms --warmup 0s", "emit": " -d 500ms --warmup 0s",
				"memory": " --backlog 10 --reactions 3 --settle 10ms",
			}[fields[1]]
		case "story":
			short += map[string]string{
				"index": " --events 700", "lookup": " --events 700 --lookups 10 --commands 1", "lag": " --events 700 --in-flight 20",
				"settled": " -d 100ms --late 3",
			}[fields[1]]
		default:
			short += " --buffered 500 -d 100ms --warmup 0s"
		}
		switch p.name {
		case "partitions-1000":
			short += " --partitions 20"
		case "append-to-consumer":
			short += " --rate 500"
		}
		r := report(t, append([]string{p.name, "--"}, strings.Fields(short)...)...)
		if r.Rounds != 1 || r.Result.Records == 0 && p.name != "react-memory" {
			t.Errorf("%s: %+v", p.name, r)
		}
	}
}

// Case: a checkpoint of a few partitions, twice, in each measurement.
func TestCheckpoint(t *testing.T) {
	leavesNothing(t)
	r := report(t, "checkpoint", "--checkpoints", "2", "-p", "3", "--emitters", "2", "--rounds", "1", "--rate", "0", "--warmup", "0s", "--rest", "0s")
	if len(r.Ratios) != 2 || len(r.Ceilings) != 1 || r.Ceilings[0].Seconds < 2*minCheckpointTime.Seconds() || r.Ceilings[0].Latency == nil {
		t.Errorf("report %+v", r)
	}
}

// Case: starts after a clean stop, and after a kill with a journal, from a cold cache.
func TestStarts(t *testing.T) {
	leavesNothing(t)
	r := report(t, "ready", "--bytes", "1MiB", "-p", "3", "--rounds", "2", "--rest", "0s")
	if r.Result.Latency == nil || r.Result.Latency.Count != 1 || r.Rounds != 2 || r.Result.Server == nil {
		t.Errorf("report %+v", r)
	}
	r = report(t, "replay-journal", "--bytes", "1MiB", "--cold", "--rounds", "1", "--rest", "0s")
	if len(r.Ratios) != 2 || r.Result.Records != 1024 || r.Ratios[1].Goal != ">= 500" {
		t.Errorf("report %+v", r)
	}
}

// Case: the maximum for a moment, then ten intervals at half of it. The intervals add up to the whole.
func TestHalfMaximum(t *testing.T) {
	leavesNothing(t)
	r := report(t, "half-maximum", "-d", "2s", "--maximum-time", "300ms", "--warmup", "100ms", "--keys", "50", "--buffered", "500", "--rest", "0s")
	if len(r.Result.Series) != mixedIntervals || r.Result.DeliveredPerSec == 0 || len(r.Ceilings) != 1 || r.Ceilings[0].Name != maximum {
		t.Errorf("report %+v", r)
	}
	var records float64
	for _, part := range r.Result.Series {
		records += part.RecordsPerSec * part.Seconds
	}
	if math.Abs(records-r.Result.Records) > 1 {
		t.Errorf("%g records in the intervals, %g in all", records, r.Result.Records)
	}
}

// Case: a broker that runs already, whose memory is not known. No topic is left on it.
func TestHalfMaximumOfABrokerThatRuns(t *testing.T) {
	leavesNothing(t)
	b, err := broker.Open(broker.Config{Memory: true})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go b.Serve(l)
	code, stdout, stderr := presets(t, "mixed", "--brokers", l.Addr().String(), "--rate", "500", "-d", "500ms", "--warmup", "0s", "--rest", "0s")
	if code != 0 || !strings.Contains(stdout, "brokers "+l.Addr().String()) || !strings.Contains(stdout, steadiness) || strings.Contains(stdout, peakMiB) {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(l.Addr().String()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if topics, err := kadm.NewClient(client).ListTopics(t.Context()); err != nil || len(topics) != 0 {
		t.Errorf("topics %v are left: %v", topics.Names(), err)
	}
}

// Case: consumers of an idle broker receive nothing, and its memory and processor time are known.
func TestIdle(t *testing.T) {
	leavesNothing(t)
	r := report(t, "idle-1000", "-p", "3", "--groups", "2", "-d", "50ms", "--warmup", "0s", "--bytes", "1MiB", "--rest", "0s")
	if len(r.Ratios) != 2 || r.Ratios[0].Name != residentMiB || r.Ratios[0].Median <= 0 || r.Ratios[1].Name != cpuPercent {
		t.Errorf("figures %+v", r.Ratios)
	}
}

func TestMistakes(t *testing.T) {
	for _, c := range []struct {
		args string
		text string
	}{
		{"durable-2k", "durable-2k"},
		{"durable-1k --rounds 1", "--rounds"},
		{"durable-1k more", "after --"},
		{"durable-1k -o xml", "text or json"},
		{"durable-1k --tidings /no/such/program", "/no/such/program"},
		{"idle-1000 --groups -1", "--groups"},
		{"idle --partitions 0", "--partitions"},
		{"half-maximum --share 2", "--share"},
		{"half-maximum --keys 0", "--keys"},
		{"half-maximum --topic t", "--topic"},
		{"mixed --brokers localhost:1 --data here", "--data"},
		{"ready --bytes 10", "less than one record"},
		{"checkpoint --checkpoints 0", "--checkpoints"},
		{"checkpoint --rounds 0", "--rounds"},
		{"checkpoint more", "more"},
	} {
		if code, _, stderr := presets(t, strings.Fields(c.args)...); code != exitUsage || !strings.Contains(stderr, c.text) {
			t.Errorf("%s: exit %d, %s", c.args, code, stderr)
		}
	}
}

// Case: a goal is missed. The report is written, and only --check makes it an error.
func TestCheckFailsOnAMissedGoal(t *testing.T) {
	for _, check := range []bool{false, true} {
		var out bytes.Buffer
		o := &options{stdout: &out, check: check, output: "text"}
		err := o.finish(bench.Report{Ratios: []bench.Ratio{{Name: "a", Median: 2}}}, "p", goals{"a": {AtMost: 1}})
		if !strings.Contains(out.String(), "<= 1 missed") || (err != nil) != check {
			t.Errorf("--check=%v: %v, %s", check, err, &out)
		}
	}
}

package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"tidings.dev/internal/bench"
)

// A preset is one line of the table of figures in docs/performance.md.
type preset struct {
	command, name, short string
	flags                [][2]string
	goals                []goal
}

// goal is what one ratio or figure of a report should be.
type goal struct {
	of string
	bench.Goal
}

// keyedFlow is 64 emitters over 16 partitions in one process; order matters nowhere.
func keyedFlow(more ...[2]string) [][2]string {
	return append([][2]string{{"in-process", "true"}, {"emitters", "64"}, {"keys", "10000"}, {"partitions", "16"}, {"ceiling", "true"}}, more...)
}

var presets = []preset{
	{"produce", "durable-1k", "1 KiB, one asynchronous producer in another process, against the null sink",
		[][2]string{{"size", "1KiB"}, {"ceiling", "true"}}, []goal{{ratioToNull, bench.Goal{AtLeast: 0.6}}}},
	{"produce", "durable-1k-4", "the same with 4 producers",
		[][2]string{{"size", "1KiB"}, {"producers", "4"}, {"ceiling", "true"}}, []goal{{ratioToNull, bench.Goal{AtLeast: 0.75}}}},
	{"produce", "durable-100b", "100 B, one asynchronous producer",
		[][2]string{{"size", "100"}, {"ceiling", "true"}}, []goal{{ratioToNull, bench.Goal{AtLeast: 0.85}}}},
	{"produce", "emitters-64", "64 emitters of one record at a time, keyed over 16 partitions, in process, against raw 4 KiB fdatasyncs",
		keyedFlow(), []goal{{ratioToSyncs, bench.Goal{AtLeast: 12}}}},
	{"produce", "partitions-1000", "the same flow over 1,000 partitions against 8",
		keyedFlow([2]string{"partitions", "1000"}, [2]string{"against-partitions", "8"}), []goal{{ratioToVariant, bench.Goal{AtLeast: 0.7}}}},
	{"produce", "one-record-memory", "one record at a time, one client, in memory: p50 against fdatasync and the null sink",
		[][2]string{{"in-process", "true"}, {"emitters", "1"}, {"ceiling", "true"}}, []goal{{ratioOneRecord, bench.Goal{AtMost: 1.25}}}},
	{"produce", "one-record-tcp", "the same over TCP, with the broker in another process",
		[][2]string{{"emitters", "1"}, {"ceiling", "true"}}, []goal{{ratioOneRecord, bench.Goal{AtMost: 1.25}}}},
	{"produce", "checkpoint", "2,000 records/s over 1,000 partitions: p99.9 during checkpoints of all of them against that without",
		[][2]string{{"emitters", "16"}, {"rate", "2000"}, {"keys", "10000"}, {"partitions", "1000"}, {"checkpoints", "5"}, {"rounds", "5"}},
		[]goal{{ratioCheckpoint, bench.Goal{AtMost: 3}}}},
	{"e2e", "append-to-consumer", "1 KiB at 10,000/s: p99 against the same in memory mode and fdatasync",
		[][2]string{{"rate", "10000"}, {"size", "1KiB"}, {"against-config", memoryMode}, {"ceiling", "true"}}, []goal{{ratioEndToEnd, bench.Goal{AtMost: 1.5}}}},
	{"consume", "cold-replay", "4 GiB from a cold page cache, one consumer, against the null source",
		[][2]string{{"bytes", "4GiB"}, {"size", "1KiB"}, {"cold", "true"}, {"ceiling", "true"}}, []goal{{ratioToSource, bench.Goal{AtLeast: 0.9}}}},
	{"fanout", "ten-groups", "10 readers of raw bytes against loopback TCP with as many connections",
		[][2]string{{"groups", "10"}, {"ceiling", "true"}}, []goal{{ratioToLoopback, bench.Goal{AtLeast: 0.6}}}},
	{"mixed", "half-maximum", "10 minutes at half of the maximum: is p99 as low at the end as at the beginning, and memory bounded",
		[][2]string{{"duration", "10m"}, {"partitions", "4"}, {"share", "0.5"}},
		[]goal{{ratioFlat, bench.Goal{AtMost: 1.5}}, {figurePeakRSS, bench.Goal{AtMost: 256}}}},
	{"idle", "idle-1000", "1,000 partitions, 10 groups in long poll on all of them",
		[][2]string{{"partitions", "1000"}, {"groups", "10"}, {"duration", "30s"}},
		[]goal{{figureRSS, bench.Goal{AtMost: 64}}, {figureCPU, bench.Goal{AtMost: 1}}}},
	{"start", "ready", "after a clean stop with 10 GiB in 1,000 partitions",
		[][2]string{{"partitions", "1000"}, {"bytes", "10GiB"}, {"rounds", "5"}}, []goal{{figureReady, bench.Goal{AtMost: 300}}}},
	{"start", "replay-journal", "after kill -9 with 128 MiB in the journal",
		[][2]string{{"partitions", "8"}, {"bytes", "128MiB"}, {"kill", "true"}, {"rounds", "5"}}, []goal{{figureReplay, bench.Goal{AtLeast: 500}}}},
}

// memoryMode is the topic setting under which nothing is made durable.
const memoryMode = "tidings.durability=memory"

// Names of the ratios that goals are of, as reports have them.
const (
	ratioToNull     = "records_per_s / " + nullSink
	ratioToSyncs    = "records_per_s / " + sync4K
	ratioToVariant  = "records_per_s / " + theVariant
	ratioOneRecord  = "p50 / (" + sync4K + " p50 + " + nullSink + " p50)"
	ratioEndToEnd   = "p99 / (" + theVariant + " p99 + " + sync4K + " p99)"
	ratioToSource   = "records_per_s / " + nullSource
	ratioToLoopback = "mb_per_s / " + loopbackTCP
	ratioCheckpoint = "p99.9 / " + quiet
	ratioFlat       = "p99 of the last 3 parts / of the first 3"
)

// Names of figures with a bound of their own.
const (
	figureReady   = "ready_ms"
	figureReplay  = "replay_mb_per_s"
	figureRSS     = "server_rss_mib"
	figurePeakRSS = "server_peak_rss_mib"
	figureCPU     = "server_cpu_percent" // of one core
)

// usePreset sets the preset's flags where they were not given.
func (b *benchmark) usePreset(flags *pflag.FlagSet) error {
	if b.preset == "" {
		return nil
	}
	i := slices.IndexFunc(presets, func(p preset) bool { return p.command == b.name && p.name == b.preset })
	if i < 0 {
		return usagef("`tidings bench "+b.name+" --help` lists them", "bench %s has no preset %q", b.name, b.preset)
	}
	given := map[string]bool{}
	flags.Visit(func(f *pflag.Flag) { given[f.Name] = true })
	for _, f := range presets[i].flags {
		if given[f[0]] {
			continue
		}
		if err := flags.Set(f[0], f[1]); err != nil {
			return fmt.Errorf("preset %s: --%s %s: %w", b.preset, f[0], f[1], err)
		}
	}
	b.goals = map[string]bench.Goal{}
	for _, g := range presets[i].goals {
		b.goals[g.of] = g.Goal
	}
	return nil
}

func presetHelp(command string) string {
	var b strings.Builder
	b.WriteString("Presets:\n")
	for _, p := range presets {
		if p.command == command {
			var goals []string
			for _, g := range p.goals {
				goals = append(goals, g.String())
			}
			fmt.Fprintf(&b, "  %-20s%s (goal %s)\n", p.name, p.short, strings.Join(goals, " and "))
		}
	}
	return b.String()
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"tidings.dev/internal/bench"
	"tidings.dev/internal/bench/testbed"
)

// productPreset is a preset that runs a command of `tidings bench`.
type productPreset struct {
	name, short string
	args        string // arguments of `tidings bench`, separated by spaces
	goals       goals
}

// keyedEmitters are the arguments for a load of 64 emitters with keys, on a broker in the same process.
const keyedEmitters = "produce --in-process --emitters 64 --keys 10000 --ceiling"

var productPresets = []productPreset{
	{"durable-1k", "1 KiB, one asynchronous producer in another process, against the null sink",
		"produce --size 1KiB --ceiling", goals{"records_per_s / null_sink": {AtLeast: 0.6}}},
	{"durable-1k-4", "1 KiB, 4 asynchronous producers, against the null sink",
		"produce --size 1KiB --producers 4 --ceiling", goals{"records_per_s / null_sink": {AtLeast: 0.75}}},
	{"durable-100b", "100 B, one asynchronous producer, against the null sink",
		"produce --size 100 --ceiling", goals{"records_per_s / null_sink": {AtLeast: 0.85}}},
	{"emitters-64", "64 emitters of one record at a time, with keys, over 16 partitions, in process, against syncs of 4 KiB",
		keyedEmitters + " --partitions 16", goals{"records_per_s / fdatasync_4k": {AtLeast: 12}}},
	{"partitions-1000", "64 emitters with keys, in process, over 1,000 partitions against 8",
		keyedEmitters + " --partitions 1000 --against-partitions 8", goals{"records_per_s / against": {AtLeast: 0.7}}},
	{"one-record-memory", "one record at a time, one client, in memory: p50 against fdatasync and the null sink",
		"produce --in-process --emitters 1 --ceiling", goals{"p50 / (fdatasync_4k p50 + null_sink p50)": {AtMost: 1.25}}},
	{"one-record-tcp", "one record at a time, one client, over TCP: p50 against fdatasync and the null sink",
		"produce --emitters 1 --ceiling", goals{"p50 / (fdatasync_4k p50 + null_sink p50)": {AtMost: 1.25}}},
	{"append-to-consumer", "1 KiB at 10,000/s: p99 against the same in memory mode and fdatasync",
		"e2e --rate 10000 --size 1KiB --against-config tidings.durability=memory --ceiling",
		goals{"p99 / (against p99 + fdatasync_4k p99)": {AtMost: 1.5}}},
	{"cold-replay", "4 GiB from a cold page cache, one consumer, against the null source",
		"consume --bytes 4GiB --size 1KiB --cold --ceiling", goals{"records_per_s / null_source": {AtLeast: 0.9}}},
	{"react-raw", "a reaction that takes 1,000,000 events of 100 B as they are, against a bare kgo group",
		"react backlog --payload raw", goals{"records_per_s / bare_kgo": {AtLeast: 0.5}, "read_bytes_per_log_byte": {AtMost: 1.05}}},
	{"react-struct", "a reaction that takes 1,000,000 events of 100 B decoded, against a bare kgo group that decodes them",
		"react backlog --payload struct", goals{"records_per_s / bare_kgo": {AtLeast: 0.9}, "read_bytes_per_log_byte": {AtMost: 1.05}}},
	{"react-emit", "a reaction that emits one event of 100 B for each of 300,000, against bare kgo that consumes and produces",
		"react backlog --emit --backlog 300000", goals{"records_per_s / bare_kgo": {AtLeast: 0.5}, "read_bytes_per_log_byte": {AtMost: 1.05}}},
	{"react-latency", "from Emit at 1,000/s until the same service has handled it, against bare kgo: p99",
		"react latency --rate 1000", goals{"p99 / bare_kgo": {AtMost: 2}}},
	{"react-emitters-64", "64 callers of Emit over 16 partitions, against as many of ProduceSync of kgo",
		"react emit --emitters 64 --partitions 16", goals{"records_per_s / bare_kgo": {AtLeast: 0.85}}},
	{"react-memory", "200 reactions of one app that wait: resident memory of each",
		"react memory --reactions 200", goals{"rss_mb_per_reaction": {AtMost: 0.8}}},
	{"story-index", "a new indexer reads 2,000,000 events of a shop: CPU time and bytes on disk of each",
		"story index --events 2000000", goals{"cpu_us_per_event": {AtMost: 5}, "disk_bytes_per_event": {AtMost: 120}}},
	{"story-lookup", "the story of an order among 2,000,000 events, by the API and by `tidings story KEY`: p99",
		"story lookup --events 2000000", goals{"index_p99_ms": {AtMost: 20}, "indexer_p99_ms": {AtMost: 20}, "command_p99_ms": {AtMost: 20}}},
	{"story-lag", "how far an indexer is behind seven services that work as fast as they can: the longest lag",
		"story lag", goals{"lag_max_ms": {AtMost: 2000}}},
	{"story-settled", "from the end of the last handler until Receipt.Settled returns, at 500 orders a second: p99",
		"story settled --rate 500", goals{"early_p99_ms": {AtMost: 100}, "late_p99_ms": {AtMost: 100}}},
	{"ten-groups", "10 readers of raw bytes against loopback TCP with as many connections",
		"fanout --groups 10 --ceiling", goals{"mb_per_s / loopback_tcp": {AtLeast: 0.6}}},
}

// commandOf returns the command of this program that runs the preset.
func (p productPreset) commandOf(o *options) *cobra.Command {
	return &cobra.Command{
		Use: p.name + " [-- FLAGS OF THE COMMAND]", Short: p.short,
		Long: p.short + ".\n\nRuns `tidings bench " + p.args + "`; flags after -- are added to it and win.\nGoal: " + p.goals.String() + ".",
		Args: func(cmd *cobra.Command, args []string) error {
			if n := cmd.ArgsLenAtDash(); len(args) > 0 && n != 0 {
				return usagef("%s takes no argument %q: flags of `tidings bench` come after --", p.name, args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, more []string) error {
			if err := o.validate(); err != nil {
				return err
			}
			r, err := p.measure(cmd.Context(), o, more)
			if err != nil {
				return err
			}
			return o.finish(r, p.name, p.goals)
		},
	}
}

// measure runs the program and decodes its report. more are additional arguments.
func (p productPreset) measure(ctx context.Context, o *options, more []string) (r bench.Report, err error) {
	program, remove, err := o.program(ctx)
	defer remove()
	if err != nil {
		return r, err
	}
	args := append([]string{"bench"}, append(strings.Fields(p.args), more...)...)
	if o.data != "" {
		args = append(args, "--data", o.data)
	}
	out, err := testbed.Run(ctx, o.stderr, program, append(args, "-o", "json")...)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(out, &r); err != nil {
		return r, fmt.Errorf("the report of `tidings %s`: %w", strings.Join(args, " "), err)
	}
	return r, nil
}

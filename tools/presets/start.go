package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tidings.dev/broker"
	"tidings.dev/internal/bench"
	"tidings.dev/internal/bench/testbed"
)

// start measures the time from the start of a broker's process to its first acknowledgement.
type start struct {
	measurement
	// total is how many bytes of values are produced before the broker is ended.
	total bench.ByteSize
	kill  bool // end the broker with SIGKILL while its journal has total bytes, rather than stopping it
	// cold means that the broker's files are dropped from the page cache before it is started.
	cold bool
}

// Names of figures in the report.
const (
	readyMillis  = "ready_ms"
	replayMBPerS = "replay_mb_per_s"
)

const startHelp = "The time runs from before the process is started until a client that connects then has one record acknowledged.\n"

func readyCommand(o *options) *cobra.Command {
	s := &start{measurement: measurement{options: o}, total: 10 << 30}
	s.rounds.Rounds, s.topic.Partitions = 5, 1000
	return preset{
		name: "ready", kind: "start",
		short: "from the start of the process to the first acknowledgement, after a clean stop with 10 GiB in 1,000 partitions",
		long:  startHelp + "After a clean stop nothing needs replay. The topic is filled once; with --data and --topic it is kept for the next time.",
		goals: goals{readyMillis: {AtMost: 300}},
	}.commandOf(&s.measurement, s)
}

func replayJournalCommand(o *options) *cobra.Command {
	s := &start{measurement: measurement{options: o}, total: 128 << 20, kill: true}
	s.rounds.Rounds, s.topic.Partitions = 5, 8
	return preset{
		name: "replay-journal", kind: "start",
		short: "from the start of the process to the first acknowledgement, after kill -9 with 128 MiB in the journal: MB/s of replay",
		long: startHelp + "The broker is killed when --bytes are in its journal and in no checkpoint. MB/s are these bytes over all of the time, the\n" +
			"process's start included.",
		goals: goals{replayMBPerS: {AtLeast: 500}},
	}.commandOf(&s.measurement, s)
}

func (s *start) flags(f *pflag.FlagSet) {
	usage := "how much is produced into the topic first, unless --topic has it"
	if s.kill {
		usage = "how much is produced into the journal before the broker is killed, in each round"
	}
	f.Var(&s.total, "bytes", usage)
	f.BoolVar(&s.cold, "cold", false, "before each start drop the broker's files from the page cache")
}

func (s *start) check() error {
	if s.total < s.load.Size {
		return fmt.Errorf("--bytes %s is less than one record", &s.total)
	}
	return nil
}

func (s *start) contenders(ctx context.Context) ([]bench.Contender, []bench.Comparison, error) {
	topic, records := s.topic.Topic(), int64(s.total)/int64(s.load.Size)
	if s.topic.Name == "" {
		s.filled = append(s.filled, topic.Name)
	}
	first := records
	if s.kill {
		first = 0
	}
	if _, err := s.broker.Endpoint().EnsureRecords(ctx, topic, s.load.Load(), first, s.progress); err != nil {
		return nil, nil, err
	}
	run := func(ctx context.Context) (bench.Measured, error) { return s.run(ctx, topic.Name, records) }
	comparisons := []bench.Comparison{{Name: readyMillis, Of: func(r bench.Round) float64 { return 1000 * r[bench.BrokerName].Elapsed.Seconds() }}}
	if s.kill {
		comparisons = append(comparisons, bench.Comparison{Name: replayMBPerS, Of: func(r bench.Round) float64 { return r[bench.BrokerName].BytesPerSecond() / 1e6 }})
	}
	return []bench.Contender{{Name: bench.BrokerName, Run: run}}, comparisons, nil
}

// run ends the broker, starts it again and measures the start.
func (s *start) run(ctx context.Context, topic string, records int64) (m bench.Measured, err error) {
	if s.kill {
		err = s.killWithJournal(ctx, topic, records)
	} else {
		err = s.broker.Stop()
	}
	if err == nil && s.cold {
		err = testbed.DropFromCache(s.broker.Data)
	}
	if err != nil {
		return m, err
	}
	s.progress.Stage("start")
	began := time.Now()
	if err := s.broker.Start(); err != nil {
		return m, err
	}
	m, err = bench.Ready{Topic: topic, StartedAt: began}.Run(ctx, s.broker.Endpoint())
	if s.kill {
		m.Records, m.Bytes = records, records*int64(s.load.Size)
	}
	return m, err
}

// killWithJournal kills the broker when a number of records are in its journal and in no checkpoint. As a broker
// takes a checkpoint after its start, killWithJournal makes it take this checkpoint first, and prevents further ones.
func (s *start) killWithJournal(ctx context.Context, topic string, records int64) error {
	s.broker.CheckpointBytes = noCheckpoint
	err := s.broker.Restart()
	s.broker.CheckpointBytes = 0
	if err != nil {
		return err
	}
	if err := broker.CheckpointOf(ctx, s.broker.Data); err != nil {
		return err
	}
	s.progress.Stage(fmt.Sprintf("fill the journal with %s", &s.total))
	if err := bench.Fill(ctx, s.broker.Endpoint(), topic, s.load.Load(), records, s.progress); err != nil {
		return err
	}
	s.broker.Kill()
	return nil
}

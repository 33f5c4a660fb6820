package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"tidings.dev/broker"
	"tidings.dev/internal/bench"
)

func (s *session) benchStartCommand() *cobra.Command {
	b := &benchmark{session: s, name: "start"}
	c := b.command("Measure how long the broker takes from being started to its first acknowledgement", b.start)
	c.Long += "\nThe time runs from before the process is started until a client that connects then has one record acknowledged. After a clean\n" +
		"stop (the default) nothing needs replay. With --kill the broker is killed when --bytes are in its journal and in no checkpoint;\n" +
		"MB/s are these bytes over all of the time, the process's start included."
	b.total = 1 << 30
	f := c.Flags()
	f.Var(&b.total, "bytes", "how much is produced first: into the topic once (unless --topic has it), or with --kill into the journal in each round")
	f.BoolVar(&b.kill, "kill", false, "end the broker by SIGKILL instead of well")
	f.BoolVar(&b.cold, "cold", false, "before each start drop the broker's files from the page cache")
	return c
}

func (b *benchmark) start(ctx context.Context) ([]bench.Contender, []bench.Compared, error) {
	b.nameTopic()
	records := int64(b.total) / int64(b.size)
	first := records
	if b.kill {
		first = 0
	}
	if _, err := b.fill(ctx, b.stage.broker(), b.topic, first); err != nil {
		return nil, nil, err
	}
	run := func(ctx context.Context) (bench.Measured, error) {
		if err := b.stopForStart(ctx, records); err != nil {
			return bench.Measured{}, err
		}
		if b.cold {
			if err := b.stage.forget(); err != nil {
				return bench.Measured{}, err
			}
		}
		b.progress.Stage("start")
		began := time.Now()
		if err := b.stage.startBroker(); err != nil {
			return bench.Measured{}, err
		}
		m, err := bench.Ready(ctx, b.stage.broker(), b.topic, began)
		if b.kill {
			m.Records, m.Bytes = records, records*int64(b.size)
		}
		return m, err
	}
	compared := []bench.Compared{{Name: figureReady, Of: func(r bench.Round) float64 { return 1000 * r[theBroker].Elapsed.Seconds() }}}
	if b.kill {
		compared = append(compared, bench.Compared{Name: figureReplay, Of: func(r bench.Round) float64 { return r[theBroker].BytesPerSecond() / 1e6 }})
	}
	return []bench.Contender{{Name: theBroker, Run: run}}, compared, nil
}

// stopForStart ends the broker: well, or when so many records are in its journal that no checkpoint has.
func (b *benchmark) stopForStart(ctx context.Context, records int64) error {
	if !b.kill {
		return b.stage.stopBroker()
	}
	// A start is followed by a checkpoint: it is awaited, and after it there is no other.
	b.childConfig.CheckpointBytes = noCheckpoint
	err := b.stage.restart()
	b.childConfig.CheckpointBytes = 0
	if err == nil {
		err = broker.CheckpointOf(ctx, b.stage.data)
	}
	if err != nil {
		return err
	}
	b.progress.Stage(fmt.Sprintf("fill the journal with %s", &b.total))
	if err := bench.Fill(ctx, b.stage.broker(), b.topic, b.load, records, b.progress); err != nil {
		return err
	}
	b.stage.kill()
	return nil
}

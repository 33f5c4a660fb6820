package bench

import (
	"context"

	"github.com/spf13/pflag"

	"tidings.dev/internal/bench"
	"tidings.dev/internal/cli/shell"
)

// replay is the part that consume and fanout share: a topic that is filled once and then read in all rounds.
type replay struct {
	common
	total      bench.ByteSize // bytes of record values in the topic
	fetchBytes bench.ByteSize // maximum bytes of one partition in a fetch response; 0: the client's default
	// groups is the number of consumer groups or readers.
	groups int
}

func (r *replay) flags(f *pflag.FlagSet) {
	f.Var(&r.total, "bytes", "how much the topic holds; it is produced first, unless --topic has it")
	f.Var(&r.fetchBytes, "fetch-bytes", "of one partition in one response (default 1 MiB)")
}

func (r *replay) check() error {
	if r.total < r.load.Size {
		return shell.Usagef("", "--bytes %s is less than one record", &r.total)
	}
	return nil
}

// records returns the number of records that the topic must hold.
func (r *replay) records() int64 { return int64(r.total) / int64(r.load.Size) }

// fill produces records until the topic holds enough, and returns its name and its number of partitions. If the flags
// name no topic, fill creates one that is deleted when the environment is closed.
func (r *replay) fill(ctx context.Context) (name string, partitions int, err error) {
	topic := r.topic.Topic()
	if r.topic.Name == "" {
		r.env.filled = append(r.env.filled, topic.Name)
	}
	partitions, err = r.env.broker.Endpoint().EnsureRecords(ctx, topic, r.load.Load(), r.records(), r.progress)
	return topic.Name, partitions, err
}

package cli

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"tidings.dev/broker"
	"tidings.dev/story"
)

// indexName is the story's index in a data directory.
const indexName = "story.db"

// fenceCheck is how often a running broker is asked whether it can still write.
const fenceCheck = time.Second

func (s *session) serveCommand() *cobra.Command {
	var address, advertise string
	var partitions int32
	var autoCreate, insecure bool
	c := &cobra.Command{
		Use: "serve", Short: "Run the broker, and the story's index",
		Long: "Serves the log of a data directory to Kafka clients until it is stopped. SIGTERM ends it well: what is under way is\n" +
			"answered first.",
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if partitions < 1 {
				return usagef("leave it out for 4", "--default-partitions %d: a topic has at least one", partitions)
			}
			config := broker.Config{
				Dir: s.dataDir(), Logger: s.logger(), AutoCreateTopics: autoCreate, DefaultPartitions: partitions, AdvertisedAddr: advertise,
			}
			return s.serve(cmd.Context(), config, address, insecure)
		},
	}
	c.Flags().StringVar(&address, "listen", defaultListen, "where to listen; port 0 takes a free one")
	c.Flags().StringVar(&advertise, "advertise", "", "the address that clients are told (default: the one that each dialled)")
	c.Flags().BoolVar(&autoCreate, "auto-create-topics", false, "make a topic when somebody uses its name")
	c.Flags().Int32Var(&partitions, "default-partitions", 4, "partitions of a topic that does not say")
	c.Flags().BoolVar(&insecure, "insecure", false, "allow to listen on addresses that others can reach")
	return c
}

// serving is what serve tells a program once it is ready.
type serving struct {
	Address   string `json:"address"`
	Data      string `json:"data"`
	ClusterID string `json:"cluster_id"`
	PID       int    `json:"pid"`
}

func (s *session) serve(ctx context.Context, config broker.Config, address string, insecure bool) error {
	listener, err := listen(address, insecure)
	if err != nil {
		return err
	}
	b, err := openBroker(config)
	if err != nil {
		listener.Close()
		return err
	}
	indexing := startIndexing(ctx, b, config.Logger)
	go new(heap).keepTidy(ctx)
	served := make(chan error, 1)
	go func() { served <- b.Serve(listener) }()

	ready := serving{Address: listener.Addr().String(), Data: config.Dir, ClusterID: b.ClusterID(), PID: os.Getpid()}
	s.note("tidings: Kafka at %s, data in %s", ready.Address, absolute(ready.Data))
	err = s.output().thing(ready, func(io.Writer) error { return nil })
	if err == nil {
		err = s.untilStopped(ctx, b, served)
	}
	indexing.stop()
	err = errors.Join(err, b.Close())
	if err == nil && !errors.Is(context.Cause(ctx), ErrTerminated) {
		return context.Cause(ctx)
	}
	return err
}

// untilStopped waits for the end. A log that cannot be written to still serves its readers: why is told once, and is the
// error at the end, unless there is room on the disk again by then.
func (s *session) untilStopped(ctx context.Context, b *broker.Broker, served <-chan error) error {
	check := time.NewTicker(fenceCheck)
	defer check.Stop()
	var fault error
	for {
		select {
		case <-ctx.Done():
			return fault
		case err := <-served:
			if errors.Is(err, broker.ErrClosed) || errors.Is(err, net.ErrClosed) {
				return fault
			}
			return errors.Join(fault, err)
		case <-check.C:
			switch err := cannotWrite(b); {
			case err == nil:
				fault = nil
			case fault == nil:
				fault = storageFault(err)
				s.report(asFault(fault))
			}
		}
	}
}

// cannotWrite says why the broker appends nothing, now or any more, or nil.
func cannotWrite(b *broker.Broker) error {
	if err := b.Err(); err != nil {
		return err
	}
	return b.Full()
}

func storageFault(err error) *Fault {
	f := *asFault(err)
	if f.Code == "failed" {
		f.Code = "storage"
	}
	f.Message = "the log cannot be written to: " + err.Error()
	if f.Hint == "" {
		f.Hint = "what was acknowledged is safe and can be read; mend the disk and start again"
	}
	return &f
}

// indexing is a story's indexer at work.
type indexing struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// startIndexing keeps the story of a log until stop. Without it the log still serves, so that what is wrong with it is
// logged and holds nothing up.
func startIndexing(ctx context.Context, b *broker.Broker, log *slog.Logger) *indexing {
	x := &indexing{}
	ctx, x.cancel = context.WithCancel(context.WithoutCancel(ctx))
	x.done.Go(func() {
		indexer, err := story.Open(ctx, inProcess(b), filepath.Join(b.String(), indexName), story.Options{Emit: true, Logger: log})
		if err == nil {
			err = errors.Join(indexer.Run(ctx), indexer.Close())
		}
		if err != nil && ctx.Err() == nil {
			log.Error("stories are not followed", "err", err)
		}
	})
	return x
}

func (x *indexing) stop() {
	x.cancel()
	x.done.Wait()
}

func absolute(dir string) string {
	if full, err := filepath.Abs(dir); err == nil {
		return full
	}
	return dir
}

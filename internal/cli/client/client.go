// Package client has the commands that connect to a log as Kafka clients: topic, group, tail, emit, story and show.
package client

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"tidings.dev/internal/cli/shell"
	"tidings.dev/internal/logclient"
)

// Commands returns the commands of this package.
func Commands(s *shell.Session) []*cobra.Command {
	return []*cobra.Command{storyCommand(s), showCommand(s), emitCommand(s), tailCommand(s), topicCommand(s), groupCommand(s)}
}

// connection is a client of a log. Its adm field offers the requests of package kadm over the same connections.
type connection struct {
	log *logclient.Client
	adm *kadm.Client // uses log's connections
}

// connect returns a connection to the log that the command line names, after a broker has answered. The caller must
// close it.
func connect(ctx context.Context, s *shell.Session) (connection, error) {
	t, err := s.Target(ctx)
	if err != nil {
		return connection{}, err
	}
	return connectTo(ctx, t)
}

// connectTo is like connect for a target that is already known.
func connectTo(ctx context.Context, t shell.Target) (connection, error) {
	log, err := t.Log(ctx)
	if err != nil {
		return connection{}, err
	}
	return connection{log, kadm.NewClient(log.Client())}, nil
}

func (c connection) close() { c.log.Close() }

// connected returns the RunE function of a command. It calls run with a connection to the log that the command line
// names, and closes the connection afterwards.
func connected(s *shell.Session, run func(ctx context.Context, conn connection, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		conn, err := connect(cmd.Context(), s)
		if err != nil {
			return err
		}
		defer conn.close()
		return run(cmd.Context(), conn, args)
	}
}

// topic returns the description of a topic. If there is none, it returns a not-found fault.
func (c connection) topic(ctx context.Context, name string) (kadm.TopicDetail, error) {
	topics, err := c.adm.ListTopicsWithInternal(ctx, name)
	if err != nil {
		return kadm.TopicDetail{}, err
	}
	topic, ok := topics[name]
	if !ok || errors.Is(topic.Err, kerr.UnknownTopicOrPartition) || errors.Is(topic.Err, kerr.InvalidTopicException) {
		return topic, unknownTopic(name)
	}
	return topic, topic.Err
}

// unknownTopic returns the not-found fault for a topic.
func unknownTopic(name string) *shell.Fault {
	return shell.NotFoundf(fmt.Sprintf("`tidings topic ls` lists the topics; `tidings topic create %s` makes it", name), "there is no topic %q", name)
}

// bounds returns, for each partition of the topics, the first offset that retention has not removed and the offset
// after the last record. The topics must exist. Without topics it returns nil maps.
func (c connection) bounds(ctx context.Context, topics ...string) (starts, ends logclient.Offsets, err error) {
	if len(topics) == 0 {
		return nil, nil, nil
	}
	if starts, err = c.log.Starts(ctx, topics...); err != nil {
		return nil, nil, err
	}
	ends, err = c.log.Ends(ctx, topics...)
	return starts, ends, err
}

// recordsOf returns the number of offsets between the bounds of a topic's partitions. A compacted topic has fewer
// records than that.
func recordsOf(topic string, starts, ends logclient.Offsets) (records int64) {
	for p, end := range ends[topic] {
		records += end - starts[topic][p]
	}
	return records
}

package serve

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"tidings.dev/internal/cli/clitest"
	"tidings.dev/internal/cli/shell"
)

// Case: settings with Apache Kafka's names, from a file and the command line, which wins. Clients see them, and topics have
// them.
func TestServeWithSettings(t *testing.T) {
	file := filepath.Join(t.TempDir(), "server.properties")
	lines := "# a comment\n! another\n\nnum.partitions = 3\nlog.retention.hours: 48\noffsets.retention.minutes=5\nauto.create.topics.enable=true\n"
	if err := os.WriteFile(file, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	address := clitest.FreeAddress(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	running := program(t).On(t.TempDir()).Start(ctx, "", "serve", "--listen", address, "-o", "jsonl", "--config", file,
		"-c", "num.partitions=7", "-c", "message.max.bytes=2000000")
	running.Await(t, `"pid"`)
	target, err := shell.ParseBrokers("address", address)
	if err != nil {
		t.Fatal(err)
	}
	client, err := target.Log(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	adm := kadm.NewClient(client.Client())
	if made, err := adm.CreateTopic(ctx, -1, -1, nil, "orders"); err != nil || made.NumPartitions != 7 {
		t.Errorf("a topic was made with %d partitions: %v", made.NumPartitions, err)
	}
	want := func(configs kadm.ResourceConfigs, err error, values map[string]string) {
		t.Helper()
		if err != nil || len(configs) != 1 {
			t.Fatal(err, configs)
		}
		for _, c := range configs[0].Configs {
			if value, ok := values[c.Key]; ok && c.MaybeValue() != value {
				t.Errorf("%s is %s, want %s", c.Key, c.MaybeValue(), value)
			} else if ok {
				delete(values, c.Key)
			}
		}
		if len(values) > 0 {
			t.Errorf("not told: %v", values)
		}
	}
	brokers, err := adm.DescribeBrokerConfigs(ctx, 1)
	want(brokers, err, map[string]string{"num.partitions": "7", "log.retention.ms": "172800000", "offsets.retention.minutes": "5",
		"auto.create.topics.enable": "true", "message.max.bytes": "2000000"})
	topics, err := adm.DescribeTopicConfigs(ctx, "orders")
	want(topics, err, map[string]string{"retention.ms": "172800000", "max.message.bytes": "2000000"})
	client.Close()
	cancel(shell.ErrTerminated)
	program(t).Want(running.Wait(), 0)
}

// Case: what is not known is refused with the nearest name, before anything is made.
func TestServeRefusesSettings(t *testing.T) {
	p := program(t)
	dir := filepath.Join(t.TempDir(), "data")
	file := filepath.Join(t.TempDir(), "server.properties")
	if err := os.WriteFile(file, []byte("num.partitions=3\nnonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		args []string
		want []string
	}{
		{[]string{"-c", "num.partition=3"}, []string{"num.partition", "the nearest is num.partitions"}},
		{[]string{"-c", "num.partitions=no"}, []string{"not a whole number"}},
		{[]string{"-c", "num.partitions"}, []string{"NAME=VALUE"}},
		{[]string{"-c", "log.dirs=/data"}, []string{"--data"}},
		{[]string{"--config", file}, []string{"line 2", "NAME=VALUE"}},
		{[]string{"--config", file + ".none"}, []string{"--config"}},
	} {
		p.Want(p.Run(append([]string{"serve", "--data", dir, "--listen", "127.0.0.1:0"}, x.args...)...), 2, x.want...)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the data directory: %v", err)
	}
}

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// broker is one node of Apache Kafka (KRaft) in another process. The process cannot outlive this program.
type broker struct {
	address string
	jars    string
	dir     string
	cmd     *exec.Cmd
	ended   chan struct{}
}

// newBroker formats a data directory in dir and starts a broker on it. txnVersion is the finalized level of the
// feature transaction.version. setting is an additional line of the broker's configuration, or "".
func newBroker(ctx context.Context, jars, dir string, txnVersion int, setting string) (*broker, error) {
	if _, err := os.Stat(jars); err != nil {
		return nil, fmt.Errorf("no jars of Apache Kafka in %s: (cd conformance/kafka && mvn -q -B dependency:copy-dependencies)", jars)
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	controller, err := freeAddress()
	if err != nil {
		return nil, err
	}
	b := &broker{address: address, jars: jars, dir: dir}
	properties := fmt.Sprintf(`process.roles=broker,controller
node.id=1
controller.quorum.voters=1@%[2]s
listeners=PLAINTEXT://%[1]s,CONTROLLER://%[2]s
advertised.listeners=PLAINTEXT://%[1]s
controller.listener.names=CONTROLLER
log.dirs=%[3]s/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.coordinator.rebalance.protocols=classic,consumer
%[4]s
`, address, controller, dir, setting)
	if err := os.WriteFile(b.config(), []byte(properties), 0o600); err != nil {
		return nil, err
	}
	out, err := exec.CommandContext(ctx, "java", "-cp", jars+"/*", "kafka.tools.StorageTool", "format",
		"-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", b.config(), "--feature", fmt.Sprint("transaction.version=", txnVersion)).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("format: %w: %s", err, lastLines(string(out)))
	}
	return b, b.start(ctx)
}

func (b *broker) config() string { return filepath.Join(b.dir, "server.properties") }

// start starts the process and waits until it accepts connections.
func (b *broker) start(ctx context.Context) error {
	said, err := os.OpenFile(filepath.Join(b.dir, "broker.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer said.Close()
	b.cmd = exec.Command("java", "-Xmx768m", "-XX:+UseG1GC", "-cp", b.jars+"/*", "kafka.Kafka", b.config())
	b.cmd.Dir, b.cmd.Stdout, b.cmd.Stderr = b.dir, said, said
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := b.cmd.Start(); err != nil {
		return err
	}
	b.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) {
		_ = cmd.Wait() // the broker's log shows why it ended
		close(ended)
	}(b.cmd, b.ended)
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); {
		if conn, err := net.Dial("tcp", b.address); err == nil {
			conn.Close()
			return nil
		}
		select {
		case <-b.ended:
			return errors.New("the broker has ended: see " + said.Name())
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
	return errors.New("the broker takes no connection: see " + said.Name())
}

// kill kills the broker's process with SIGKILL and waits until it has ended. Acknowledged records are not lost,
// because they were written to files, which the operating system keeps even if they were not synced.
func (b *broker) kill() {
	_ = b.cmd.Process.Kill() // fails if the process has ended
	<-b.ended
}

// version returns the version of Apache Kafka, which it reads from the name of its jar.
func (b *broker) version() string {
	found, _ := filepath.Glob(filepath.Join(b.jars, "kafka_2.13-*.jar")) // Glob fails only for a malformed pattern
	if len(found) == 0 {
		return "?"
	}
	return strings.TrimSuffix(strings.TrimPrefix(filepath.Base(found[0]), "kafka_2.13-"), ".jar")
}

// freeAddress returns a loopback address with a port on which no process listens.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

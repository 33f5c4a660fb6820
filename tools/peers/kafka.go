//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"tidings.dev/internal/bench"
)

// kafkaClient uses kgo, for both Tidings and Apache Kafka. It has kgo's default options, except that it does not wait
// up to 10 ms for more records to a batch. Topics have 1 partition.
type kafkaClient struct{ endpoint bench.Endpoint }

func newKafkaClient(address string, server *process) *kafkaClient {
	return &kafkaClient{bench.Endpoint{Seeds: []string{address}, Usage: server.usage}}
}

func (k *kafkaClient) load(p plan) bench.Load {
	return bench.Load{RecordBytes: p.recordBytes, Producers: 1, Duration: p.duration, Warmup: p.warmup}
}

func (k *kafkaClient) fill(ctx context.Context, p plan) error {
	if err := k.endpoint.CreateTopic(ctx, bench.Topic{Name: replayed, Partitions: 1}); err != nil {
		return err
	}
	return bench.Fill(ctx, k.endpoint, replayed, k.load(p), p.replayRecords(), nil)
}

func (k *kafkaClient) replay(ctx context.Context, p plan) (bench.Measured, error) {
	return bench.Consume{Topic: replayed, Records: p.replayRecords(), Partitions: 1}.Run(ctx, k.endpoint, nil)
}

func (k *kafkaClient) produce(ctx context.Context, p plan) (bench.Measured, error) {
	return k.onTopic(ctx, k.load(p))
}

func (k *kafkaClient) one(ctx context.Context, p plan) (bench.Measured, error) {
	l := k.load(p)
	l.Emitters = 1
	return k.onTopic(ctx, l)
}

// onTopic runs a load on a new topic, which it deletes afterwards.
func (k *kafkaClient) onTopic(ctx context.Context, l bench.Load) (bench.Measured, error) {
	topic := newStream()
	if err := k.endpoint.CreateTopic(ctx, bench.Topic{Name: topic, Partitions: 1}); err != nil {
		return bench.Measured{}, err
	}
	m, err := bench.Produce{Topic: topic, Load: l}.Run(ctx, k.endpoint, nil)
	if removeErr := k.endpoint.DeleteTopic(context.WithoutCancel(ctx), topic); err == nil {
		err = removeErr
	}
	return m, err
}

// startTidings returns a function that starts the program of this source tree, with the given command: "bench serve"
// runs the broker only, and "serve" also the indexer.
func startTidings(command ...string) func(context.Context, *setup, peer) (*contender, error) {
	return func(ctx context.Context, s *setup, p peer) (*contender, error) {
		program, err := s.program(ctx, "tidings.dev/cmd/tidings", "../..")
		if err != nil {
			return nil, err
		}
		address, err := freeAddress()
		if err != nil {
			return nil, err
		}
		args := append(command, "--data", filepath.Join(s.dir, p.name+"-data"), "--listen", address)
		server, err := startProcess(ctx, address, program, args...)
		if err != nil {
			return nil, err
		}
		return &contender{peer: p, version: "this tree", server: server, client: newKafkaClient(address, server)}, nil
	}
}

// kafkaPom is the directory of the Maven project that fetches Apache Kafka.
const kafkaPom = "../../conformance/kafka"

// startKafka starts one node of Apache Kafka (KRaft), with the jars of the conformance suite.
func startKafka(ctx context.Context, s *setup, p peer) (*contender, error) {
	jars, err := filepath.Abs(filepath.Join(kafkaPom, "jars"))
	if err != nil {
		return nil, err
	}
	if _, err := exec.LookPath("java"); err != nil {
		return nil, fmt.Errorf("%w: no java", errAbsent)
	}
	if !isThere(jars) {
		say("get Apache Kafka's jars by Maven")
		if err := command(ctx, kafkaPom, "mvn", "-q", "-B", "dependency:copy-dependencies"); err != nil {
			return nil, absent(err)
		}
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	controller, err := freeAddress()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(s.dir, p.name)
	config := filepath.Join(s.dir, p.name+".properties")
	properties := fmt.Sprintf(`process.roles=broker,controller
node.id=1
controller.quorum.voters=1@%[2]s
listeners=PLAINTEXT://%[1]s,CONTROLLER://%[2]s
advertised.listeners=PLAINTEXT://%[1]s
controller.listener.names=CONTROLLER
log.dirs=%[3]s
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
`, address, controller, dir)
	if err := os.WriteFile(config, []byte(properties), 0o600); err != nil {
		return nil, err
	}
	classpath := jars + "/*"
	if err := command(ctx, "", "java", "-cp", classpath, "kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", config); err != nil {
		return nil, err
	}
	// These are the options that kafka-server-start.sh and kafka-run-class.sh pass.
	server, err := startProcess(ctx, address, "java", "-Xmx1G", "-Xms1G", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20",
		"-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent", "-Djava.awt.headless=true",
		"-cp", classpath, "kafka.Kafka", config)
	if err != nil {
		return nil, err
	}
	return &contender{peer: p, version: kafkaVersion(jars), server: server, client: newKafkaClient(address, server)}, nil
}

// kafkaVersion returns the version of Apache Kafka, which it reads from the name of its jar, or "" if there is no
// such jar.
func kafkaVersion(jars string) string {
	found, _ := filepath.Glob(filepath.Join(jars, "kafka_2.13-*.jar")) // Glob fails only for a malformed pattern
	if len(found) == 0 {
		return ""
	}
	return strings.TrimSuffix(strings.TrimPrefix(filepath.Base(found[0]), "kafka_2.13-"), ".jar")
}

// Package broker is a durable event log that speaks the Apache Kafka protocol. The broker runs inside a Go process, and
// serves clients in that process, clients on the network, or both. An acknowledged record survives a kill of the
// process, a crash of the operating system and a power cut, unless its topic is configured for less durability
// (docs/guarantees.md).
//
// This program opens a log, and a Kafka client in the same process writes a record to it:
//
//	package main
//
//	import (
//		"context"
//		"log"
//		"net"
//
//		"github.com/twmb/franz-go/pkg/kgo"
//
//		"tidings.dev/broker"
//	)
//
//	func main() {
//		b, err := broker.Open(broker.Config{Dir: "./data", AutoCreateTopics: true})
//		if err != nil {
//			log.Fatal(err)
//		}
//		client, err := kgo.NewClient(
//			kgo.SeedBrokers("tidings:9092"), // any name: the dialer ignores it
//			kgo.Dialer(func(ctx context.Context, _, _ string) (net.Conn, error) { return b.Dial(ctx) }),
//			kgo.AllowAutoTopicCreation(),
//		)
//		if err != nil {
//			log.Fatal(err)
//		}
//		record := &kgo.Record{Topic: "orders", Value: []byte("536365")}
//		if err := client.ProduceSync(context.Background(), record).FirstErr(); err != nil {
//			log.Fatal(err)
//		}
//		client.Close()
//		if err := b.Close(); err != nil {
//			log.Fatal(err)
//		}
//	}
//
// # Opening a log
//
// [Open] opens the log that a [Config] describes. Config.Dir names its data directory; Config.Memory instead keeps the
// log in memory. Only one broker at a time can have a data directory open: Open of a second returns a *[LockedError].
// Open returns a *[ForeignError] for a directory that contains other files, and a *[FormatError] for one that was
// written by a version of the program with another format.
//
// # Connecting
//
//   - [Broker.Dial] connects a client in this process, without a network.
//   - [Broker.Serve] serves the connections of a listener: TCP, TLS, or any other [net.Listener].
//   - [DialDir] connects a client to the broker that has a data directory open, in any process of this machine.
//
// All three speak the Kafka protocol, for clients in any language. docs/kafka-differences.md lists where the broker
// behaves differently from Apache Kafka.
//
// # When writing fails
//
// After a failed write or sync, the broker writes nothing more until the log is opened again, so that it never
// acknowledges a record that is not durable; [Broker.Err] returns the cause. While the disk is full, [Broker.Full]
// returns the cause; the broker accepts records again by itself once there is room. Clients can read in both cases.
// docs/guarantees.md states the guarantees, docs/faults.md how they are tested.
//
// # Closing
//
// [Broker.Close] answers the requests that have arrived and takes a checkpoint, so that the next Open need not replay
// the journal. A process that ends without calling Close loses no acknowledged record.
//
// # Administering a running broker from another process
//
// [SnapshotOf] makes the broker write an image of its data directory, for a backup. [CheckpointOf] makes it take a
// checkpoint.
package broker

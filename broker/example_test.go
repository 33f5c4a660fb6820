package broker_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"os"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidings.dev/broker"
)

// A broker in memory and a Kafka client in the same process: the client produces one record and consumes it.
func Example() {
	b, err := broker.Open(broker.Config{Memory: true, AutoCreateTopics: true})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()

	client, err := kgo.NewClient(
		kgo.SeedBrokers("tidings:9092"), // any name: the dialer ignores it
		kgo.Dialer(func(ctx context.Context, _, _ string) (net.Conn, error) { return b.Dial(ctx) }),
		kgo.AllowAutoTopicCreation(),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	ctx := context.Background()
	record := &kgo.Record{Topic: "orders", Key: []byte("order/536365"), Value: []byte("placed")}
	if err := client.ProduceSync(ctx, record).FirstErr(); err != nil {
		log.Fatal(err)
	}
	client.AddConsumeTopics("orders")
	fetches := client.PollFetches(ctx)
	if err := fetches.Err(); err != nil {
		log.Fatal(err)
	}
	for _, r := range fetches.Records() {
		fmt.Printf("%s at offset %d: %s\n", r.Key, r.Offset, r.Value)
	}
	// Output: order/536365 at offset 0: placed
}

// A broker serves clients on the network until it is closed.
func ExampleBroker_Serve() {
	b, err := broker.Open(broker.Config{Memory: true, AutoCreateTopics: true})
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0") // a port that is free
	if err != nil {
		log.Fatal(err)
	}
	served := make(chan error)
	go func() { served <- b.Serve(listener) }()

	client, err := kgo.NewClient(kgo.SeedBrokers(listener.Addr().String()), kgo.AllowAutoTopicCreation())
	if err != nil {
		log.Fatal(err)
	}
	if err := client.ProduceSync(context.Background(), &kgo.Record{Topic: "orders", Value: []byte("placed")}).FirstErr(); err != nil {
		log.Fatal(err)
	}
	fmt.Println("acknowledged")
	client.Close()

	if err := b.Close(); err != nil {
		log.Fatal(err)
	}
	if err := <-served; errors.Is(err, broker.ErrClosed) {
		fmt.Println("served until the broker was closed")
	}
	// Output:
	// acknowledged
	// served until the broker was closed
}

// Only one broker at a time can have a data directory open.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "tidings")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	b, err := broker.Open(broker.Config{Dir: dir})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()

	_, err = broker.Open(broker.Config{Dir: dir})
	if locked, ok := errors.AsType[*broker.LockedError](err); ok {
		fmt.Println("in use by this process:", locked.PID == os.Getpid())
	}
	// Output: in use by this process: true
}

// A process that knows the data directory of a broker on the same machine connects without a port.
func ExampleDialDir() {
	dir, err := os.MkdirTemp("", "tidings")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	b, err := broker.Open(broker.Config{Dir: dir}) // usually in another process: `tidings serve --data DIR`
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()

	client, err := kgo.NewClient(
		kgo.SeedBrokers("tidings:9092"), // any name: the dialer ignores it
		kgo.Dialer(func(ctx context.Context, _, _ string) (net.Conn, error) { return broker.DialDir(ctx, dir) }),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	if err := client.Ping(context.Background()); err != nil {
		log.Fatal(err)
	}
	fmt.Println("connected")
	// Output: connected
}

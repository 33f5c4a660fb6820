package kgolink_test

import (
	"context"
	"fmt"
	"log"

	"github.com/twmb/franz-go/pkg/kadm"

	"tidings.dev/embedded"
	"tidings.dev/kgolink"
)

// A program makes a topic on the log of its apps, with a client of its own.
func ExampleOptions() {
	ctx := context.Background()
	link, err := embedded.Memory().Connect(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer link.Close()

	admin, err := kadm.NewOptClient(kgolink.Options(link)...)
	if err != nil {
		log.Fatal(err)
	}
	defer admin.Close()
	if _, err := admin.CreateTopic(ctx, 3, 1, nil, "orders"); err != nil {
		log.Fatal(err)
	}
	topics, err := admin.ListTopics(ctx, "orders")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("partitions of orders:", len(topics["orders"].Partitions))
	// Output: partitions of orders: 3
}

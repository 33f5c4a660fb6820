// Package embedded runs a broker in the process that uses it. It is for tests, for development, and for services that
// need no separate server. It connects package tidings, which is a Kafka client, with package broker; neither of these
// imports the other.
//
// This program keeps its log in a directory. When it is started again, it goes on where it was:
//
//	package main
//
//	import (
//		"context"
//		"log"
//
//		"tidings.dev"
//		"tidings.dev/embedded"
//	)
//
//	// Order is what the fact OrderPlaced says.
//	type Order struct {
//		ID    string
//		Pence int
//	}
//
//	var OrderPlaced = tidings.Define[Order]("shop.order.placed", tidings.In("orders"),
//		tidings.Subject(func(o Order) string { return "order/" + o.ID }))
//
//	func main() {
//		app, err := tidings.Open("shop", embedded.File("./data"))
//		if err != nil {
//			log.Fatal(err)
//		}
//		ctx := app.Context(context.Background())
//		if _, err := OrderPlaced.Emit(ctx, Order{ID: "536365", Pence: 13912}); err != nil {
//			log.Fatal(err)
//		}
//		if err := app.Close(); err != nil {
//			log.Fatal(err)
//		}
//	}
//
// # Where the log is
//
//   - [File] keeps it in a directory.
//   - [Memory] keeps it in memory, for tests.
//   - [Broker] uses a broker that the program has opened itself.
//
// Each returns a [tidings.Connection]. To use a log on a Tidings server or an Apache Kafka cluster instead, a program
// only has to pass another connection: [tidings.Kafka].
//
// # Stories
//
// Together with its broker, a connection of File or Memory runs an indexer, which decides when a story has settled, so
// that [tidings.Receipt.Settled] works without further preparation. The indexer keeps its index in the file story.db
// in the directory, or in a temporary file if the log is in memory. [WithoutStory] turns the indexer off. A connection
// of Broker has no indexer; see package story.
//
// # How long the broker runs
//
// The broker of a connection of File or Memory starts when the first app is opened on the connection. It is closed
// when the last app on the connection is closed; the indexer is closed before it. Apps of one process share a log by
// sharing the connection. Programs in other processes reach a broker on a directory by its unix socket, with
// [broker.DialDir] or the commands `tidings … --data DIR`.
package embedded

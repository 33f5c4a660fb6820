// Package story answers what happened to order 123: which reactions have handled its events, which have not, and
// whether the story has settled.
//
// A story is all events of one correlation, and what became of each event: the reactions that handled it, the number
// of attempts that this took, and the reactions that still have to handle it. The package reads all of this from the
// log alone. The log may be any Kafka cluster on which reactions of package tidings work.
//
// This program asks a server for the story of an order, and prints it:
//
//	package main
//
//	import (
//		"context"
//		"log"
//		"os"
//		"time"
//
//		"tidings.dev"
//		"tidings.dev/story"
//	)
//
//	func main() {
//		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
//		defer cancel()
//
//		indexer, err := story.Open(ctx, tidings.Kafka("localhost:9092"), "story.db", story.Options{})
//		if err != nil {
//			log.Fatal(err)
//		}
//		running := make(chan error, 1)
//		go func() { running <- indexer.Run(ctx) }()
//
//		found, err := indexer.Story(ctx, "order/536365", nil)
//		if err != nil {
//			log.Fatal(err)
//		}
//		if err := found.Render(os.Stdout, story.Format{}); err != nil {
//			log.Fatal(err)
//		}
//
//		cancel()
//		if err := <-running; err != nil {
//			log.Fatal(err)
//		}
//		if err := indexer.Close(); err != nil {
//			log.Fatal(err)
//		}
//	}
//
// # Reading the log
//
//   - [Open] opens an index file and connects to the log. [Indexer.Run] reads the log into the index until its context ends.
//     [Indexer.Close] closes the index and the connection.
//   - [Follow] does the same for as long as a program runs, and begins anew after an error of the index file.
//   - [Indexer.CatchUp] blocks until the index has every record that is in the log at the time of the call.
//
// An [Indexer] is a Kafka client like any other. Its [Index] is a cache: if the file is lost or damaged, the next run
// builds a new one from the log. The first run reads the whole log once.
//
// # Asking
//
//   - [Indexer.Story] catches up with the log and returns the [Story] of a key. A key is a correlation id, an event id, a subject
//     or a part of one, a record key, or a trace id. [Index.Story] answers from what the index has, without asking the brokers.
//   - [Index.Find] lists the stories that a key leads to.
//   - [Index.Stats] counts the events and the open and settled stories of the index. [Index.Reactions] lists the reactions that
//     have a subscription.
//   - [Story.All] yields the events of a story. [Obligation.Open] reports whether an obligation keeps the story of its event from
//     settling.
//   - [Story.Render] prints a story for people. Programs use the JSON encoding of a [Story].
//
// Each [Obligation] has a [Certainty]: its state was recorded by the reaction itself, was inferred from a committed
// position, or is unknown.
//
// # Settling
//
// An indexer with [Options].Emit decides which stories have settled and appends its verdicts to the topic
// tidings.story. If several such indexers read one log, they elect one of them to do this. `tidings serve`, `tidings
// demo`, embedded.File and embedded.Memory each run such an indexer; any other program may run one with [Open].
//
//   - [tidings.Receipt.Settled] waits until one story has settled. The app that emitted the first event of the story calls it.
//   - [Indexer.WaitSettled] waits until all stories of the log have settled.
package story

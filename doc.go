// Package tidings lets components announce that something has happened, and lets any other component react.
//
// A fact is defined once, in the past tense, with the topic it is kept on and the subject it is about. An app emits
// facts and reacts to facts; an app that emits a fact need not know which apps react to it:
//
//	package main
//
//	import (
//		"context"
//		"log"
//
//		"tidings.dev"
//	)
//
//	type Order struct{ ID string }
//
//	type Payment struct{ OrderID string }
//
//	var OrderPlaced = tidings.Define[Order]("shop.order.placed", tidings.In("orders"),
//		tidings.Subject(func(o Order) string { return "order/" + o.ID }))
//
//	var PaymentCaptured = tidings.Define[Payment]("shop.payment.captured", tidings.In("orders"),
//		tidings.Subject(func(p Payment) string { return "order/" + p.OrderID }))
//
//	func capture(ctx context.Context, e tidings.Event[Order]) error {
//		_, err := PaymentCaptured.Emit(ctx, Payment{OrderID: e.Data.ID})
//		return err
//	}
//
//	func main() {
//		app, err := tidings.Open("payment", tidings.Kafka("localhost:9092"))
//		if err != nil {
//			log.Fatal(err)
//		}
//		tidings.React(app, OrderPlaced, capture)
//		if err := app.Main(context.Background(), nil); err != nil {
//			log.Fatal(err)
//		}
//	}
//
// # Facts
//
//   - [Define] defines a fact: its name, its topic ([In]), what it is about ([Subject]), its schema version ([Version]).
//   - [Fact.Emit] announces that a fact has happened. Outside handlers it blocks until the event is durable.
//   - [Receipt.Settled] waits until everything that follows from an event has happened.
//
// # Reactions
//
//   - [React] registers a handler that is called for each event of a fact.
//   - [ReactWith] keeps a state for each subject, folded from the subject's events: a read model, or what a handler needs
//     to decide.
//   - [Named], [FromEnd], [FromBeginning], [FromTime], [Concurrency], [Buffer], [Window], [Retry], [Timeout], [SlowAfter]
//     and [OnUndecodable] are the options of both.
//   - When a handler returns an error, its event is tried again, unless the error is that of [Skip]. [RetryAfter] sets the
//     time until the next attempt.
//
// # Apps
//
//   - [Open] makes an app on a log: [Kafka] and [Socket] connect to a broker that runs elsewhere; package embedded runs one
//     in this process.
//   - [App.Main] runs an app as a whole program. [App.Run], [App.Close] and [App.Abort] are its parts, for programs that
//     have a main loop of their own.
//   - [App.Context] binds a context to the app, so that facts can be emitted with it; package tidingshttp does so for HTTP
//     requests.
//   - [App.Stats] and [LogHandler] help to watch a running app.
//
// # What holds by default
//
// Each reaction gets every event at its own pace, from a position that it keeps in the log. Events of one subject are
// handled in the order of the log, even while one of them is being retried; events of different subjects are handled
// concurrently.
//
// When a handler fails, its event is tried again, and the events that it emitted are dropped. When a handler succeeds,
// the events that it emitted are made durable before its own event counts as handled. Delivery is at least once: a
// process that is killed between the two steps handles an event again and emits the same ids again, and the reactions
// downstream drop the copies. A handler's effects outside the log must be idempotent; [Meta.Key] returns a key for
// that. docs/guarantees.md states all guarantees.
//
// The package is a Kafka client and uses nothing but Kafka's protocol: a program that runs on the embedded broker runs
// on an Apache Kafka cluster as well.
package tidings

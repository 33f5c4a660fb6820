// Package tidings lets components announce that something has happened, and lets anyone react.
//
// A fact is defined once, in the past tense, with the topic it is kept on and what it is about:
//
//	var OrderPlaced = tidings.Define[Order]("shop.order.placed", tidings.In("orders"),
//		tidings.Subject(func(o Order) string { return "order/" + o.ID }))
//
// An App emits facts and reacts to them. Whoever emits knows nothing of those who react: each reaction gets every
// event at its own pace, from a position that it keeps in the log.
//
//	app, err := tidings.Open("payment", tidings.Kafka("localhost:9092"))
//	tidings.React(app, OrderPlaced, capture)
//	err = app.Run(ctx)
//
//	func capture(ctx context.Context, e tidings.Event[Order]) error {
//		return PaymentCaptured.Emit(ctx, Payment{OrderID: e.Data.ID})
//	}
//
// The rules that hold by default are these. Events of one subject are handled in the order of the log, also while one
// of them is being retried; different subjects run in parallel. A handler that fails is tried again, and nothing it has
// emitted is sent; when it succeeds, what it has emitted is made durable before the event counts as handled. Delivery is
// at least once: a process killed between the two handles an event again, emits the same ids again, and the reactions
// downstream drop the copies. Effects outside the log are yours to make idempotent, by Meta.Key. docs/guarantees.md tells
// the whole of it.
//
// The package is a Kafka client and nothing else: what runs on the embedded broker runs on a cluster.
package tidings

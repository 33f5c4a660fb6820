// Package kafka is the Kafka front end: it speaks the Apache Kafka wire protocol on connections that it is given, and
// asks the engine for everything else.
//
// A connection has a reader, a worker and a writer. The reader takes frames off the wire within byte budgets; requests
// are handled one after another in the order they came, and answered in that order. Produce is pipelined: its handler
// only hands the batches to the engine, and the answer, which keeps its place in the line, is completed by the engine
// once they are durable. Other handlers may block, which holds up the requests behind them, as in Apache Kafka.
//
// Produce and Fetch are decoded and encoded by hand, aliasing the frame; everything else goes through kmsg, behind a
// guard (guard.go). Each API has a file of its own, named by its key. Deviations from Apache Kafka stand in
// docs/kafka-differences.md.
package kafka

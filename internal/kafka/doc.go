// Package kafka is the Kafka front end of the broker: it speaks the Apache Kafka wire protocol on network connections,
// and calls package engine to read and write the log.
//
// # One connection
//
// Each connection has three goroutines. The reader reads request frames from the connection, and blocks while the
// budgets of bytes are used up. The worker handles requests one after another, in the order in which they came. The
// writer sends responses in the same order. Produce requests are pipelined: the handler passes the batches to the
// engine and returns, and the engine completes the response once the batches are acknowledged; the response keeps its
// place in the order. Every other handler may block, and then delays the requests behind its own, as in Apache Kafka.
//
// # Where things are
//
//	server.go, conn.go       the server, and one connection's three goroutines
//	NN_name.go               one API each, by its key: 00_produce.go, 01_fetch.go, 08_offset_commit.go, …
//	served_apis.go           the APIs and versions that are served; what ApiVersions answers
//	frame.go                 reading one request frame
//	request_layouts.go       the layout of each request that kmsg decodes
//	request_check.go         checks a request by its layout before kmsg decodes it
//	wire.go                  reads and writes the protocol's primitive types
//	response_writer.go       sends responses in order
//	inline_commit.go         decides when the reader commits a Produce request itself
//	pending_input.go         asks the kernel whether a connection has bytes to read
//	request_budget.go        bounds the bytes of requests in all connections
//	byte_budget.go           bounds the bytes of one connection's requests, and of responses
//	errors.go                maps the broker's errors to Kafka's error codes
//	alter_configs.go         code shared by AlterConfigs and IncrementalAlterConfigs
//	advertised_address.go    the broker address that a client is told
//
// Produce and Fetch are decoded and encoded by hand, without copying record bytes out of the frame; so are the small
// requests ApiVersions, SaslHandshake and SaslAuthenticate. All other requests go through package kmsg
// (github.com/twmb/franz-go/pkg/kmsg), after the check in request_check.go.
//
// Differences from Apache Kafka are listed in docs/kafka-differences.md. Mistakes that clients and other brokers have
// made with the protocol are numbered in docs/kafka-traps.md; comments cite them as "trap 7".
package kafka

// Package conformance tests Tidings from outside: it runs the built programs against Kafka clients in other languages
// and the framework against Apache Kafka, and compares the shop's results with results computed from the orders by code
// that is independent of the shop, the framework and the broker. The package is in a module of its own, so that the
// product does not depend on the programs that these tests need (kcat, Node.js, Java).
package conformance

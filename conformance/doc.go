// Package conformance judges Tidings from outside: the built binary, real Kafka clients of other languages, and books
// kept by code that shares nothing with the shop, the framework or the broker. It is a module of its own so that what
// it needs (kcat, Node.js, a Kafka client) never becomes a need of the product.
package conformance

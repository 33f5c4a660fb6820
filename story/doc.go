// Package story answers what happened to order 123, who has reacted to it, who has not, and whether it has settled.
//
// An [Index] is a file that knows the events of a log by correlation, subject and id, and what every reaction owes them.
// An [Indexer] keeps it up to date: a Kafka client like any other, which follows all topics and, when asked to, tells
// the log itself which stories have settled. Everything in the file can be had again from the log.
//
// What it says is as sure as it claims: recorded by the reaction itself, inferred from a committed position, or unknown.
package story

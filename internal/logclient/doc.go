// Package logclient is the Kafka client that the framework and the story use: it reaches the log, appends records,
// makes topics, returns where partitions begin and end, and reads them. It knows nothing of events and reactions.
package logclient

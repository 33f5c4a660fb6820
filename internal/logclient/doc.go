// Package logclient is the Kafka client that the framework and the story use: it reaches the log, appends records,
// makes topics, returns where partitions begin and end, and reads them. It notices when the log has lost what it had
// acknowledged: see Client.Bound. It knows nothing of events and reactions.
package logclient

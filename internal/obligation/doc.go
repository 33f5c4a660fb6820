// Package obligation defines the records by which reactions and the story tell each other what they need to know: what
// a reaction listens to (Subscription), what it has handled (Marks) and is trying again (Retrying), that its position
// was moved by hand (Seek), what it is told to do while it runs (Command, Claim, Result), and what the indexer concluded
// (Settled, Reopened). The package has no I/O and no clock. [Account] is what marks and seeks make of one partition.
//
// An obligation is (event, subscription, state). Obligations are never written down one by one: they follow from the
// events in the log, from the subscriptions that exist, and from the offsets that marks cover. The rules are in
// docs/format/obligations.md.
//
// A record's value is one JSON object. A field that is absent from the JSON has its zero value. Times are in UTC.
// Offsets are offsets of one partition.
package obligation

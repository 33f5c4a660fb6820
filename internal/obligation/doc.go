// Package obligation holds the records by which reactions and the story understand each other: who listens
// (Subscription), what was handled (Marks), what is being tried again (Retrying), who moved a position by hand (Seek),
// and what the indexer concluded (Settled, Reopened). It is the wire format and nothing else: no I/O, no clock.
//
// An obligation is (event, subscription, state). Obligations are never written down one by one: they follow from the
// events in the log, from the subscriptions that exist, and from the ranges that marks cover. docs/format/obligations.md
// tells the rules in prose.
package obligation

// Package delivery is the pure part of how a reaction gets its events: which offsets are done (Offsets, Tracker), what
// of it travels in the commit metadata (Metadata), which ids were seen lately (Window), who may run next (Lanes), how
// long to wait (Backoff), and how ids follow from causes (DeriveID). It does no I/O and has no clock; the root package
// performs what is decided here.
package delivery

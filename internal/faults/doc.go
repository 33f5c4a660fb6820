// Package faults breaks brokers and asks whether they kept their word. It holds the suites that need more than one room:
// processes killed at any moment and at named points, real file systems that lose their power, every operation on a file
// failing in turn, every byte of a data directory wrong. Each keeps a ledger of what the outside world was told, outside
// of what breaks, and audits it against the invariants I1–I10 of docs/faults.md, which also says how to run them.
//
// The suites are tests. What is exported here is for the fuzz targets of other rooms.
package faults

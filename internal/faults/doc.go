// Package faults tests brokers under faults: processes that are killed at any moment and at named points, real file
// systems that lose their power, failures of each operation on a file in turn, and changes of each byte of a data
// directory. Each suite keeps a ledger of the answers that clients got, outside of the broker under test, and compares
// the broker's content with it by the invariants I1–I10. docs/faults.md describes the invariants and how to run the
// suites.
//
// The suites are tests. What is exported is for tests of other packages: [Bound] for fuzz targets, [Payload] for ledgers.
// The ledgers of this package, internal/engine and broker are separate programs, so that no mistake is in all of them.
package faults

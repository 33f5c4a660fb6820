// Package settled waits for stories to settle, for all receipts of an app. It follows the facts on tidings.story from
// when the first receipt waits, and asks the indexer about facts that may have been written before. Board, which is
// pure, keeps the facts that were read and the receipts that wait; Follower reads and asks; indexers finds out whether
// an indexer runs.
package settled

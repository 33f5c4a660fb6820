package kafka

import (
	"regexp"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ListTransactions (API key 66), versions 0–2.
//
// Deviations from Apache Kafka: a pattern is at most 1 KiB long.

// transactionStates are the states by which transactions can be filtered, as Apache Kafka names them.
var transactionStates = []string{"Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit", "CompleteAbort", "Empty", "Dead", "PrepareEpochFence"}

// maxPatternBytes is the longest pattern of transactional ids.
const maxPatternBytes = 1024

// listTransactions answers with the transactional ids that pass all filters of the request.
func (c *conn) listTransactions(r *kmsg.ListTransactionsRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.ListTransactionsResponse)
	for _, s := range r.StateFilters {
		if !slices.Contains(transactionStates, s) {
			resp.UnknownStateFilters = append(resp.UnknownStateFilters, s)
		}
	}
	var pattern *regexp.Regexp
	if r.Version >= 2 && r.TransactionalIDPattern != nil && *r.TransactionalIDPattern != "" {
		if len(*r.TransactionalIDPattern) > maxPatternBytes { // compiling takes time
			resp.ErrorCode = invalidRegularExpression
			return resp
		}
		var err error
		if pattern, err = regexp.Compile("^(?:" + *r.TransactionalIDPattern + ")$"); err != nil {
			resp.ErrorCode = invalidRegularExpression
			return resp
		}
	}
	longer := int64(-1)
	if r.Version >= 1 {
		longer = r.DurationFilterMillis
	}
	for _, d := range c.server.engine.Transactions() {
		switch {
		case len(r.StateFilters) > 0 && !slices.Contains(r.StateFilters, d.State):
		case len(r.ProducerIDFilters) > 0 && !slices.Contains(r.ProducerIDFilters, d.Producer.ID):
		case longer >= 0 && (d.Began.IsZero() || time.Since(d.Began).Milliseconds() <= longer):
		case pattern != nil && !pattern.MatchString(d.ID):
		default:
			row := kmsg.NewListTransactionsResponseTransactionState()
			row.TransactionalID, row.ProducerID, row.TransactionState = d.ID, d.Producer.ID, d.State
			resp.TransactionStates = append(resp.TransactionStates, row)
		}
	}
	return resp
}

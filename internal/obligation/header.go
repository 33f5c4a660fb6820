package obligation

import "strconv"

// Record headers of an event: CloudEvents 1.0 in Kafka's binary mode, the official correlation extension, and W3C
// trace context.
const (
	HeaderSpecVersion   = "ce_specversion"
	HeaderID            = "ce_id"
	HeaderType          = "ce_type"
	HeaderSource        = "ce_source"
	HeaderSubject       = "ce_subject"
	HeaderTime          = "ce_time" // RFC 3339, UTC
	HeaderSchemaVersion = "ce_schemaversion"
	HeaderCorrelation   = "ce_correlationid"
	HeaderCausation     = "ce_causationid" // absent on a root
	HeaderReaction      = "ce_reaction"    // the reaction that emitted it; absent on a root
	HeaderContentType   = "content-type"
	HeaderTraceParent   = "traceparent"
)

// ForeignID is the id of a record that has no ce_id, because something wrote it that knows nothing of CloudEvents. The
// place in the log is its identity. A record without a correlation has its own id as correlation.
func ForeignID(topic string, partition int32, offset int64) string {
	return topic + "/" + strconv.Itoa(int(partition)) + "/" + strconv.FormatInt(offset, 10)
}

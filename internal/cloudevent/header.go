package cloudevent

// Keys of the record headers of an event in binary mode.
const (
	HeaderSpecVersion   = prefix + attributeSpecVersion
	HeaderID            = prefix + attributeID
	HeaderType          = prefix + attributeType
	HeaderSource        = prefix + attributeSource
	HeaderSubject       = prefix + attributeSubject
	HeaderTime          = prefix + attributeTime // RFC 3339, UTC
	HeaderSchemaVersion = prefix + attributeSchemaVersion
	HeaderCorrelation   = prefix + attributeCorrelation
	HeaderCausation     = prefix + attributeCausation // absent on a root
	HeaderReaction      = prefix + attributeReaction  // absent on a root
	HeaderContentType   = "content-type"              // of the data; in structured mode, of the whole event
	HeaderTraceParent   = "traceparent"               // without the prefix, as the W3C names it

	// headerTraceAttribute is the key under which senders that write every attribute in the same way put the trace. It
	// is only read, and only if there is no HeaderTraceParent, which the last sender on the way has set.
	headerTraceAttribute = prefix + attributeTraceParent
)

// prefix is what the Kafka protocol binding puts before the name of an attribute to make the key of its header.
const prefix = "ce_"

// Names of attributes in the JSON of structured mode.
const (
	attributeID            = "id"
	attributeType          = "type"
	attributeSource        = "source"
	attributeSubject       = "subject"
	attributeTime          = "time"
	attributeSchemaVersion = "schemaversion"
	attributeCorrelation   = "correlationid"
	attributeCausation     = "causationid"
	attributeReaction      = "reaction"
	attributeTraceParent   = "traceparent"
	attributeContentType   = "datacontenttype"
	attributeSpecVersion   = "specversion"
)

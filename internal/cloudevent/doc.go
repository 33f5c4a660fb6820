// Package cloudevent reads events from Kafka records and writes them to records, as CloudEvents 1.0 in the Kafka
// protocol binding. No other package does. It reads both content modes of the binding and writes binary mode.
//
// In binary mode the attributes are record headers and the data is the record's value:
//
//	ce_specversion   1.0
//	ce_id            identifies the event among those of its source and type
//	ce_type          the name of the fact
//	ce_source        the app that emitted it
//	ce_subject       what it is about; also the record's key. Absent if there is none
//	ce_time          when it happened, RFC 3339 in UTC
//	ce_schemaversion the version of the data's schema, a number
//	ce_correlationid the id of the root event of its story (the correlation extension)
//	ce_causationid   the id of the event whose handling emitted it. Absent on a root
//	ce_reaction      the reaction that emitted it. Absent on a root
//	traceparent      W3C trace context; ce_traceparent is read in its place
//	content-type     the media type of the data
//
// In structured mode the header content-type is application/cloudevents+json, and the value is one JSON object that
// has the attributes, under the same names without "ce_", and the data. Such an object is also read if no header
// announces it, as Dapr writes events: if the record has no ce_ headers, names no content type other than JSON, and
// the object has the four attributes that every event has (specversion, id, source, type).
//
// Two events are the same if their source, type and id are the same ([Identity]). A record that claims to be an event
// but cannot be read as one is a foreign record with a reason ([Event.NotUnderstood]): records in other content modes
// (Avro, batches) or of versions of CloudEvents other than 1.x, those that have a ce_specversion or are structured and lack
// a type, which CloudEvents requires, or have one that is not text, and structured values that are malformed.
package cloudevent

// Package bench measures a Kafka broker, ours or another's, and what it could reach at best: a null server that
// acknowledges and forgets, and the raw limits of disk and network. Loads run through kgo with its documented options
// alone. It knows addresses and connections, never a broker: who runs one hands it in as an Endpoint.
//
// Measures are taken in rounds that alternate between contenders (Alternate), and what counts are ratios within a round
// (Compare): the machine's mood of the minute is in both halves of a ratio and cancels out.
package bench

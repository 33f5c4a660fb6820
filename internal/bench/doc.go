// Package bench measures a Kafka broker, which may be Tidings or another one, and the limits that it is compared
// with: a server that acknowledges records and discards them, and the raw speed of the disk and of connections. It
// produces and consumes records with kgo and its documented options. The package only knows the address of a broker:
// the caller starts the broker and passes an [Endpoint].
//
// Each kind of benchmark is a type with a Run method: [Produce], [Consume], [EndToEnd], [FanOut], [Mixed], [Idle] and
// [Ready]. The result of one run is a [Measured].
//
// Measurements are taken in rounds that alternate between contenders ([Alternate]). The reliable figures are ratios
// within one round ([Compare]), because a machine that is slow for a minute slows down both sides of such a ratio.
package bench

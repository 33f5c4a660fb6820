package bench

import "time"

// Meter measures the time and the resource usage between StartMeter and Stop.
type Meter struct {
	endpoint Endpoint
	began    time.Time
	client   Usage
	server   *Usage // nil if the broker's process is not known
}

// StartMeter begins to measure this process and that of the broker at e.
func StartMeter(e Endpoint) *Meter {
	return &Meter{endpoint: e, server: e.usage(), client: SelfUsage(), began: time.Now()}
}

// Stop sets m.Elapsed, m.Client and m.Server to what was used since StartMeter.
func (t *Meter) Stop(m *Measured) {
	m.Elapsed = time.Since(t.began)
	m.Client = SelfUsage().since(t.client)
	if now := t.endpoint.usage(); now != nil && t.server != nil {
		used := now.since(*t.server)
		m.Server = &used
	}
}

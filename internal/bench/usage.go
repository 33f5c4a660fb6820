package bench

import (
	"runtime/metrics"
	"time"
)

// Usage is what a process has used since it began, or between two moments (then RSSBytes is as of the second one).
type Usage struct {
	CPU          time.Duration // user and system
	Allocs       int64         // objects; 0 for other processes, which can't be asked
	AllocBytes   int64         // 0 for other processes
	RSSBytes     int64         // 0 where the system does not tell
	PeakRSSBytes int64         // the most that RSSBytes ever was; 0 where the system does not tell
}

func (u Usage) since(earlier Usage) Usage {
	u.CPU -= earlier.CPU
	u.Allocs -= earlier.Allocs
	u.AllocBytes -= earlier.AllocBytes
	return u
}

// and adds what was used later.
func (u Usage) and(later Usage) Usage {
	return Usage{
		CPU: u.CPU + later.CPU, Allocs: u.Allocs + later.Allocs, AllocBytes: u.AllocBytes + later.AllocBytes,
		RSSBytes: later.RSSBytes, PeakRSSBytes: max(u.PeakRSSBytes, later.PeakRSSBytes),
	}
}

// SelfUsage is the usage of this process.
func SelfUsage() Usage {
	u := ownUsage()
	samples := []metrics.Sample{{Name: "/gc/heap/allocs:objects"}, {Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(samples)
	u.Allocs, u.AllocBytes = int64(samples[0].Value.Uint64()), int64(samples[1].Value.Uint64())
	return u
}

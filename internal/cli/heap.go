package cli

import (
	"os"
	"runtime/debug"
)

// brokerGOGC is how much garbage a process that is nothing but a broker lets lie, in percent of what lives: most of that are
// recent records, and there is little garbage, since buffers are used again.
const brokerGOGC = 50

// keepHeapSmall is for such a process. GOGC says otherwise.
func keepHeapSmall() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(brokerGOGC)
	}
}

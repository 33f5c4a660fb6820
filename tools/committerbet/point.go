//go:build linux

package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
)

// Points of a round, in order, at which an instance can be told to die or to stop.
const (
	pointBegun    = "begun"    // the records are in flight
	pointProduced = "produced" // the emissions, and with transactions also the marks, are acknowledged
	pointMarked   = "marked"   // at least once: the marks are acknowledged
	pointOffsets  = "offsets"  // the positions are accepted
	pointEnded    = "ended"    // the transaction has ended, but the state in memory is not updated
)

// order is what the referee has ordered this instance to do: send itself a signal at a point, once.
var order struct {
	sync.Mutex
	point string
	sign  syscall.Signal
}

// at carries out the order if it is for this point. Committers call it when a round reaches a point.
func at(point string) {
	order.Lock()
	sign := order.sign
	hit := order.point == point
	if hit {
		order.point = ""
	}
	order.Unlock()
	if hit {
		_ = syscall.Kill(os.Getpid(), sign)
	}
}

// obey reads orders from stdin until it is closed, one per line: "die POINT", "stop POINT", "cut KEY WHEN SECONDS".
func obey(faults *faults) {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		verb, rest, _ := strings.Cut(lines.Text(), " ")
		switch verb {
		case "die", "stop":
			order.Lock()
			order.point, order.sign = rest, syscall.SIGKILL
			if verb == "stop" {
				order.sign = syscall.SIGSTOP
			}
			order.Unlock()
		case "cut":
			var key int16
			var when string
			var seconds float64
			if _, err := fmt.Sscan(rest, &key, &when, &seconds); err == nil {
				faults.arm(key, when == "after", seconds)
			}
		}
	}
}

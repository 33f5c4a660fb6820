package faults

import (
	"os"
	"testing"
)

// TestMain is also the broker that is killed: see child_test.go.
func TestMain(m *testing.M) {
	if orders := os.Getenv(childOptionsVariable); orders != "" {
		runChild(orders)
		return
	}
	os.Exit(m.Run())
}

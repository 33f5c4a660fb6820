package main

import (
	"strings"
	"testing"
)

func TestHello(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), nil, &out); err != nil {
		t.Fatal(err)
	}
	if want := "order/536365: thank you for £139.12\n"; out.String() != want {
		t.Errorf("the output is %q, want %q", out.String(), want)
	}
}

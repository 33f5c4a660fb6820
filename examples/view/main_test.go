package main

import (
	"strings"
	"testing"
)

func TestViewHasWhatWasEmittedBeforeIt(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), nil, &out); err != nil {
		t.Fatal(err)
	}
	if want := "order/1: 750 pence\norder/2: 700 pence\n"; out.String() != want {
		t.Errorf("the output is %q, want %q", out.String(), want)
	}
}
